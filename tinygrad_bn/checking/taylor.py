"""The Taylor test: how fast what the gradient leaves unexplained vanishes. It needs no tolerance."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_bn.checking.comparison import WITHIN, explained
from tinygrad_bn.checking.ladder import ROUNDING, Array
from tinygrad_bn.checking.projections import Line, Projection, length, scales
from tinygrad_bn.checking.settings import refuse_seed
from tinygrad_bn.checking.subjects import Subject
from tinygrad_bn.files import picture
from tinygrad_bn.names import checked

BETWEEN = 1.5
"""A rate above it speaks for the gradient, one below it against."""
COARSEST = 1e-2
"""An error in the derivative that is this part of it must be seen for anything to be said."""


class TaylorTest:
    """What is left of phi(x + t d) - phi(x) when t times the derivative along d is taken away. See `taylor_test`.

    Attributes:
        steps: t, each half of the one before.
        remainders: |phi(x + t d) - phi(x) - t <gradient, d>| for each.
        noise: what rounding alone leaves; remainders below that tell nothing.
        rate: of their decrease at the smallest steps that are clear of the noise, as a power of t: about 2 for a right
            gradient, about 1 for a wrong one. It is inf where nothing is left: phi is straight, and its gradient right.
            It is nan where nothing can be told.
        unseen: the largest error in the derivative along d that would have passed unseen, as a part of that derivative
            or of phi, whichever is larger.
    """

    def __init__(self, steps: Array, remainders: Array, noise: float, scale: float) -> None:
        self.steps, self.remainders, self.noise = steps, remainders, noise
        finite = np.isfinite(remainders)
        clear = finite & (remainders > 10 * noise)
        pairs = clear[:-1] & clear[1:]
        rates = np.log2(remainders[:-1][pairs] / remainders[1:][pairs])
        hiding = np.maximum(remainders, 10 * noise)[finite] / steps[finite]
        self.unseen = float(np.min(hiding / scale, initial=math.inf)) if scale else 0.0
        self.rate = float(np.median(rates[-3:])) if rates.size else math.inf
        if self.unseen > COARSEST and self.rate > BETWEEN:
            self.rate = math.nan

    def __bool__(self) -> bool:
        return self.rate > BETWEEN

    def __str__(self) -> str:
        rows = [f"{'step':>10}  {'remainder':>10}"]
        rows += [f"{step:10.2e}  {rest:10.2e}" for step, rest in zip(self.steps, self.remainders, strict=True)]
        said = "the gradient is right" if self else "the gradient is wrong, or x lies on a kink"
        if math.isnan(self.rate):
            said = "the values are too coarse, or change too fast, to tell"
        last = f"rate {self.rate:.3f}: {said} (2: right, 1: wrong; noise {self.noise:.1e}"
        return "\n".join([*rows, f"{last}; an error below {self.unseen:.1e} would not show)"])

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        """All fields, as plain values."""
        return {**vars(self), "steps": self.steps.tolist(), "remainders": self.remainders.tolist()}

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the remainders against the steps, with lines of slope 1 and 2, as .svg, .png or .pdf.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        drawn = np.maximum(self.remainders, np.finfo(float).tiny)
        with picture(path, 5, 4) as figure:
            axes = figure.add_subplot(xscale="log", yscale="log", xlabel="step t", ylabel="remainder")
            axes.plot(self.steps, drawn, "o-", label=f"remainder, rate {self.rate:.2f}")
            for power in (1, 2):
                axes.plot(self.steps, drawn[0] * (self.steps / self.steps[0]) ** power, "--", label=f"t ** {power}")
            axes.axhline(max(self.noise, np.finfo(float).tiny), color="0.7", label="noise")
            axes.legend()


@checked
def taylor_test(f_or_module: Callable[..., Any], /, *inputs: Any, seed: int = 0) -> TaylorTest:
    """The rate at which |phi(x + t d) - phi(x) - t <gradient, d>| falls with t: 2 if the gradient is right, else 1.

    phi is the sum of all floating results with fixed random weights, d one random direction through all floating
    arguments and parameters together, and all is computed in float64, as by `gradcheck`. A gradient is not called wrong
    where its own values along d reach over the slopes of phi: there the steps do not resolve phi.

    Args:
        f_or_module: a function of arrays, or a module; called with `inputs`.
        inputs: its arguments, as for `gradcheck`.
        seed: of the weights and of the direction.

    Raises:
        DtypeError: no argument or no result is floating.
        FloatingPointError: the results at the inputs are not all finite.
        SettingError: the seed is no integer, at least 0.
    """
    refuse_seed(seed, "taylor_test")
    subject, rng = Subject(f_or_module, inputs), np.random.default_rng(seed)
    with subject.in_float64(), np.errstate(all="ignore"):
        projection = Projection(subject, None, rng)
        total = sum(x.size for x in subject.point)
        parts = [
            (position, np.arange(x.size), rng.standard_normal(x.size) * scales(x) / total**0.5)
            for position, x in enumerate(subject.point)
        ]
        line = Line(*parts)
        steps = 2.0 ** -np.arange(4.0, 31.0)
        slope = line.slope(projection.gradient)
        noise = ROUNDING * length(projection.noise(line))
        changes = np.array([projection.change(line, step) for step in steps])
        test = TaylorTest(steps, np.abs(changes - steps * slope), noise, max(abs(slope), projection.size))
        if test.rate <= BETWEEN and not _resolved(test, projection, line, changes):
            test.rate = math.nan
        return test


def _resolved(test: TaylorTest, projection: Projection, line: Line, changes: Array) -> bool:
    """Whether what the rules say within the smallest step that tells cannot explain what phi does there."""
    last = np.flatnonzero(np.isfinite(test.remainders) & (test.remainders > 10 * test.noise))[-1]
    step = float(test.steps[last])
    slopes = [projection.slope(line, place * step) for place in (1 + WITHIN) / 2]
    return not explained(changes[last] / step, test.noise / step, slopes)
