"""Units that pass no signal back: dead ones, and saturated ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from tinygrad_bn.autodiff.gradients import gradients
from tinygrad_bn.diagnostics.structure import Link
from tinygrad_bn.mode import using
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.tensors.graph import source

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLAT: Final = 0.05
"""Where the slope is below this part of the activation's largest, the activation counts as flat."""

_GRID: Final = np.concatenate([[-50.0], np.linspace(-6.0, 6.0, 121), [50.0]])
_LEVEL: Final = 1e-3  # an activation whose slope at the end of the grid is below this part of its largest levels off


class Slope(NamedTuple):
    """What the slope of an activation is like, for each unit or for all of them.

    Attributes:
        steepest: the largest there is.
        flat_ends: on how many sides it goes to 0: on 2 of tanh, 1 of ReLU, 0 of leaky ReLU.
    """

    steepest: NDArray[Any]
    flat_ends: NDArray[Any]


def count_units(links: Sequence[Link]) -> tuple[int, int]:
    """How many units are dead, and how many others are saturated, over the batch that went through `links`.

    A unit is dead if the slope of its activation is 0, up to rounding, for every sample. It is saturated if the slope
    is below 5% of the largest there is: for three samples in four where the activation is flat to both sides, as tanh
    is; for every sample where it is flat to one, as ELU is, for which samples on that side are no sign of trouble.

    Reference: Glorot and Bengio (2010), section 3, and Maas et al. (2013), section 2, for what becomes of such units.
    """
    if not links or not links[0].before.requires_grad:
        return 0, 0
    before, after = links[0].before, links[-1].after
    slopes = _slopes(before, after)
    known = _on_grid(links)
    slope = known or Slope(slopes.max(axis=0), np.ones(slopes.shape[1:]))
    relative = (slopes / np.where(slope.steepest > 0, slope.steepest, 1.0)).reshape(-1, slopes.shape[-1])
    dead = np.all(relative <= np.finfo(slopes.dtype).eps, axis=0)
    flat = np.mean(relative < FLAT, axis=0)
    ends = np.broadcast_to(slope.flat_ends, slopes.shape[1:]).reshape(-1, slopes.shape[-1])[0]
    saturated = ((ends == 2) & (flat > 0.75)) | ((ends == 1) & (flat == 1))
    return int(dead.sum()), int((saturated & ~dead).sum())


def apply_again(links: Sequence[Link], x: Tensor) -> Tensor | None:
    """The activation that `links` are, of `x` instead of what it was applied to.

    None where it needs other numbers that vary from sample to sample, such as random slopes.
    """
    before = links[0].before
    known: dict[Tensor, Tensor] = {before: x}
    for step in (step for link in links for step in link.steps):
        primitive, args, settings = source(step)
        others = [arg for arg in args if not isinstance(arg, Tensor) or arg not in known]
        if any(np.ndim(arg) == before.ndim and np.shape(arg)[0] > 1 for arg in others):
            return None
        found = [known.get(arg, arg) if isinstance(arg, Tensor) else arg for arg in args]
        with using(gradients=True, recorder=None):
            known[step] = primitive(*found, **settings)
    return known[links[-1].after]


def _slopes(before: Tensor, after: Tensor) -> NDArray[Any]:
    """|d after / d before|, element by element."""
    with using(recorder=None):
        found = gradients(after, before, grad_outputs=np.ones(after.shape, after.dtype))
    slopes: NDArray[Any] = np.abs(found.value)
    return slopes


def _on_grid(links: Sequence[Link]) -> Slope | None:
    """The slope over all real numbers, as far as a grid tells."""
    before = links[0].before
    by_unit = any(np.ndim(arg) for link in links for step in link.steps for arg in source(step)[1])
    shape = before.shape[1:] if by_unit else (1,) * (before.ndim - 1)
    grid = _GRID.astype(before.dtype).reshape(-1, *[1] * (before.ndim - 1))
    x = Tensor(np.ascontiguousarray(np.broadcast_to(grid, (len(_GRID), *shape))), requires_grad=True)
    result = apply_again(links, x)
    if result is None:
        return None
    slopes = _slopes(x, result)
    steepest = slopes.max(axis=0)
    return Slope(steepest, (slopes[0] < _LEVEL * steepest).astype(int) + (slopes[-1] < _LEVEL * steepest))
