"""Mermaid text, which GitHub, GitLab and JupyterLab draw by themselves."""

from __future__ import annotations

from collections.abc import Iterator

from tinygrad_bn.drawing.graph import Graph, Node, Scope
from tinygrad_bn.drawing.palette import FRAME, FRAME_FILL, INK, LOOKS

_SPECIAL = str.maketrans({mark: f"#{ord(mark)};" for mark in '#"<>&`*'})


def to_mermaid(graph: Graph) -> str:
    """The graph as a Mermaid flowchart."""
    return "".join(f"{line}\n" for line in _lines(graph))


def _lines(graph: Graph) -> Iterator[str]:
    names = {node: f"n{position}" for position, node in enumerate(graph.nodes)}
    yield "flowchart TB"
    scopes = 0
    for depth, item in graph.walk():
        indent = "  " * (depth + 1)
        if isinstance(item, Scope):
            yield f'{indent}subgraph s{scopes}["{item.title.translate(_SPECIAL)}"]'
            scopes += 1
        elif isinstance(item, Node):
            text = "<br/>".join(line.translate(_SPECIAL) for line in (item.title, *item.details))
            yield f'{indent}{names[item]}("{text}"):::{item.kind}'
        else:
            yield f"{indent}end"
    for node in graph.nodes:
        for position, argument in enumerate(node.arguments, 1):
            order = f"|{position}|" if node.ordered else ""
            yield f"  {names[argument]} -->{order} {names[node]}"
    for kind, look in LOOKS.items():
        dashed = ",stroke-dasharray:4" if look.dashed else ""
        yield f"  classDef {kind} fill:{look.fill},stroke:{look.border},color:{INK}{dashed}"
    for scope in range(scopes):
        yield f"  style s{scope} fill:{FRAME_FILL},stroke:{FRAME}"
