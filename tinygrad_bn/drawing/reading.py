"""Readers: they find out what was computed, and tell it as a Graph.

A reader for something else is any function that returns a Graph: it adds nodes in the order of computation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tinygrad_bn.drawing.assembling import Assembly, Update
from tinygrad_bn.drawing.graph import Graph, Scope
from tinygrad_bn.mode import frozen_state, using
from tinygrad_bn.recorders import Recorder
from tinygrad_bn.tensors import Tensor, as_array


def read_tensor(target: Tensor, names: Mapping[str, Tensor], gradients: bool = False) -> Graph:
    """What `target` was made from, as far as it is remembered.

    Raises:
        ValueError: nothing is remembered.
    """
    if target.source is None:
        raise ValueError(
            f"draw expects a Tensor that remembers how it was made; got a leaf of shape {target.shape}. "
            "Let something that it is made from require a gradient, or draw a module with an example input"
        )
    return Assembly(names=_by_tensor(names), with_gradients=gradients).graph({"output": target})


def read_module(
    target: Any,
    inputs: Sequence[Any],
    names: Mapping[str, Tensor],
    updates: bool = False,
    gradients: bool = False,
) -> Graph:
    """What a module does with example inputs, every operation inside the call that made it.

    The module is run once. Variables and generators are afterwards as before; a module that is not built yet is built.

    Raises:
        TypeError: there is no example input, or the module returns something else than Tensors.
    """
    if not inputs:
        raise TypeError("draw expects an example input for the module: draw(module, x)")
    given = [value if isinstance(value, Tensor) else Tensor(as_array(value)) for value in inputs]
    if hasattr(target, "build_on"):
        target.build_on(*given)
    watcher = Watcher(target)
    with frozen_state(), using(recorder=watcher, gradients=True):
        outputs = _named(target(*given))
    watcher.name_scopes()
    paths = {variable: path for path, variable in (*target.named_parameters(), *target.named_states())}
    called = {**paths, **_by_tensor(names)}
    noted = watcher.updates if updates else ()
    assembly = Assembly(type(target).__name__, given, called, watcher.homes, noted, gradients)
    return assembly.graph(outputs)


def _by_tensor(names: Mapping[str, Tensor]) -> dict[Tensor, str]:
    if not isinstance(names, Mapping):
        raise TypeError(f"draw expects names as a dict of Tensors by name, {{'w': w}}; got {names!r:.60}")
    for name, value in names.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"draw expects names of Tensors; got {type(value).__name__} for {name!r}")
    return {tensor: name for name, tensor in names.items()}


def _named(returned: Any) -> dict[str, Tensor]:
    """A name for each Tensor that a module returned: one, or a list, tuple or dict of them."""
    if isinstance(returned, Mapping):
        named = {f"output {key}": value for key, value in returned.items()}
    elif isinstance(returned, (list, tuple)):
        named = {f"output {position}": value for position, value in enumerate(returned, 1)}
    else:
        named = {"output": returned}
    for value in named.values():
        if not isinstance(value, Tensor):
            raise TypeError(f"draw expects a module that returns Tensors; got {type(value).__name__}")
    return named


class Watcher(Recorder):
    """Notes in which module call every result was made, and which variables were updated.

    Attributes:
        homes: the scope of every result, in creation order.
        updates: what variables were given.
    """

    def __init__(self, target: Any) -> None:
        self.homes: dict[Tensor, Scope | None] = {}
        self.updates: list[Update] = []
        self._target = target
        self._calls: list[tuple[Any, Scope]] = []
        self._open: list[Scope | None] = [None]

    def note(self, tensor: Any) -> None:
        self.homes[tensor] = self._open[-1]

    def draw(self, primitive: Any, settings: Any) -> Tensor:
        return Tensor.bind(primitive, (), settings)

    def assigned(self, variable: Any, data: Any, writer: str) -> bool:
        if isinstance(data, Tensor):
            self.updates.append((variable, data, self._open[-1]))
        return True

    def enter(self, module: Any) -> None:
        if module is self._target:
            self._open.append(None)
            return
        scope = Scope("", type(module).__name__, self._open[-1])
        self._calls.append((module, scope))
        self._open.append(scope)

    def leave(self, module: Any) -> None:
        self._open.pop()

    def name_scopes(self) -> None:
        """Give the scopes their paths, which are all known only now that every module is built."""
        paths = {id(module): path for path, module in self._target.named_modules()}
        for module, scope in self._calls:
            scope.path = paths.get(id(module), "")
