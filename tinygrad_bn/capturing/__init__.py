"""Capturing: a step is recorded once, turned into a flat list of NumPy calls, and replayed in place."""

from tinygrad_bn.capturing.captured import Captured, capture
from tinygrad_bn.capturing.executors import chosen, set_executor

__all__ = ["Captured", "capture", "chosen", "set_executor"]
