"""From Tensors to nodes: each is drawn once, and every leaf gets a kind and a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeAlias

import numpy as np

from tinygrad_bn.autodiff.gradients import gradients
from tinygrad_bn.drawing import labels
from tinygrad_bn.drawing.graph import Graph, Kind, Node, Scope
from tinygrad_bn.errors import ShapeError
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.tensors.graph import source
from tinygrad_bn.variables import Parameter, Variable

Update: TypeAlias = tuple[Variable, Tensor, Scope | None]
"""A variable, its new values, and the scope in which it gets them."""

_age = attrgetter("serial")


class Assembly:
    """Makes a Graph of what some Tensors were made from.

    Args:
        title: the title of the graph.
        inputs: what a module was called with. Without a module there are none, and every unnamed Tensor is an input.
        names: of variables and other leaves.
        homes: the scope of every result that was made in one, in creation order.
        updates: what variables were given.
        with_gradients: whether to say of every node how strongly the output depends on it.
    """

    def __init__(
        self,
        title: str = "",
        inputs: Sequence[Tensor] = (),
        names: Mapping[Tensor, str] | None = None,
        homes: Mapping[Tensor, Scope | None] | None = None,
        updates: Sequence[Update] = (),
        with_gradients: bool = False,
    ) -> None:
        self._inputs = dict.fromkeys(inputs)
        self._names = names or {}
        self._homes = homes or {}
        self._updates = updates
        self._with_gradients = with_gradients
        self._norms: Mapping[Tensor, float] = {}
        self._owners: dict[int, Tensor] = {}
        for tensor in (*self._inputs, *self._names, *self._homes):
            self._owners.setdefault(id(tensor.value), tensor)
        self._graph = Graph(title)
        self._nodes: dict[int, Node] = {}
        self._leaves: dict[int, tuple[Kind, str]] = {}

    def graph(self, outputs: Mapping[str, Tensor]) -> Graph:
        """The graph that ends in the named outputs and in the updates."""
        ends = [*outputs.values(), *(data for _, data, _ in self._updates)]
        operations = self._operations(ends)
        arguments = [arg for tensor in operations for arg in source(tensor)[1]]
        if self._with_gradients:
            self._norms = _norms(outputs.values(), [*operations, *arguments])
        self._name_leaves([*self._inputs, *arguments, *ends])
        updates: dict[int, list[Update]] = {}
        for update in self._updates:
            updates.setdefault(id(self._origin(update[1])), []).append(update)
        for tensor in operations:
            self._add_operation(tensor)
            self._add_updates(updates.pop(id(tensor), ()))
        for of_leaf in updates.values():
            self._add_updates(of_leaf)
        for name, tensor in outputs.items():
            self._graph.add(Node("output", name, [labels.array(tensor)], [self._node(tensor, None)]))
        return self._graph

    def _operations(self, ends: Iterable[Any]) -> list[Tensor]:
        """All results that the ends were made from, themselves included, in creation order."""
        found: dict[Tensor, None] = {}
        pending = list(ends)
        while pending:
            value = self._origin(pending.pop())
            if not self._is_leaf(value) and value not in found:
                found[value] = None
                pending += source(value)[1]
        return sorted(found, key=_age)

    def _origin(self, value: Any) -> Any:
        """The Tensor whose very values these are, if it is known: a detached Tensor is drawn as what it came from."""
        if isinstance(value, Tensor) and value.source is None:
            return self._owners.get(id(value.value), value)
        return value

    def _add_operation(self, tensor: Tensor) -> None:
        primitive, args, settings = source(tensor)
        scope = self._homes.get(tensor)
        arguments = [self._node(arg, scope) for arg in args if not self._is_number(arg)]
        node = Node(
            "operation",
            labels.with_numbers(labels.operation(primitive, settings), args, self._is_number),
            [labels.array(tensor), *labels.gradient(self._norms.get(tensor))],
            arguments,
            ordered=len(arguments) > 1 and primitive.__name__ not in labels.COMMUTATIVE,
            formula=labels.formula(primitive),
            gradient=self._norms.get(tensor),
            scope=scope,
            content=(primitive, settings, [_numbers(arg) for arg in args if self._is_number(arg)]),
        )
        self._nodes[id(tensor)] = self._graph.add(node)

    def _add_updates(self, updates: Iterable[Update]) -> None:
        for variable, data, scope in updates:
            name = self._names.get(variable, "state")
            self._graph.add(Node("state", name, ["updated"], [self._node(data, scope)], scope=scope))

    # Leaves

    def _is_leaf(self, value: Any) -> bool:
        return not isinstance(value, Tensor) or value.source is None or value in self._inputs

    def _is_known(self, leaf: Any) -> bool:
        """Whether it is a variable or input, or was given a name."""
        return isinstance(leaf, Tensor) and (isinstance(leaf, Variable) or leaf in self._inputs or leaf in self._names)

    def _is_number(self, value: Any) -> bool:
        """Whether it is a single number that nobody gave a name to: not worth a node of its own."""
        value = self._origin(value)
        free = isinstance(value, Tensor) and value.requires_grad
        return getattr(value, "ndim", 0) == 0 and self._is_leaf(value) and not free and not self._is_known(value)

    def _kind(self, leaf: Any) -> Kind:
        if isinstance(leaf, Variable):
            return "parameter" if isinstance(leaf, Parameter) else "state"
        free = isinstance(leaf, Tensor) and (leaf.requires_grad or not self._inputs)
        return "input" if free or self._is_known(leaf) else "constant"

    def _name_leaves(self, values: Iterable[Any]) -> None:
        """Decide on the kind and name of every leaf, numbering the nameless of a kind, and draw the inputs."""
        leaves = {id(value): value for value in map(self._origin, values) if self._is_leaf(value)}
        leaves = {key: leaf for key, leaf in leaves.items() if not self._is_number(leaf)}
        names = {key: self._name(leaf) for key, leaf in leaves.items()}
        nameless = Counter(self._kind(leaf) for key, leaf in leaves.items() if not names[key])
        numbered: Counter[Kind] = Counter()
        for key, leaf in leaves.items():
            kind, name = self._kind(leaf), names[key]
            if name is None:
                numbered[kind] += 1
                name = f"{kind} {numbered[kind]}" if nameless[kind] > 1 else kind
            self._leaves[key] = kind, name
            if kind == "input":
                self._node(leaf, None)

    def _name(self, leaf: Any) -> str | None:
        given = self._names.get(leaf) if isinstance(leaf, Tensor) else None
        return given or (leaf.name if isinstance(leaf, Variable) else None)

    def _node(self, value: Any, scope: Scope | None) -> Node:
        """The node of an argument that is used in `scope`. A leaf is drawn where it is first needed, a number anew."""
        value = self._origin(value)
        if id(value) in self._nodes:
            return self._nodes[id(value)]
        if id(value) not in self._leaves:
            return self._graph.add(Node("constant", labels.number(value), scope=scope, content=_numbers(value)))
        kind, name = self._leaves[id(value)]
        details = [labels.array(value)]
        if kind in ("parameter", "state"):
            frozen = kind == "parameter" and not value.requires_grad
            details.append(labels.count(value) + ", frozen" * frozen)
            scope = _owner(name, scope)
        norm = self._norms.get(value) if isinstance(value, Tensor) else None
        details += labels.gradient(norm)
        content = _numbers(value) if kind == "constant" else None
        self._nodes[id(value)] = self._graph.add(Node(kind, name, details, gradient=norm, scope=scope, content=content))
        return self._nodes[id(value)]


def _numbers(value: Any) -> Any:
    return value.value if isinstance(value, Tensor) else value


def _norms(outputs: Iterable[Tensor], values: Iterable[Any]) -> dict[Tensor, float]:
    """The norm of the derivative of the only output with respect to each of the values that it reaches."""
    output, *others = outputs
    if others or output.size != 1:
        shapes = ", ".join(str(tensor.shape) for tensor in (output, *others))
        raise ShapeError(f"draw with gradients expects one output of one element, such as a loss; got {shapes}")
    tensors = [value for value in values if isinstance(value, Tensor) and value.requires_grad]
    found = gradients(output, tensors, allow_unused=True)
    return {
        t: float(np.linalg.norm(g.value.astype(np.float64)))
        for t, g in zip(tensors, found, strict=True)
        if g is not None
    }


def _owner(path: str, scope: Scope | None) -> Scope | None:
    """The call of the module that holds the variable at `path`, if `scope` lies in one; else `scope`."""
    owner, around = path.rpartition(".")[0], scope
    while around is not None and around.path != owner:
        around = around.parent
    return around or scope
