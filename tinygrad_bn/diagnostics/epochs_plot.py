"""The picture of gradient flow during training: a line for each layer against the epochs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tinygrad_bn.diagnostics.scales import logarithmic
from tinygrad_bn.files import picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tinygrad_bn.diagnostics.flow import GradientFlow, LayerFlow

_PANELS: Final[tuple[tuple[Callable[[LayerFlow], float], str, bool], ...]] = (
    (lambda layer: layer.activation, "Activations: standard deviation over the batch", True),
    (lambda layer: layer.signal, "Back-propagated signal: rms of d loss / d activation", True),
    (lambda layer: layer.gradient, "Weight gradients: rms of d loss / d kernel", True),
    (lambda layer: (layer.dead + layer.saturated) / max(layer.units, 1), "Dead or saturated units: their share", False),
)
"""What each panel shows, its title, and whether its scale is logarithmic."""


def plot_epochs(epochs: Sequence[int], flows: Sequence[GradientFlow], path: str | os.PathLike[str]) -> None:
    """Draw the hidden layers of one model over the epochs; the same bytes for the same flows.

    Args:
        epochs: after how many epochs each flow was measured.
        flows: what `gradient_flow` found.
        path: of an .svg, .png or .pdf file.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    with picture(path, 11, 7.2) as figure:
        from matplotlib import colormaps
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import ListedColormap, Normalize
        from matplotlib.ticker import MaxNLocator

        depth = max(len(flow.hidden or flow.layers) for flow in flows)
        readable = ListedColormap(colormaps["viridis"](np.linspace(0.9, 0.0, 256)))  # its yellow is too pale for lines
        colours = ScalarMappable(Normalize(1, max(depth, 2)), readable)
        panels = figure.subplots(2, 2)
        for axes, panel in zip(panels.flat, _PANELS, strict=True):
            _draw_panel(axes, epochs, flows, colours, *panel)
        for axes in panels[1]:
            axes.set_xlabel("epochs of training")
        bar = figure.colorbar(
            colours, ax=panels, label="hidden layer", aspect=40, pad=0.015, ticks=MaxNLocator(integer=True)
        )
        bar.ax.invert_yaxis()
        figure.suptitle(_title(epochs, flows), horizontalalignment="left", x=0.01, fontsize=11)


def _draw_panel(
    axes: Axes,
    epochs: Sequence[int],
    flows: Sequence[GradientFlow],
    colours: Any,
    field: Callable[[LayerFlow], float],
    title: str,
    by_powers: bool,
) -> None:
    from matplotlib.ticker import MaxNLocator

    values = np.array([[field(layer) for layer in flow.hidden or flow.layers] for flow in flows], np.float64)
    values[~np.isfinite(values) | (by_powers & (values <= 0))] = np.nan
    for place, line in enumerate(values.T):
        axes.plot(epochs, line, color=colours.to_rgba(place + 1), linewidth=1.5, marker=".", markersize=4)
    axes.set_title(title, loc="left", fontweight="bold", fontsize=10)
    if by_powers:
        logarithmic(axes)
    else:
        most = max(0.1, float(np.nanmax(values, initial=0.0)))
        axes.set_ylim(-0.03 * most, 1.1 * most)
    axes.set_xmargin(0.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _title(epochs: Sequence[int], flows: Sequence[GradientFlow]) -> str:
    """The verdicts in the order in which they came, each with the epoch from which on it held."""
    changes = [
        (epoch, flow.verdict)
        for place, (epoch, flow) in enumerate(zip(epochs, flows, strict=True))
        if not place or flow.verdict != flows[place - 1].verdict
    ]
    if len(changes) == 1:
        return f"The signal is {changes[0][1]} throughout"
    said = [f"{verdict} from {f'epoch {epoch}' if epoch else 'the beginning'} on" for epoch, verdict in changes]
    return "The signal is " + (", ".join(said) if len(said) < 5 else f"{', '.join(said[:2])}, ..., {said[-1]}")
