"""The picture of self-normalization: mean, variance and gradient against depth, predicted and measured."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tinygrad_bn.diagnostics.conditions import DOMAIN
from tinygrad_bn.diagnostics.scales import logarithmic
from tinygrad_bn.diagnostics.self_normalizing import GRADIENT_GROWTH
from tinygrad_bn.diagnostics.signal_plot import depth_ticks
from tinygrad_bn.files import picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from tinygrad_bn.diagnostics.self_normalizing import SelfNormalization

_PREDICTED: Final = "#332288"
_MEASURED: Final = "#D55E00"
_BOUND: Final = "#777777"
_DOTS: Final = (0, (1.2, 1.8))


def plot_moments(found: SelfNormalization, path: str | os.PathLike[str]) -> None:
    """Draw what `self_normalization` found; the same bytes for the same numbers.

    Args:
        found: the report.
        path: of an .svg, .png or .pdf file.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    with picture(path, 7.6, 9.6) as figure:
        mean, variance, gradient = figure.subplots(3, 1)
        for axes, field, title in (
            (mean, "mean", "Mean of the activations"),
            (variance, "variance", "Variance of the activations"),
        ):
            _draw_moment(axes, found, field)
            _dress(axes, title, len(found.layers), "hidden layer")
        _draw_gradient(gradient, found)
        back = "hidden layer, from the output back to the input; 1 in the last one"
        _dress(gradient, "Variance of the gradient", len(found.layers), back)
        for axes in (mean, gradient):  # what the first says is true of the second too
            axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, frameon=False, fontsize=8.5, borderpad=0)
        figure.suptitle(
            f"{len(found.layers)} hidden layers: {found.verdict}", x=0.01, ha="left", fontsize=11, wrap=True
        )


def _draw_moment(axes: Axes, found: SelfNormalization, field: str) -> None:
    depth = np.arange(1, len(found.layers) + 1)
    predicted, error, measured = (
        np.array([getattr(layer, name) for layer in found.layers])
        for name in (field, f"{field}_error", f"measured_{field}")
    )
    for place, bound in enumerate(DOMAIN[field]):
        axes.axhline(bound, color=_BOUND, linewidth=1.0, linestyle=_DOTS, label="" if place else "Theorem 1")
    axes.plot(depth, predicted, color=_PREDICTED, linewidth=1.8, label="predicted")
    band = (predicted - 3 * error, predicted + 3 * error)
    axes.fill_between(depth, *band, color=_PREDICTED, alpha=0.15, linewidth=0, label="3 standard errors")
    axes.plot(depth, measured, color=_MEASURED, linestyle="", marker=".", markersize=6, label="measured")


def _draw_gradient(axes: Axes, found: SelfNormalization) -> None:
    depth = np.arange(1, len(found.layers) + 1)
    fixed = GRADIENT_GROWTH ** (len(depth) - depth)
    label = f"x{GRADIENT_GROWTH:.4f} per layer"
    axes.plot(depth, fixed, color=_BOUND, linewidth=1.0, linestyle=_DOTS, label=label, zorder=3)
    predicted, measured = (_carried_back(found, field) for field in ("growth", "measured_growth"))
    axes.plot(depth, predicted, color=_PREDICTED, linewidth=1.8, label="predicted")
    axes.plot(depth, measured, color=_MEASURED, linestyle="", marker=".", markersize=6, label="measured")
    logarithmic(axes)
    axes.invert_xaxis()


def _carried_back(found: SelfNormalization, field: str) -> NDArray[Any]:
    """The product of the factors of all later layers, for each layer; NaN where there is none to be drawn."""
    factors = np.array([getattr(layer, field) for layer in found.layers[1:]] + [1.0])
    values = np.cumprod(factors[::-1])[::-1]
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _dress(axes: Axes, title: str, layers: int, label: str) -> None:
    axes.set_title(title, loc="left", fontweight="bold", fontsize=10)
    axes.set_xlabel(label)
    axes.set_xticks(depth_ticks(layers))
    axes.set_xmargin(0.01 if layers > 1 else 0.5)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
