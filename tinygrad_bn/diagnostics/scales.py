"""Logarithmic axes that can be read, however little they span."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def logarithmic(axes: Axes) -> None:
    """Make the vertical axis logarithmic, with several numbers on it; called once all is drawn.

    Over two decades and more that is left to matplotlib, which names powers of ten. Over less there are hardly any: the
    numbers are 1, 2 and 5 times such a power then, or, if these too are few, round numbers at equal distances.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator

    axes.set_yscale("log")
    axes.minorticks_off()
    low, high = axes.get_ylim()
    if high < 100 * low:
        for locator in (LogLocator(subs=(1, 2, 5)), MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])):
            ticks = [float(tick) for tick in locator.tick_values(low, high) if low <= tick <= high]
            if len(ticks) > 2:
                break
        axes.set_yticks(ticks, [f"{tick:.10g}" for tick in ticks])
