"""What an initializer draws from, told in numbers, as a table and as a picture."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.files import picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tinygrad_bn.initializers.base import Initializer
    from tinygrad_bn.initializers.laws import Law, Shape


class Report:
    """The law that the elements of an array are drawn from; `str()` is a table.

    Attributes:
        initializer: the one that was asked.
        shape: of the array.
        law: its name, such as "uniform".
        mean: of an element.
        variance: of an element.
        stddev: the root of the variance.
        bounds: no element lies outside them, but for rounding to the array's dtype.
        fan_in: how many inputs each output of a kernel of this shape sums up.
        fan_out: how many outputs each input of it goes into.
        fan: the one of these, or their mean, that the variance depends on; None if it depends on neither.
    """

    def __init__(
        self, initializer: Initializer, shape: Shape, law: Law, fan_in: int, fan_out: int, fan: float | None
    ) -> None:
        self.initializer = initializer
        self.shape = shape
        self.law = law.name
        self.mean = law.mean
        self.variance = law.variance
        self.stddev = math.sqrt(law.variance)
        self.bounds = law.bounds
        self.fan_in = fan_in
        self.fan_out = fan_out
        self.fan = fan
        self._density = law.density

    def __repr__(self) -> str:
        return f"Report({self.initializer!r}, shape={self.shape}, law={self.law!r}, variance={self.variance:.4g})"

    def __str__(self) -> str:
        rows = {
            "law": self.law,
            "mean": f"{self.mean:.4g}",
            "variance": f"{self.variance:.4g}{self._quotient()}",
            "standard deviation": f"{self.stddev:.4g}",
            "bounds": f"{self.bounds[0]:.4g} to {self.bounds[1]:.4g}",
            "fan_in, fan_out": f"{self.fan_in}, {self.fan_out}",
        }
        return "\n".join([f"{self.initializer!r} on {self.shape}", *(f"{name:18}  {rows[name]}" for name in rows)])

    def to_dict(self) -> dict[str, Any]:
        """The fields, as JSON takes them: an infinite bound is None, the initializer what its repr says."""
        fields = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        bounds = [bound if math.isfinite(bound) else None for bound in self.bounds]
        return {**fields, "initializer": repr(self.initializer), "shape": list(self.shape), "bounds": bounds}

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the density, and the histogram of one array of this shape, as .svg, .png or .pdf.

        The array is the one that the initializer's seed gives, or else that of seed 0: no generator moves on.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        rng = np.random.default_rng(self.initializer.seed or 0)
        drawn = self.initializer.draw(self.shape, rng).ravel()
        with picture(path, 6.4, 3.6) as figure:
            axes = figure.subplots()
            if self._density is None:
                self._plot_atoms(axes, drawn)
            else:
                self._plot_density(axes, drawn)
            axes.set_title(f"{self.initializer!r}\non {self.shape}", loc="left", fontsize=9)
            axes.set(xlabel=f"value: {self.law}, variance {self.variance:.4g}", ylim=(0, None))
            axes.spines[["top", "right"]].set_visible(False)

    def _plot_density(self, axes: Axes, drawn: Any) -> None:
        assert self._density is not None
        reach = 4 * self.stddev
        low, high = max(self.bounds[0], self.mean - reach), min(self.bounds[1], self.mean + reach)
        if drawn.size:
            low, high = min(low, drawn.min()), max(high, drawn.max())
            bins = min(60, max(5, math.isqrt(drawn.size)))
            heights, edges = np.histogram(drawn, bins, (low, high), density=True)
            axes.stairs(heights, edges, fill=True, color="#DDCC77", label=f"one array: {drawn.size:,} values")
        points = np.linspace(low, high, 402)[1:-1]  # at the bounds themselves a density may be infinite
        axes.plot(points, self._density(points), color="#332288", linewidth=1.8, label="density")
        axes.set_ylabel("density")
        axes.legend()

    def _plot_atoms(self, axes: Axes, drawn: Any) -> None:
        for value in sorted(set(self.bounds)):
            share = np.mean(np.isclose(drawn, value)) if drawn.size else 1.0
            axes.vlines(value, 0, share, color="#332288", linewidth=1.8)
        axes.set_ylabel("share of one array")

    def _quotient(self) -> str:
        """The variance as what it is: a scale divided by a fan."""
        if self.fan is None:
            return ""
        fan = max(1.0, self.fan)
        return f" = {self.variance * fan:.4g} / {fan:g}"
