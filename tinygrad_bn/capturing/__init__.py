"""Capture: NumPy texts are read once, planned into buffers, and run in place from then on."""
