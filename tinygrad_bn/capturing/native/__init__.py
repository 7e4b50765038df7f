"""The native executor: a flow as one C function."""
