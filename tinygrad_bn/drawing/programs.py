"""Reading a captured program: its steps as nodes, inside the modules that they belong to."""

from __future__ import annotations

from typing import Any

from tinygrad_bn.drawing.graph import Graph, Node, Scope


def read_program(program: Any) -> Graph:
    """Every NumPy call of a captured program, what it updates, and what it returns."""
    return _Reading(program.flow).graph(program.name)


class _Reading:
    def __init__(self, flow: Any) -> None:
        self.flow = flow
        self._nodes: dict[Any, Node] = {}
        self._scopes: dict[str, Scope] = {}

    def graph(self, title: str) -> Graph:
        graph = Graph(title)
        ends = set(self.flow.ends())
        for value in self.flow.sources():
            kind = self.flow.kind(value)
            if kind != "constant" or value.shape or value in ends:
                content = value.sample if kind == "constant" else None
                self._nodes[value] = graph.add(Node(kind, self.flow.called(value), [_array(value)], content=content))
        for step in self.flow.steps:
            arguments = [self._nodes[value] for value in step.inputs if value in self._nodes]
            about = [_array(step.result), step.label]
            content = self._settings((step.args, *step.options.items()))
            node = Node(
                "operation", step.called, about, arguments, ordered=True, scope=self._scope(step), content=content
            )
            self._nodes[step.result] = graph.add(node)
        for store in self.flow.stores:
            name = self.flow.names.get(store.variable) or store.variable.name or "variable"
            graph.add(Node("state", name, ["updated"], [self._nodes[store.value]]))
        for number, value in enumerate(self.flow.results):
            name = "output" if len(self.flow.results) == 1 else f"output {number}"
            graph.add(Node("output", name, [_array(value)], [self._nodes[value]]))
        return graph

    def _settings(self, given: Any) -> Any:
        """What a step is given besides the arrays that have nodes of their own."""
        if isinstance(given, (list, tuple)):
            return [self._settings(part) for part in given]
        if hasattr(given, "sample"):
            return None if given in self._nodes else given.sample
        return given

    def _scope(self, step: Any) -> Scope | None:
        if not step.scope:
            return None
        if step.scope not in self._scopes:
            self._scopes[step.scope] = Scope(step.scope, "")
        return self._scopes[step.scope]


def _array(value: Any) -> str:
    return f"{value.dtype} {value.shape}"
