"""Benchmarks: workloads, contenders, and how they are timed in turn."""
