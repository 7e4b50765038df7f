"""Gradients of Tensors with respect to Tensors."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any, overload

import numpy as np

from tinygrad_bn.autodiff.pullback import pullback
from tinygrad_bn.errors import ShapeError
from tinygrad_bn.locks import new_lock
from tinygrad_bn.mode import F, current, using
from tinygrad_bn.names import checked
from tinygrad_bn.ops.constants import ones
from tinygrad_bn.primitives import Array
from tinygrad_bn.tensors import Tensor, fitting


@overload
def no_grad() -> using: ...
@overload
def no_grad(function: F) -> F: ...
@checked
def no_grad(function: Any = None) -> Any:
    """Within it nothing is remembered for gradients: `with no_grad():`, or as a decorator."""
    off = using(gradients=False)
    return off if function is None else off(function)


def backward(output: Tensor, gradient: Any = None, create_graph: bool = False) -> None:
    """See `Tensor.backward`, which calls this."""
    if not output._wanted:
        raise RuntimeError("backward expects a Tensor made from one with requires_grad=True; nothing here asks for it")
    found = _swept([output], [gradient], None, create_graph)
    if not found:
        raise RuntimeError("backward finds nothing that asks for a gradient any more: requires_grad was set to False")
    recorder = current().recorder
    if recorder is not None:
        for leaf in found:
            recorder.gradient(leaf, read=True)
    with _accumulating:
        totals = [g if leaf._grad is None else leaf._gradient() + g for leaf, g in found.items()]
        for leaf, total in zip(found, totals, strict=True):  # only now: a failure leaves every gradient as it was
            leaf._grad = total  # it fits: the pullback has seen to that


_accumulating = new_lock(sys.modules[__name__], "_accumulating")
"""Several threads may add to the gradient of one leaf."""


Tensor._backward = staticmethod(backward)


@checked
def gradients(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    *,
    grad_outputs: Any = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> Any:
    """The sum of the derivatives of the outputs with respect to each input; no `.grad` is touched.

    Args:
        outputs: a Tensor or several; the gradients of several are added.
        inputs: a Tensor or several, leaves or results; one gives one gradient, several give a tuple.
        grad_outputs: the weights, one array of the output's shape for each; may be None where that has one element.
        create_graph: keep the gradients themselves differentiable.
        allow_unused: give None for an input that no output depends on, instead of raising.

    Raises:
        TypeError: these are not Tensors.
        RuntimeError: an input does not require a gradient, or no output depends on it.
        ShapeError: a weight is missing, or has another shape.
    """
    results, wanted = _tensors("outputs", outputs), _tensors("inputs", inputs)
    if grad_outputs is None:
        weights = [None] * len(results)
    else:
        weights = [grad_outputs] if isinstance(outputs, Tensor) else list(grad_outputs)
    if len(weights) != len(results):
        raise ShapeError(f"grad_outputs expects one weight for each of {len(results)} outputs; got {len(weights)}")
    found = sweep(results, weights, wanted, create_graph)
    for position, tensor in enumerate(wanted):
        if tensor not in found and not allow_unused:
            why = "the outputs do not depend on it" if tensor.requires_grad else "it does not require a gradient"
            raise RuntimeError(f"gradients: input {position} has none, because {why}; allow_unused=True gives None")
    answer = tuple(found.get(tensor) for tensor in wanted)
    return answer[0] if isinstance(inputs, Tensor) else answer


def _tensors(name: str, given: Any) -> list[Tensor]:
    """One or several Tensors as a list."""
    one = isinstance(given, (Tensor, np.ndarray)) or not isinstance(given, Iterable)
    tensors = [given] if one else list(given)
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            came = type(tensor).__name__
            raise TypeError(f"gradients expects Tensors as {name}; got {came}. For functions of arrays, use tg.grad")
    return tensors


def sweep(
    outputs: Sequence[Tensor], cotangents: Sequence[Any], inputs: Iterable[Tensor] | None, create_graph: bool
) -> dict[Tensor, Tensor]:
    """The pullback from Tensors to Tensors."""
    found = _swept(outputs, cotangents, inputs, create_graph)
    return {tensor: g if isinstance(g, Tensor) else Tensor(g) for tensor, g in found.items()}


def _swept(
    outputs: Sequence[Tensor], cotangents: Sequence[Any], inputs: Iterable[Tensor] | None, create_graph: bool
) -> dict[Tensor, Array]:
    """The same, to arrays where nobody wants to differentiate or record them: a Tensor for each costs a step 1 %."""
    on_tensors = create_graph or current().recorder is not None  # a recorder wants to see the sweep too
    seeds = [_seed(output, cotangent, on_tensors) for output, cotangent in zip(outputs, cotangents, strict=True)]
    if on_tensors:
        with using(gradients=create_graph):
            return pullback(outputs, seeds, inputs, on_tensors=True)
    return pullback(outputs, seeds, inputs, on_tensors=False)


def _seed(output: Tensor, cotangent: Any, on_tensors: bool) -> Array:
    """The cotangent to start from, a Tensor or an array: as given, in the output's dtype, or 1 for a single element."""
    if cotangent is not None:
        given = fitting(cotangent, output, "a cotangent", "output")
        return given if on_tensors else np.asarray(given.value)
    value = output.value
    if value.size != 1:
        raise ShapeError(f"a derivative starts from one element; got shape {value.shape}: give a cotangent too")
    one = ones(value.shape, value.dtype)
    return Tensor(one) if on_tensors else one
