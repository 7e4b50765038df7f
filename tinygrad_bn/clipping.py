"""Gradient clipping: the gradients of a step are made smaller when they are too large.

A norm within its limit changes no bit. Norms are taken in float64 and cannot overflow: finite gradients have a finite
norm, and are never silently wiped out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from tinygrad_bn import names, ops
from tinygrad_bn.errors import SettingError
from tinygrad_bn.module.settings import above_zero
from tinygrad_bn.primitives import Array
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.variables import Parameter

NormType = float | Literal["inf"]


def clip_grad_value(parameters: Iterable[Parameter], clip: float) -> None:
    """Replace each element g of every gradient by min(max(g, -clip), clip).

    Raises:
        ValueError: `clip` is not positive and finite.
    """
    above_zero("clip_grad_value", "clip", clip)
    for parameter, grad in _with_gradients("clip_grad_value", parameters):
        parameter.grad = Tensor(clip_by_value(grad.value, clip))


def clip_grad_norm(
    parameters: Iterable[Parameter], max_norm: float, *, norm_type: NormType = 2, nonfinite: str = "raise"
) -> float:
    """Scale all gradients together so that their norm is at most `max_norm`.

    Args:
        parameters: those of a model; the ones without a gradient are passed over.
        max_norm: the limit.
        norm_type: 2, 1 or inf, of all elements together.
        nonfinite: what to do about a gradient with a NaN or an infinity: "raise", or "keep" all gradients as they are.

    Returns:
        The norm **before** clipping; 0 where there are no gradients.

    Raises:
        FloatingPointError: a gradient is not finite; the message names its parameter, and no gradient was touched.
        ValueError: an argument lies outside what is allowed.

    Reference: Pascanu et al. (2013), Algorithm 1.
    """
    above_zero("clip_grad_norm", "max_norm", max_norm)
    if norm_type not in (1, 2, "inf", np.inf):
        raise SettingError(f"clip_grad_norm expects norm_type to be 1, 2 or inf; got {norm_type!r}")
    if nonfinite not in ("raise", "keep"):
        raise SettingError(names.unknown("nonfinite", nonfinite, ("raise", "keep"), "clip_grad_norm()"))
    found = _with_gradients("clip_grad_norm", parameters)
    norm = global_norm([grad.value for _, grad in found], float(norm_type))
    if not np.isfinite(norm):
        if nonfinite == "raise":
            raise FloatingPointError(_who_is_not_finite(found, norm))
        return norm
    for parameter, grad in found:
        parameter.grad = Tensor(limited(grad.value, norm, max_norm))
    return norm


def clip_by_global_norm(arrays: Sequence[Array], max_norm: float) -> tuple[list[Array], float]:
    """The arrays, scaled together so that their Euclidean norm is at most `max_norm`, and the norm they had.

    Raises:
        FloatingPointError: an array is not finite.
        ValueError: `max_norm` is not positive and finite.
    """
    above_zero("clip_by_global_norm", "max_norm", max_norm)
    norm = global_norm(arrays)
    if not np.isfinite(norm):
        wrong = [place for place, array in enumerate(arrays) if not np.isfinite(array).all()]
        raise FloatingPointError(f"clip_by_global_norm expects finite arrays; got NaN or infinity in number {wrong}")
    return [limited(array, norm, max_norm) for array in arrays], norm


def clip_by_value(array: Array, limit: float) -> Array:
    """min(max(array, -limit), limit)."""
    return np.minimum(np.maximum(array, -limit), limit)


def limited(array: Array, norm: float, max_norm: float) -> Array:
    """`array`, of which `norm` is the norm, scaled to `max_norm` if it is above that."""
    return array * (max_norm / max(norm, max_norm))


def global_norm(arrays: Sequence[Array], order: float = 2) -> float:
    """The norm of all elements of the arrays together, in float64; NaN or infinity if one of them is not finite."""
    if not len(arrays):
        return 0.0
    norms = [_norm(array, order) for array in arrays]
    finite = np.isfinite(norms).all()
    return _norm(np.array(norms), order) if finite else float(np.sum(norms))


def _norm(array: Array, order: float) -> float:
    with np.errstate(invalid="ignore"):  # infinity / infinity: NaN is the answer
        return float(ops.norm(np.ravel(np.asarray(array, np.float64)), order)) if np.size(array) else 0.0


def _with_gradients(where: str, parameters: Iterable[Parameter]) -> list[tuple[Parameter, Tensor]]:
    """The parameters that have a gradient, each once, with it."""
    found: dict[Parameter, Tensor] = {}
    for parameter in parameters:
        if not isinstance(parameter, Tensor):
            raise TypeError(f"{where} expects Parameters, such as model.parameters(); got {type(parameter).__name__}")
        if parameter.grad is not None:
            found[parameter] = parameter.grad
    return list(found.items())


def _who_is_not_finite(found: list[tuple[Parameter, Tensor]], norm: float) -> str:
    wrong = [
        f"{parameter.name or f'parameter {place}'} of shape {parameter.shape}"
        for place, (parameter, grad) in enumerate(found)
        if not np.isfinite(grad.value).all()
    ]
    return (
        f"clip_grad_norm expects finite gradients; got NaN or infinity in that of {', '.join(wrong)}"
        if wrong
        else f"clip_grad_norm expects gradients of a finite norm; got {norm}"
    )
