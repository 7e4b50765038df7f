"""DOT text, the language of Graphviz."""

from __future__ import annotations

from collections.abc import Iterator

from tinygrad_bn.drawing.graph import Graph, Kind, Node, Scope
from tinygrad_bn.drawing.palette import FRAME, FRAME_FILL, INK, LINE, LOOKS, MUTED

_FONT = "Helvetica"  # every engine knows its widths, and every system has it or one of the same widths

_HEAD = f"""\
  graph [bgcolor=white, pad=0.2, nodesep=0.25, ranksep=0.36, fontname={_FONT}, fontsize=10, fontcolor="{MUTED}"];
  node [shape=box, style="rounded,filled", margin="0.14,0.06", height=0.3, width=0.5, penwidth=1, fontname={_FONT}, \
fontsize=11, fontcolor="{INK}"];
  edge [color="{LINE}", arrowsize=0.6, penwidth=0.9, labeldistance=1.9, labelangle=-26, fontname={_FONT}, fontsize=8, \
fontcolor="{MUTED}"];
"""


def to_dot(graph: Graph) -> str:
    """The graph in DOT: nodes are numbered in their order, so that the same graph gives the same bytes."""
    return "".join(_text(graph))


def _text(graph: Graph) -> Iterator[str]:
    names = {node: f"n{position}" for position, node in enumerate(graph.nodes)}
    yield f"digraph {_quoted(graph.title or 'graph')} {{\n{_HEAD}"
    clusters = 0
    for depth, item in graph.walk():
        indent = "  " * (depth + 1)
        if isinstance(item, Scope):
            yield f"{indent}subgraph cluster_{clusters} {{\n{_frame(item, indent + '  ')}"
            clusters += 1
        elif isinstance(item, Node):
            yield f"{indent}{names[item]} [{_looks(item)}];\n"
        else:
            yield f"{indent}}}\n"
    for node in graph.nodes:
        for position, argument in enumerate(node.arguments, 1):
            order = f" [headlabel={position}]" if node.ordered else ""
            yield f"  {names[argument]} -> {names[node]}{order};\n"
    yield "}\n"


def _frame(scope: Scope, indent: str) -> str:
    return (
        f"{indent}label={_quoted(scope.title)}; labeljust=l; style=rounded; class=module; "
        f'color="{FRAME}"; bgcolor="{FRAME_FILL}";\n'
    )


def _looks(node: Node) -> str:
    """The attributes of a node; those of an operation are the defaults."""
    if node.kind == "constant" and not node.details:
        label = f'label={_quoted(node.title)}, shape=plaintext, style="", margin="0.04,0.02", height=0.2, width=0.2'
        return f'{label}, fontsize=10, fontcolor="{MUTED}", class=constant'
    lines = "".join(f'<BR/><FONT POINT-SIZE="9" COLOR="{MUTED}">{_escaped(line)}</FONT>' for line in node.details)
    look = LOOKS[node.kind]
    style = ', style="rounded,filled,dashed"' if look.dashed else ""
    tooltip = f", tooltip={_quoted(node.formula)}" if node.formula else ""
    return (
        f"label=<<B>{_escaped(node.title)}</B>{lines}>, "
        f'fillcolor="{look.fill}", color="{look.border}"{style}, class={node.kind}{tooltip}'
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
