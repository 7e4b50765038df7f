"""DOT text, the language of Graphviz."""

from __future__ import annotations

from collections.abc import Iterator

from tinygrad_bn.drawing.graph import Graph, Node, Scope
from tinygrad_bn.drawing.palette import FRAME, FRAME_FILL, INK, LINE, LOOKS, MUTED, gradient_color
from tinygrad_bn.drawing.placing import above, beside

_FONT = "Helvetica"  # every engine knows its widths, and every system has it or another of the same widths

# A weight tells how straight an arrow wants to be: at 128 it begins to outweigh the narrowness of the frames.
_HEAD = f"""\
  graph [bgcolor=white, pad=0.2, nodesep=0.25, ranksep=0.36, fontname={_FONT}, fontsize=10, fontcolor="{MUTED}"];
  node [shape=box, style="rounded,filled", margin="0.14,0.06", height=0.3, width=0.5, \
fontname={_FONT}, fontsize=11, fontcolor="{INK}"];
  edge [color="{LINE}", arrowsize=0.6, penwidth=0.9, weight=200, \
labeldistance=1.9, labelangle=-26, fontname={_FONT}, fontsize=8, fontcolor="{MUTED}"];
"""


def to_dot(graph: Graph) -> str:
    """The graph in DOT. Names are numbers in the order of the graph, so that the same graph gives the same bytes."""
    return "".join(_Writer(graph).text())


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._names = {node: f"n{position}" for position, node in enumerate(graph.nodes)}
        self._beside = beside(graph)

    def text(self) -> Iterator[str]:
        yield f"digraph {_quoted(self._graph.title or 'graph')} {{\n{_HEAD}"
        yield from self._nested()
        for node in self._graph.nodes:
            for position, argument in enumerate(node.arguments, 1):
                yield f"  {self._names[argument]} -> {self._names[node]}{self._arrow(node, argument, position)};\n"
        for high, low in above(self._graph):
            yield f"  {self._names[high]} -> {self._names[low]} [style=invis];\n"
        yield "}\n"

    def _nested(self) -> Iterator[str]:
        """All nodes, inside the frames of their scopes."""
        frames = 0
        titles: list[str] = []  # of the frames opened since the last node
        for depth, item in self._graph.walk():
            indent = "  " * (depth + 1)
            if isinstance(item, Scope):
                yield f"{indent}subgraph cluster_{frames} {{\n{indent}  {_frame(item)}\n"
                frames += 1
                titles.append(item.title)
            elif isinstance(item, Node):
                name = self._names[item]
                yield f"{indent}{name} [{_looks(item)}];\n"
                if item in self._beside:
                    yield f"{indent}{{rank=same; {self._names[self._beside[item]]}; {name}}}\n"
                elif titles and item.kind == "operation":
                    yield f"{indent}{_spacer(name, titles, item)}\n"
                if item.kind == "operation":
                    titles.clear()
            else:
                yield f"{indent}}}\n"

    def _arrow(self, node: Node, argument: Node, position: int) -> str:
        attributes = ["weight=400"] if argument.scope is not node.scope else []
        if node.ordered:
            attributes.append(f"headlabel={position}")
            if self._beside.get(node) is argument:
                attributes.append("labeldistance=0.9, labelangle=-70")  # above the short arrow, not on the leaf
        if argument.gradient is not None:
            attributes.append(f'color="{gradient_color(argument.gradient)}", penwidth=1.4')
        return f" [{', '.join(attributes)}]" if attributes else ""


def _frame(scope: Scope) -> str:
    return f'label={_quoted(scope.title)}; labeljust=l; style=rounded; color="{FRAME}"; bgcolor="{FRAME_FILL}";'


def _spacer(name: str, titles: list[str], node: Node) -> str:
    """An invisible box to the left of the first operation, so that arrows do not run through the title above it."""
    points = 5 * max(map(len, titles)) - 10 - _width(node) / 2
    if points < 1:
        return ""
    spacer = f"{name}_left"
    return (
        f'{spacer} [style=invis, label="", height=0, width={points / 72:.2f}]; '
        f"{spacer} -> {name} [style=invis, weight=1]; {{rank=same; {spacer}; {name}}}"
    )


def _width(node: Node) -> float:
    """About how wide a node is, in points."""
    return 20 + max(6.2 * len(node.title), *(4.6 * len(line) for line in node.details))


def _looks(node: Node) -> str:
    look = LOOKS[node.kind]
    title = _escaped(node.title)
    if not any(map(str.isalnum, title)):
        title = f'<FONT POINT-SIZE="14">{title}</FONT>'  # a sign such as * is small
    lines = "".join(f'<BR/><FONT POINT-SIZE="9" COLOR="{MUTED}">{_escaped(line)}</FONT>' for line in node.details)
    dashed = ', style="rounded,filled,dashed"' if look.dashed else ""
    tooltip = f", tooltip={_quoted(node.formula)}" if node.formula else ""
    return (
        f'label=<<B>{title}</B>{lines}>, fillcolor="{look.fill}", color="{look.border}"{dashed}, '
        f"class={node.kind}{tooltip}"
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
