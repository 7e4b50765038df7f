"""What a layout engine cannot know by itself, and what makes a graph read from top to bottom, module by module."""

from __future__ import annotations

from collections.abc import Iterator

from tinygrad_bn.drawing.graph import Graph, Node, Scope


def beside(graph: Graph) -> dict[Node, list[Node]]:
    """For operations, the one or two leaves that stand left and right of them: above them they push modules aside."""
    placed: set[Node] = set()
    found: dict[Node, list[Node]] = {}
    for node in graph.nodes:
        arguments = dict.fromkeys(node.arguments)
        leaves = [
            argument
            for argument in arguments
            if argument not in placed
            and not argument.arguments
            and argument.kind != "input"
            and argument.scope is node.scope
        ]
        found[node] = leaves[:2]
        placed.update(arguments)
    return found


def above(graph: Graph) -> list[tuple[Node, Node]]:
    """Pairs of nodes of which the first belongs above the second, though no value flows between them.

    What a module computes from its own variables alone belongs below what feeds the module, and what it only stores
    belongs above what uses the module. Then modules stand one below the other.
    """
    position = {node: index for index, node in enumerate(graph.nodes)}
    feeders: dict[Scope, Node] = {}
    users: dict[Scope, Node] = {}
    used: set[Node] = set()
    for node in graph.nodes:
        used.update(node.arguments)
        for argument in _values(node):
            inside, outside = set(_around(node)), set(_around(argument))
            for scope in inside - outside:
                feeders[scope] = max(feeders.get(scope, argument), argument, key=position.__getitem__)
            for scope in outside - inside:
                users.setdefault(scope, node)
    pairs = []
    for node in graph.nodes:
        if node.kind == "operation" and not any(_values(node)):
            pairs += [(feeders[scope], node) for scope in _around(node) if scope in feeders][:1]
        if node not in used:
            pairs += [(node, users[scope]) for scope in _around(node) if scope in users][:1]
    return [(high, low) for high, low in pairs if position[high] < position[low]]


def _values(node: Node) -> Iterator[Node]:
    """The arguments that come from the input, not from a variable."""
    return (argument for argument in node.arguments if argument.kind in ("operation", "input"))


def _around(node: Node) -> Iterator[Scope]:
    """The scopes in which a node lies, from the innermost."""
    scope = node.scope
    while scope is not None:
        yield scope
        scope = scope.parent
