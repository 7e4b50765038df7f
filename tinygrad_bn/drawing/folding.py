"""Folding: a run of identical blocks, each fed by the one before it, is drawn once, with the number of repeats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from tinygrad_bn.drawing.graph import Graph, Node, Scope

Item: TypeAlias = Node | Scope
_LONGEST_BLOCK = 64


def fold(graph: Graph) -> Graph:
    """A graph in which every run of identical blocks stands as one, folded from the inside out."""
    folded = _copy(graph)
    contents = folded.contents()
    users: dict[Node, set[Node]] = {node: set() for node in folded.nodes}
    for node in folded.nodes:
        for argument in node.arguments:
            users[argument].add(node)
    for scope in reversed(tuple(contents)):
        _Row(scope, contents, users).fold()
    kept = set(_nodes(contents[None], contents))
    folded.nodes = [node for node in folded.nodes if node in kept]
    return folded


class _Row:
    """What lies side by side in one scope: single nodes and the scopes inside it.

    Blocks of items are identical if their nodes are, one by one, and if corresponding arguments are either the same
    node, or correspond themselves. Only the first block may be fed from somewhere else.
    """

    def __init__(
        self, scope: Scope | None, contents: dict[Scope | None, list[Item]], users: dict[Node, set[Node]]
    ) -> None:
        self._scope = scope
        self._contents = contents
        self._users = users
        self._items = contents[scope]
        self._nodes = [_nodes([item], contents) for item in self._items]
        self._forms = [[_form(node) for node in nodes] for nodes in self._nodes]
        self._places = {node: (i, k) for i, nodes in enumerate(self._nodes) for k, node in enumerate(nodes)}

    def fold(self) -> None:
        """Replace every run by its first block."""
        row: list[Item] = []
        start = 0
        while start < len(self._items):
            begin, length, repeats = self._longest_run(start)
            row += self._items[start:begin]
            row += self._folded(begin, length, repeats) if repeats > 1 else self._items[begin : begin + length]
            start = begin + length * repeats
        self._contents[self._scope] = row

    def _longest_run(self, start: int) -> tuple[int, int, int]:
        """The run at `start` that saves most: where it begins, the items in a block, and the number of blocks."""
        best = start, 1, 1
        for length in range(1, min(_LONGEST_BLOCK, (len(self._items) - start) // 2) + 1):
            agreeing = self._agreeing(start, length)
            begin = start + agreeing % length  # blocks that end where the run ends: Dense and SELU, not SELU and Dense
            if self._agreeing(begin, length) // length < agreeing // length:
                begin = start
            repeats = 1 + agreeing // length
            while repeats > 1 and not self._closed(begin, length, repeats):
                repeats -= 1
            if length * (repeats - 1) > best[1] * (best[2] - 1):
                best = begin, length, repeats
        return best

    def _agreeing(self, start: int, length: int) -> int:
        """How many items in a row, from `start`, are like the item `length` places further on."""
        position = start
        while position + length < len(self._items) and self._alike(position, length, start):
            position += 1
        return position - start

    def _alike(self, position: int, length: int, start: int) -> bool:
        if self._forms[position] != self._forms[position + length]:
            return False
        return all(
            self._corresponding(a, b, position, length, start)
            for one, other in zip(self._nodes[position], self._nodes[position + length], strict=True)
            for a, b in zip(one.arguments, other.arguments, strict=True)
        )

    def _corresponding(self, a: Node, b: Node, position: int, length: int, start: int) -> bool:
        if a is b:
            return True
        i, k = self._places.get(a, (-1, 0))
        j, m = self._places.get(b, (-1, 0))
        fed_from_outside = position < start + length and i < start <= j < start + length
        return fed_from_outside or (i >= start and (i + length, k) == (j, m))

    def _closed(self, begin: int, length: int, repeats: int) -> bool:
        """Whether nothing but the next block uses a block, the last one excepted."""
        beyond = len(self._items)
        return all(
            self._places.get(user, (beyond, 0))[0] < begin + length * (block + 2)
            for block in range(repeats - 1)
            for item in range(begin + length * block, begin + length * (block + 1))
            for node in self._nodes[item]
            for user in self._users[node]
        )

    def _folded(self, begin: int, length: int, repeats: int) -> list[Item]:
        """The first block of a run, in a frame that tells the number of repeats."""
        last = begin + length * (repeats - 1)
        self._reroute(begin, length, last)
        block = self._items[begin : begin + length]
        paths = [item.path for item in (*block, *self._items[last : last + length]) if isinstance(item, Scope)]
        path = f"{paths[0]} to {paths[-1]}" if paths and paths[0] else ""
        if length == 1 and isinstance(block[0], Scope):
            block[0].path, block[0].repeats = path, repeats
            return block
        frame = Scope(path, "", self._scope, repeats)
        self._contents[frame] = block
        for item in block:
            if isinstance(item, Scope):
                item.parent = frame
            else:
                item.scope = frame
        return [frame]

    def _reroute(self, begin: int, length: int, last: int) -> None:
        """Let those who use the last block use the first instead, and forget that blocks left out use anything."""
        for offset in range(length):
            for kept, left_out in zip(self._nodes[begin + offset], self._nodes[last + offset], strict=True):
                for user in self._users[left_out]:
                    user.arguments = tuple(kept if argument is left_out else argument for argument in user.arguments)
                self._users[kept] |= self._users[left_out]
        for left_out_nodes in self._nodes[begin + length : last + length]:
            for node in left_out_nodes:
                for argument in node.arguments:
                    self._users[argument].discard(node)


def _form(node: Node) -> object:
    """What a node has in common with its like in another block: all but the names of its leaves."""
    if node.kind in ("input", "output"):
        return node
    name = node.title if node.kind == "operation" or not node.details else ""
    return (
        node.kind,
        name,
        node.details,
        _comparable(node.content),
        node.scope and (node.scope.name, node.scope.repeats),
    )


def _comparable(content: Any) -> Any:
    """Something that is equal for equal content, with arrays in it too. Generators are where numbers come from."""
    if isinstance(content, Mapping):
        return {key: _comparable(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_comparable(part) for part in content]
    if isinstance(content, (np.ndarray, np.generic)):
        return content.shape, content.dtype, content.tobytes()
    return None if isinstance(content, np.random.Generator) else content


def _nodes(items: Iterable[Item], contents: dict[Scope | None, list[Item]]) -> list[Node]:
    """The nodes among the items and inside them, in order."""
    found: list[Node] = []
    pending = list(items)[::-1]
    while pending:
        item = pending.pop()
        if isinstance(item, Node):
            found.append(item)
        else:
            pending += contents[item][::-1]
    return found


def _copy(graph: Graph) -> Graph:
    """The same graph with nodes and scopes of its own."""
    scopes: dict[Scope | None, Scope | None] = {None: None}
    for scope in graph.contents():
        if scope is not None:
            scopes[scope] = Scope(scope.path, scope.name, scopes[scope.parent], scope.repeats)
    nodes: dict[Node, Node] = {}
    for node in graph.nodes:
        nodes[node] = Node(
            node.kind,
            node.title,
            node.details,
            [nodes[argument] for argument in node.arguments],
            ordered=node.ordered,
            formula=node.formula,
            gradient=node.gradient,
            scope=scopes[node.scope],
            content=node.content,
        )
    return Graph(graph.title, list(nodes.values()))
