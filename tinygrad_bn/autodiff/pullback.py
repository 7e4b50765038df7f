"""The heart: one sweep backwards through what the Tensors remember, from the youngest to the oldest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn import ops
from tinygrad_bn.autodiff.overwritten import readable
from tinygrad_bn.errors import GradientError
from tinygrad_bn.mode import current
from tinygrad_bn.ops.reductions import summed
from tinygrad_bn.primitives import Array, Primitive
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.tensors.graph import arguments

if TYPE_CHECKING:  # numpy.typing costs more to import than all of ours
    from numpy.typing import NDArray

_age = attrgetter("serial")
_ARRAYS = (np.ndarray, Tensor)


def pullback(
    outputs: Sequence[Tensor], cotangents: Sequence[Array], inputs: Iterable[Tensor] | None, *, on_tensors: bool
) -> dict[Tensor, Array]:
    """The cotangent of each input (None: of each leaf): the sum over all paths to it from the outputs.

    On arrays the sweep is fast; `on_tensors` it is itself remembered, and so can be differentiated or recorded.
    """
    ends = set(inputs or ())
    between = None if inputs is None else _between(outputs, ends)
    recorder, kind = current().recorder, Tensor if on_tensors else np.ndarray
    pending: dict[Tensor, Array] = {}
    found: dict[Tensor, Array] = {}
    for output, g in zip(outputs, cotangents, strict=True):
        if output._wanted if between is None else output in between:
            pending[output] = ops.add(pending[output], g) if output in pending else g
    youngest = [(-tensor.serial, tensor) for tensor in pending if tensor.source is not None]
    heapify(youngest)  # what was made from a Tensor is younger, so it comes first, and the cotangent is complete
    while youngest:
        serial, vertex = heappop(youngest)
        g = pending.pop(vertex)
        if ends and vertex in ends:
            found[vertex] = g
        if recorder is not None:
            recorder.pull(vertex)
        primitive, args, settings = vertex.source  # type: ignore[misc]
        known: list[Any] = [g, vertex, *args] if on_tensors else [g, vertex.value, *vertex._values]  # what rules get
        for version in vertex._versions:
            if version.updated > -serial:
                known = [g, *readable(known[1:], vertex)]
                break
        for arg, rule in zip(args, primitive.rules):  # noqa: B905 the rules of a variadic primitive do not end
            if rule is not None and isinstance(arg, Tensor) and (arg._wanted if between is None else arg in between):
                g_arg, value = rule(*known, **settings) if settings else rule(*known), arg.value
                if type(g_arg) is not kind or g_arg.shape != value.shape or g_arg.dtype is not value.dtype:
                    g_arg = _fitted(g_arg, value, primitive, on_tensors)
                before = pending.get(arg)
                if before is None:
                    pending[arg] = g_arg
                    if arg.source is not None:
                        heappush(youngest, (-arg.serial, arg))
                else:
                    total = before + g_arg
                    pending[arg] = total if type(total) is kind else np.asarray(total)  # of no axes it is a number
    if recorder is not None:
        recorder.pull(None)
    return found | pending  # what no vertex has taken up belongs to leaves


def _fitted(g: Array, value: NDArray[Any], primitive: Primitive[Any], on_tensors: bool) -> Array:
    """A cotangent in the shape and dtype of its argument: summed over the axes along which that was repeated.

    Raises:
        GradientError: what a rule of `primitive` gave is not a cotangent of the argument.
    """
    if on_tensors and not isinstance(g, Tensor):
        raise GradientError(f"a rule of {primitive.__name__} takes the values out of Tensors: {g!r:.60}")
    if type(g) is np.ndarray and g.dtype is value.dtype and g.shape[1:] == value.shape and value.ndim:
        return summed(g, 0, False)  # nearly always
    if isinstance(g, (int, float, np.generic, np.ndarray)):
        g = np.asarray(g)
    if not (isinstance(g, _ARRAYS) and g.dtype.kind in "fiub" and _is_repeated(value.shape, g.shape)):
        came = f"shape {g.shape} and dtype {g.dtype}" if isinstance(g, _ARRAYS) else f"{g!r:.60}"
        wanted = f"the cotangent of an argument of shape {value.shape}"
        raise GradientError(f"a rule of {primitive.__name__} has to give {wanted}; got {came}")
    if g.shape != value.shape:
        g = ops.sum_to(g, shape=value.shape)
    return g if g.dtype == value.dtype else ops.astype(g, dtype=value.dtype)


def _is_repeated(shape: tuple[int, ...], larger: tuple[int, ...]) -> bool:
    """Whether an array of `shape` fills `larger` when it is broadcast."""
    extra = len(larger) - len(shape)
    tail = larger[extra:]
    return extra >= 0 and (tail == shape or all(n in (1, m) for n, m in zip(shape, tail, strict=True)))


def _between(outputs: Iterable[Tensor], inputs: set[Tensor]) -> set[Tensor]:
    """The Tensors on the paths from the inputs to the outputs."""
    oldest = min(map(_age, inputs), default=0)
    above: set[Tensor] = set()
    waiting = list(outputs)
    while waiting:
        vertex = waiting.pop()
        if vertex._wanted and vertex.serial >= oldest and vertex not in above:
            above.add(vertex)
            waiting += arguments(vertex)
    between = inputs & above
    for vertex in sorted(above, key=_age):
        if not between.isdisjoint(arguments(vertex)):
            between.add(vertex)
    return between
