"""debug: stops at the first operation whose result is not finite, and says where that was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_bn.callers import frame_outside
from tinygrad_bn.mode import current, using
from tinygrad_bn.recorders import Following
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.tensors.graph import source


@contextmanager
def debug() -> Iterator[None]:
    """Within it the first operation on Tensors that gives inf or nan raises; it names itself, its arguments, the line.

    A context manager, and a decorator as `@debug()`. It watches forward and backward passes. NumPy's own warnings about
    such values are silent within it.

    Raises:
        FloatingPointError: a result is not finite.
    """
    with np.errstate(all="ignore"), using(recorder=_Debugger(current().recorder)):
        yield


class _Debugger(Following):
    """Looks at every result, after showing it to the recorder that was at work before."""

    def note(self, tensor: Tensor) -> None:
        super().note(tensor)
        if tensor.dtype.kind == "f" and not np.isfinite(tensor.value).all():
            raise FloatingPointError(self._report(tensor))

    def _report(self, tensor: Tensor) -> str:
        primitive, args, settings = source(tensor)
        chosen = "".join(f", {name}={value!r}" for name, value in settings.items())
        lines = [f"{primitive.__name__} gave {_range(tensor.value)}{chosen}"]
        lines += [f"  argument {position}: {_range(np.asarray(_value(arg)))}" for position, arg in enumerate(args)]
        if self.open:
            lines.append(f"  in {self._place()}")
        lines.append(f"  at {_users_line()}")
        return "\n".join(lines)

    def _place(self) -> str:
        """The innermost module at work, by its path in the outermost."""
        outermost, innermost = self.open[0], self.open[-1]
        named = outermost.named_modules() if hasattr(outermost, "named_modules") else ()
        path = next((path for path, module in named if module is innermost), "")
        return f"{path} ({type(innermost).__name__})" if path else type(innermost).__name__


def _value(arg: Any) -> Any:
    return arg.value if isinstance(arg, Tensor) else arg


def _range(array: np.ndarray[Any, Any]) -> str:
    """What is in an array, in a line."""
    said = f"{array.dtype} of shape {array.shape}"
    if array.dtype.kind not in "fiu" or not array.size:
        return said
    finite = array[np.isfinite(array)]
    bad = {"nan": np.isnan(array), "inf": np.isposinf(array), "-inf": np.isneginf(array)}
    found = [f"{int(where.sum())} {name}" for name, where in bad.items() if where.any()]
    between = f"from {finite.min():g} to {finite.max():g}" if finite.size else "nothing finite"
    return f"{said} with {' and '.join(found)}, else {between}" if found else f"{said}, {between}"


def _users_line() -> str:
    """The innermost line of code outside this package, with its text."""
    from linecache import getline

    frame = frame_outside()
    if frame is None:
        return "a line inside the package"
    path, number = frame.f_code.co_filename, frame.f_lineno
    return f"{path}:{number} in {frame.f_code.co_name}: {getline(path, number).strip()}"
