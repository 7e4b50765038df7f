"""Plain text: one line a node, in the order of computation, indented by module."""

from __future__ import annotations

from collections.abc import Iterator

from tinygrad_bn.drawing.graph import Graph, Node, Scope

_WIDEST = 60


def to_text(graph: Graph) -> str:
    """The graph as lines: results are numbered, arguments stand behind the operation, numbers stand for themselves."""
    lines = list(_lines(graph))
    column = min(max((len(left) for left, right in lines if right), default=0), _WIDEST)
    return "".join(f"{left:<{column}}  {right}".rstrip() + "\n" for left, right in lines)


def _lines(graph: Graph) -> Iterator[tuple[str, str]]:
    """What stands on the left and on the right of each line."""
    names: dict[Node, str] = {}
    results = 0
    for node in graph.nodes:
        results += node.kind == "operation"
        names[node] = f"%{results}" if node.kind == "operation" else node.title
    if graph.title:
        yield graph.title, ""
    for depth, item in graph.walk():
        indent = "  " * depth
        if isinstance(item, Scope):
            yield indent + item.title, ""
        elif isinstance(item, Node) and not (item.kind == "constant" and not item.details):
            made = f"{names[item]} = {item.title}" if item.kind == "operation" else item.title
            arguments = ", ".join(names[argument] for argument in item.arguments)
            yield f"{indent}{made}  {arguments}".rstrip(), ", ".join(item.details)
