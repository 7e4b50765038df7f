"""The font and the colours, for every format the same: restrained, told apart without colour vision by lightness."""

from __future__ import annotations

from typing import NamedTuple

from tinygrad_bn.drawing.graph import Kind

FONT = "Helvetica"
"""Every engine knows its widths, and has it or another of the same widths."""

WIDE_FONT = "Verdana"
"""For SVG, whose font is the viewer's: what stands in for this one is DejaVu Sans, as wide, or narrower: text fits."""

INK = "#1F2937"
MUTED = "#667085"
LINE = "#8A94A6"
FRAME = "#CBD3DF"
FRAME_FILL = "#F5F7FA"


class Look(NamedTuple):
    """How a kind of node looks."""

    fill: str
    border: str
    dashed: bool = False


LOOKS: dict[Kind, Look] = {
    "input": Look("#DCEAFB", "#5B8DC9"),
    "parameter": Look("#FCEFCB", "#C9962B"),
    "state": Look("#EBE6F8", "#8573BD", dashed=True),
    "constant": Look("#FFFFFF", "#FFFFFF"),
    "operation": Look("#FFFFFF", LINE),
    "output": Look("#DDF3E4", "#4F9E70"),
}


def gradient_color(norm: float) -> str:
    """The colour of an arrow by the gradient that flows back along it: blue where it vanishes, red where it explodes.

    The derivative of the output with respect to itself is 1; the bounds are powers of 1000 around that.
    """
    for bound, color in ((1e-6, "#1D4ED8"), (1e-3, "#7196E6"), (1e3, LINE), (1e6, "#E5857B")):
        if norm < bound:
            return color
    return "#C0261C"
