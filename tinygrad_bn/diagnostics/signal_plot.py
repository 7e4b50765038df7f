"""The picture of gradient flows: activations, back-propagated signal and kernel gradients against depth."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tinygrad_bn.diagnostics.scales import logarithmic
from tinygrad_bn.files import picture
from tinygrad_bn.names import checked

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tinygrad_bn.diagnostics.flow import GradientFlow

_PANELS: Final = (
    ("activation", "Activations: standard deviation over the batch", False),
    ("signal", "Back-propagated signal: rms of d loss / d activation", True),
    ("gradient", "Weight gradients: rms of d loss / d kernel", True),
)
"""What each panel shows, its title, and whether it is read from the output back to the input."""

_COLOURS: Final = (
    "#332288", "#CC6677", "#117733", "#D55E00", "#44AA99", "#AA4499", "#999933", "#56B4E9", "#882255", "#777777",
)  # fmt: skip
"""Told apart by colour-blind eyes too; after Paul Tol's "muted" scheme and Okabe & Ito's."""

_DASHES: Final = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)))
_LABEL_HEIGHT: Final = 0.062  # of a panel
_LEADER: Final = {"arrowstyle": "-", "linewidth": 1.0, "shrinkA": 1, "shrinkB": 0, "relpos": (0, 0.5)}


@checked
def plot_signals(flows: Mapping[str, GradientFlow], path: str | os.PathLike[str], title: str = "") -> None:
    """Draw the hidden layers of several models, by name, into one picture; the same bytes for the same flows.

    Args:
        flows: what `gradient_flow` found; each line ends in its name.
        path: of an .svg, .png or .pdf file.
        title: of the whole.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    with picture(path, 7.6, 9.6) as figure:
        for axes, panel in zip(figure.subplots(len(_PANELS), 1), _PANELS, strict=True):
            _draw_panel(axes, flows, *panel)
        figure.suptitle(title, horizontalalignment="left", x=0.01, fontsize=11)


def _draw_panel(axes: Axes, flows: Mapping[str, GradientFlow], field: str, title: str, backwards: bool) -> None:
    """One line per flow, in the direction in which its signal travels, so that the lines part towards their names."""
    ends = []
    for position, (name, flow) in enumerate(flows.items()):
        values = np.array([getattr(layer, field) for layer in flow.hidden or flow.layers])
        values[~(np.isfinite(values) & (values > 0))] = np.nan
        depth = np.arange(1, len(values) + 1)
        colour, dashes = _COLOURS[position % len(_COLOURS)], _DASHES[position % len(_DASHES)]
        axes.plot(depth, values, color=colour, linestyle=dashes, linewidth=1.8, marker=".", markersize=5)
        ends.append((name, values[0 if backwards else -1], colour))
    axes.set_title(title, loc="left", fontweight="bold", fontsize=10)
    logarithmic(axes)
    longest = max(len(flow.hidden or flow.layers) for flow in flows.values())
    first_and_last = (1, max(longest, 2))
    axes.set_xlim(first_and_last[::-1] if backwards else first_and_last)
    axes.set_xlabel("hidden layer" + (", from the output back to the input" if backwards else ""))
    axes.set_xticks(depth_ticks(longest))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    _name_ends(axes, ends)


def depth_ticks(longest: int) -> list[int]:
    """Which of so many layers the axis names."""
    return [1, *range(5, longest + 1, 5)] if 5 <= longest < 60 else sorted({1, longest // 2 or 1, longest})


def _name_ends(axes: Axes, ends: Sequence[tuple[str, float, Any]]) -> None:
    """The names beside the right edge, at the height of the line's end or as near as there is room."""
    shown = sorted((end for end in ends if end[0] and np.isfinite(end[1])), key=lambda end: end[1])
    bottom, top = np.log(axes.get_ylim())
    heights = [float((np.log(value) - bottom) / (top - bottom)) for _, value, _ in shown]
    for (name, _, colour), height, place in zip(shown, heights, _apart(heights, _LABEL_HEIGHT), strict=True):
        axes.annotate(
            name,
            xy=(1.0, height),
            xytext=(1.06, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            verticalalignment="center",
            fontsize=8.5,
            arrowprops={**_LEADER, "color": colour},
        )


def _apart(heights: Sequence[float], distance: float) -> list[float]:
    """The ascending heights, moved as little as keeps them `distance` apart and at most 1."""
    clusters: list[list[float]] = []
    for height in heights:
        cluster = [height]
        while clusters and _lowest(cluster, distance) < _lowest(clusters[-1], distance) + distance * len(clusters[-1]):
            cluster = clusters.pop() + cluster
        clusters.append(cluster)
    return [_lowest(cluster, distance) + distance * rank for cluster in clusters for rank in range(len(cluster))]


def _lowest(cluster: Sequence[float], distance: float) -> float:
    """Where the first of a cluster goes when all keep their distance, around their mean height, and none is above 1."""
    height = distance * (len(cluster) - 1)
    return min(sum(cluster) / len(cluster) - height / 2, 1 - height)
