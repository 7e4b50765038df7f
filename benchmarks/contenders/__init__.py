"""The contenders: each file prepares a workload in one framework."""
