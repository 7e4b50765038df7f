"""The exceptions. Each is a subclass of the built-in one that fits, so callers may catch either."""

from __future__ import annotations


class ShapeError(ValueError):
    """An array has a shape that the function or layer cannot take."""


class AxisError(ShapeError, IndexError):
    """An axis lies outside the array's dimensions, or is named twice."""


class DtypeError(TypeError):
    """An array has a dtype that the function or layer cannot take."""


class SettingError(ValueError):
    """A setting (a rate, a name, a number) lies outside what is allowed."""


class NotBuiltError(RuntimeError):
    """A layer was used for its parameters before it had seen an input shape."""


class StaleGraphError(RuntimeError):
    """A parameter or state was updated between a forward pass and its backward pass."""


class GradientError(AssertionError):
    """A derivative was found to be wrong."""


class CaptureError(RuntimeError):
    """A function cannot be captured, or a captured one cannot be run as it was called."""


class CaptureBusyError(CaptureError):
    """A captured function was called while it was running."""


class NativeError(RuntimeError):
    """A captured step could not be made into a native program."""
