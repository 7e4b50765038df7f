"""Gradient clipping: the gradients of a step are made smaller when they are too large.

A norm within its limit changes no bit. Norms are taken in float64 and cannot overflow: finite gradients have a finite
norm, and are never silently wiped out. All of it is ordinary operations, on arrays or on Tensors, and so can be
captured.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from tinygrad_bn import names, ops
from tinygrad_bn.errors import DtypeError, SettingError
from tinygrad_bn.mode import current, guard, using
from tinygrad_bn.module.settings import above_zero, number
from tinygrad_bn.primitives import Array
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.variables import Parameter

NormType = float | Literal["inf"]
Parameters = Iterable[Parameter] | Iterable[tuple[str, Parameter]]
"""A model's `parameters()`; or its `named_parameters()`, and messages call them by their paths."""


def clip_grad_value(parameters: Parameters, clip: float) -> None:
    """Replace each element g of every gradient by min(max(g, -clip), clip).

    Raises:
        TypeError: these are not parameters.
        ValueError: `clip` is not positive and finite.
    """
    above_zero("clip_grad_value", "clip", clip)
    found, _ = _with_gradients("clip_grad_value", parameters)
    with using(gradients=False):
        _give(found, [clip_by_value(gradient, clip) for gradient in found.values()])


@names.checked
def clip_grad_norm(
    parameters: Parameters, max_norm: float, *, norm_type: NormType = 2, nonfinite: str = "raise"
) -> float | Tensor:
    """Scale all gradients together so that their norm is at most `max_norm`.

    Args:
        parameters: those of a model, or its `named_parameters()`; the ones without a gradient are passed over.
        max_norm: the limit.
        norm_type: p of sum(|g| ** p) ** (1 / p) over all elements together: 2, 1, inf, or any other number above 0.
        nonfinite: what to do about a gradient with a NaN or an infinity: "raise", or "keep" all gradients as they are,
            or put "zero" in the places of such elements. To leave out a step, give it to the optimizer.

    Returns:
        The norm **before** clipping, and after "zero"; 0 where there are no gradients. A float; while a step is being
        captured, a Tensor.

    Raises:
        TypeError: these are not parameters.
        FloatingPointError: a gradient is not finite; the message names its parameter, and no gradient was touched.
        ValueError: an argument lies outside what is allowed.

    Reference: Pascanu et al. (2013), Algorithm 1.
    """
    above_zero("clip_grad_norm", "max_norm", max_norm)
    order = _order("clip_grad_norm", norm_type)
    if nonfinite not in ("raise", "keep", "zero"):
        raise SettingError(names.unknown("nonfinite", nonfinite, ("raise", "keep", "zero"), "clip_grad_norm()"))
    found, paths = _with_gradients("clip_grad_norm", parameters)
    with using(gradients=False):
        gradients = list(found.values())
        if nonfinite == "zero":
            gradients = [zeroed(gradient) for gradient in gradients]
        norms = [norm_of(gradient, order) for gradient in gradients]
        if nonfinite == "raise":
            expect_finite("clip_grad_norm", gradients_of(found, paths), norms)
        norm = norm_of_all(norms, order)
        _give(found, [scaled(gradient, shrinkage(norm, max_norm)) for gradient in gradients])
    return norm if isinstance(norm, Tensor) else float(norm)


@names.checked
def clip_by_global_norm(
    arrays: Iterable[Array], max_norm: float, *, norm_type: NormType = 2
) -> tuple[list[Array], float | Tensor]:
    """The arrays, scaled together so that their norm is at most `max_norm`, and the norm they had.

    Args:
        arrays: several floating arrays or Tensors.
        max_norm: the limit.
        norm_type: as in `clip_grad_norm`.

    Raises:
        TypeError: it is one array, or something else than arrays is among them.
        DtypeError: an array is not floating.
        FloatingPointError: an array is not finite.
        ValueError: an argument lies outside what is allowed.
    """
    above_zero("clip_by_global_norm", "max_norm", max_norm)
    order = _order("clip_by_global_norm", norm_type)
    arrays = _floating_arrays("clip_by_global_norm", arrays)
    norms = [norm_of(array, order) for array in arrays]
    expect_finite("clip_by_global_norm", [f"number {place}" for place in range(len(norms))], norms)
    norm = norm_of_all(norms, order)
    clipped = [scaled(array, shrinkage(norm, max_norm)) for array in arrays]
    return clipped, norm if isinstance(norm, Tensor) else float(norm)


# The text, on arrays or Tensors


def clip_by_value(array: Array, limit: Array) -> Array:
    """min(max(array, -limit), limit)."""
    return ops.minimum(ops.maximum(array, -limit), limit)


def scaled(array: Array, factor: Array) -> Array:
    """The array times a float64 factor, in its own dtype."""
    return array * ops.astype(factor, dtype=array.dtype)


def shrinkage(norm: Array, limit: Array) -> Array:
    """What brings `norm` down to `limit`: limit / max(norm, limit), and 1 for a norm that is not finite."""
    return ops.where(ops.isfinite(norm), limit / ops.maximum(norm, limit), 1.0)


def zeroed(array: Array) -> Array:
    """0 in the places of NaN and infinity."""
    return ops.where(ops.isfinite(array), array, 0.0)


def norm_of(array: Array, order: float = 2) -> Array:
    """The norm of all elements, in float64; NaN or infinity if one of them is not finite."""
    if not array.size:
        return ops.sum(ops.astype(array, dtype="float64"))
    narrow = array.dtype.itemsize < 8
    if order == np.inf:
        largest = ops.max(ops.abs(array))
        return ops.astype(largest, dtype="float64") if narrow else largest
    wide = ops.astype(array, dtype="float64") if narrow else array
    if order == 2 and narrow:  # in float64 its squares neither overflow nor vanish
        return ops.sqrt(ops.sum(ops.square(wide)))
    if order in (1, 2):
        return ops.norm(wide.reshape(-1), order)
    size = ops.abs(wide)
    largest = ops.max(size)
    scale = ops.where(ops.isfinite(largest) & (largest > 0), largest, 1.0)
    return scale * ops.power(ops.sum(ops.power(size / scale, order)), 1 / order)


def norm_of_all(norms: Sequence[Array], order: float = 2) -> Array:
    """The norm of all elements of several arrays together, from the norm of each."""
    return norm_of(ops.stack(list(norms)), order) if norms else np.zeros(())


def global_norm(arrays: Sequence[Array], order: float = 2) -> Array:
    """The norm of all elements of the arrays together, in float64; NaN or infinity if one of them is not finite."""
    return norm_of_all([norm_of(array, order) for array in arrays], order)


def expect_finite(owner: str, named: Sequence[str], norms: Sequence[Array]) -> None:
    """Go on only if all these norms are finite.

    Each has a check of its own, so that a captured step too can say whose it is.

    Raises:
        FloatingPointError: one of them is not; the message says whose.
    """
    wrong = [
        name for name, norm in zip(named, norms, strict=True) if not isinstance(norm, Tensor) and not np.isfinite(norm)
    ]
    for name, norm in zip(named, norms, strict=True):
        guard(ops.isfinite(norm), partial(_not_finite, owner, wrong or [name]))


def unpaired(parameters: Parameters, paths: dict[Parameter, str]) -> Iterator[Any]:
    """The parameters, or whatever else stands there; the paths that they came with are noted."""
    for parameter in parameters:
        if isinstance(parameter, tuple) and len(parameter) == 2 and isinstance(parameter[1], Parameter):
            path, parameter = parameter
            paths[parameter] = str(path)
        yield parameter


def names_of(parameters: Iterable[Parameter], paths: Mapping[Parameter, str]) -> list[str]:
    """What messages call these: by their paths, where those are known, or else by their names."""
    return [
        paths.get(parameter) or parameter.name or f"parameter {place}" for place, parameter in enumerate(parameters)
    ]


def gradients_of(parameters: Collection[Parameter], paths: Mapping[Parameter, str]) -> list[str]:
    """What messages call the gradients of these."""
    named = zip(names_of(parameters, paths), parameters, strict=True)
    return [f"that of {name} of shape {parameter.shape}" for name, parameter in named]


def _not_finite(owner: str, wrong: Sequence[str]) -> FloatingPointError:
    return FloatingPointError(f"{owner} expects finite gradients; got NaN or infinity in {', '.join(wrong)}")


def _order(owner: str, norm_type: NormType) -> float:
    """The order of a norm as a float."""
    if norm_type in ("inf", np.inf):
        return np.inf
    return float(number(owner, "norm_type", norm_type, "inf or a finite number above 0", lambda order: order > 0))


def _floating_arrays(owner: str, arrays: Iterable[Array]) -> list[Array]:
    """The arrays as a list, if these are arrays, and floating."""
    if isinstance(arrays, (Tensor, np.ndarray)) or not hasattr(arrays, "__iter__"):
        raise TypeError(f"{owner} expects a list of arrays; got {type(arrays).__name__}")
    found = list(arrays)
    for place, array in enumerate(found):
        if not isinstance(array, (Tensor, np.ndarray, np.generic)):
            raise TypeError(f"{owner} expects arrays or Tensors; got {type(array).__name__} as number {place}")
        if array.dtype.kind != "f":
            raise DtypeError(f"{owner} expects floating arrays; got {array.dtype} as number {place}")
    return found


def _with_gradients(owner: str, parameters: Parameters) -> tuple[dict[Parameter, Array], dict[Parameter, str]]:
    """The parameters that have a gradient, an array or, while somebody records, a Tensor; and their paths."""
    if isinstance(parameters, Tensor) or not hasattr(parameters, "__iter__"):
        raise TypeError(f"{owner} expects a list such as model.parameters(); got {type(parameters).__name__}")
    found: dict[Parameter, Array] = {}
    paths: dict[Parameter, str] = {}
    for parameter in unpaired(parameters, paths):
        if not isinstance(parameter, Parameter):
            raise TypeError(f"{owner} expects Parameters, such as model.parameters(); got {type(parameter).__name__}")
        if parameter.grad is not None:
            found[parameter] = parameter.grad if current().recorder is not None else parameter.grad.value
    return found, paths


def _give(parameters: Iterable[Parameter], gradients: Iterable[Array]) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient if isinstance(gradient, Tensor) else Tensor(np.asarray(gradient))
