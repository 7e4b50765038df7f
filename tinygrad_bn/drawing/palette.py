"""The colours, one set for every format: restrained, and told apart without colour vision by their lightness."""

from __future__ import annotations

from typing import NamedTuple

from tinygrad_bn.drawing.graph import Kind

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
