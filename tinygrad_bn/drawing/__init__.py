"""Drawing: the computation graph as SVG, PNG, DOT, Mermaid or plain text. See `draw`."""

from tinygrad_bn.drawing.document import Drawing as Drawing
from tinygrad_bn.drawing.document import draw as draw
