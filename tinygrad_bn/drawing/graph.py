"""What is drawn: nodes with their arguments, inside the scopes of module calls. Readers build it, writers write it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["input", "parameter", "state", "constant", "operation", "output"]


class Scope:
    """One call of a module, drawn as a frame around what it did.

    Attributes:
        path: where the module is found, such as `layers.1`; may be empty.
        name: what it is, such as its class; may be empty.
        parent: the scope around it; None directly inside the graph.
        repeats: how many identical blocks in a row it stands for.
    """

    __slots__ = ("name", "parent", "path", "repeats")

    def __init__(self, path: str, name: str, parent: Scope | None = None, repeats: int = 1) -> None:
        self.path = path
        self.name = name
        self.parent = parent
        self.repeats = repeats

    @property
    def title(self) -> str:
        """Path, name and number of repeats, as far as there are any, in plain ASCII."""
        repeats = f"x{self.repeats}" if self.repeats > 1 else ""
        return "  ".join(plain(part) for part in (self.path, self.name, repeats) if part)


class Node:
    """One box.

    Attributes:
        kind: what it is; each kind looks its own way.
        title: the name of a leaf, or the label of an operation with its settings.
        details: further lines, such as shape and dtype.
        arguments: the nodes that it is made from, in order.
        ordered: whether the order of the arguments matters, so that it should be seen.
        formula: what an operation computes, shown on demand.
        gradient: the norm of the output's derivative with respect to this node; None where it is unknown.
        scope: the module call that made it; None directly inside the graph.
        content: what tells it from others that look alike: all settings, or all numbers.
    """

    __slots__ = ("arguments", "content", "details", "formula", "gradient", "kind", "ordered", "scope", "title")

    def __init__(
        self,
        kind: Kind,
        title: str,
        details: Sequence[str] = (),
        arguments: Sequence[Node] = (),
        *,
        ordered: bool = False,
        formula: str = "",
        gradient: float | None = None,
        scope: Scope | None = None,
        content: object = None,
    ) -> None:
        self.kind: Kind = kind
        self.title = plain(title)
        self.details = tuple(map(plain, details))
        self.arguments = tuple(arguments)
        self.ordered = ordered
        self.formula = plain(formula)
        self.gradient = gradient
        self.scope = scope
        self.content = content


class Graph:
    """Nodes, each behind its arguments. That order is all that numbers and identifiers are made from.

    Attributes:
        title: what the whole is, such as the class of a model; may be empty.
        nodes: in the order in which they are made.
    """

    __slots__ = ("nodes", "title")

    def __init__(self, title: str = "", nodes: Sequence[Node] = ()) -> None:
        self.title = plain(title)
        self.nodes = list(nodes)

    def add(self, node: Node) -> Node:
        """Append a node, whose arguments must be there already, and return it."""
        self.nodes.append(node)
        return node

    def contents(self) -> dict[Scope | None, list[Node | Scope]]:
        """What lies directly in each scope, in order of appearance; every scope comes after its parent."""
        inside: dict[Scope | None, list[Node | Scope]] = {None: []}
        for node in self.nodes:
            unseen: list[Scope] = []
            scope = node.scope
            while scope is not None and scope not in inside:
                unseen.append(scope)
                scope = scope.parent
            for opened in reversed(unseen):
                inside[opened] = []
                inside[opened.parent].append(opened)
            inside[node.scope].append(node)
        return inside

    def walk(self) -> Iterator[tuple[int, Node | Scope | None]]:
        """Every node and scope, nested as they lie, with their depth; None where a scope ends."""
        inside = self.contents()
        pending: list[tuple[int, Node | Scope | None]] = [(0, item) for item in reversed(inside[None])]
        while pending:
            depth, item = pending.pop()
            yield depth, item
            if isinstance(item, Scope):
                pending.append((depth, None))
                pending += [(depth + 1, content) for content in reversed(inside[item])]


_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 127)}


def plain(text: str) -> str:
    """`text` in one line of printable ASCII, so that every engine, font and terminal shows it."""
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode().translate(_CONTROL)
