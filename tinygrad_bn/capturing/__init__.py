"""Capturing: a step is recorded once, turned into a flat list of NumPy calls, and replayed in place."""

from tinygrad_bn.capturing.captured import Captured, capture

__all__ = ["Captured", "capture"]
