"""DOT text, the language of Graphviz."""

from __future__ import annotations

from collections.abc import Iterator

from tinygrad_bn.drawing.graph import Graph, Node, Scope
from tinygrad_bn.drawing.palette import FONT, FRAME, FRAME_FILL, INK, LINE, LOOKS, MUTED, gradient_color
from tinygrad_bn.drawing.placing import above, beside

# A weight tells how straight an arrow wants to be: at 128 it begins to outweigh the narrowness of the frames.
_HEAD = f"""\
  graph [bgcolor=white, pad=0.2, nodesep=0.25, ranksep=0.36, fontname={FONT}, fontsize=10, fontcolor="{MUTED}"];
  node [shape=box, style="rounded,filled", margin="0.14,0.06", height=0.3, width=0.5, \
fontname={FONT}, fontsize=11, fontcolor="{INK}"];
  edge [color="{LINE}", arrowsize=0.6, penwidth=0.9, weight=200, \
labeldistance=1.9, labelangle=-26, fontname={FONT}, fontsize=8, fontcolor="{MUTED}"];
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
                yield f"  {self._arrow(argument, node, position)};\n"
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
                if self._beside[item]:
                    line = "; ".join(self._names[node] for node in (*self._beside[item], item))
                    yield f"{indent}{{rank=same; {line}}}\n"
                elif titles and item.kind == "operation":
                    yield from (f"{indent}{line}\n" for line in _spacer(name, titles, item))
                if item.kind == "operation":
                    titles.clear()
            else:
                yield f"{indent}}}\n"

    def _arrow(self, argument: Node, node: Node, position: int) -> str:
        tail, head = self._names[argument], self._names[node]
        attributes = ["weight=400"] if argument.scope is not node.scope else []
        order = f"headlabel={position}"
        if argument in self._beside[node]:
            order += ", labeldistance=0.9, labelangle=-70"  # above the short arrow, not on the leaf
            if argument is not self._beside[node][0]:
                tail, head = head, tail  # on one line, what an arrow starts from stands to the left
                order = order.replace("head", "tail").replace("-70", "70")
                attributes.append("dir=back")
        if node.ordered:
            attributes.append(order)
        if argument.gradient is not None:
            attributes.append(f'color="{gradient_color(argument.gradient)}", penwidth=1.4')
        return f"{tail} -> {head}" + (f" [{', '.join(attributes)}]" if attributes else "")


def _frame(scope: Scope) -> str:
    return f'label={_quoted(scope.title)}; labeljust=l; style=rounded; color="{FRAME}"; bgcolor="{FRAME_FILL}";'


def _spacer(name: str, titles: list[str], node: Node) -> Iterator[str]:
    """An invisible box to the left of the first operation, so that arrows do not run through the title above it."""
    points = 6.0 * max(map(len, titles)) - 4 - _width(node) / 2
    if points > 0:
        yield f'{name}_left [style=invis, label="", height=0, width={points / 72:.2f}];'
        yield f"{name}_left -> {name} [style=invis, weight=1]; {{rank=same; {name}_left; {name}}}"


def _width(node: Node) -> float:
    """About how wide a node is, in points."""
    return 20 + max([7.4 * len(node.title), *(5.3 * len(line) for line in node.details)])


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
