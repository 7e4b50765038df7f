"""A model as a function of its parameters and states, for derivatives over all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_bn import names
from tinygrad_bn.errors import SettingError, ShapeError
from tinygrad_bn.module.modules import Module, walk
from tinygrad_bn.tensors import Tensor, as_array
from tinygrad_bn.variables import State, Variable

Values = dict[str, Any]


def functional(model: Module) -> tuple[Callable[..., tuple[Any, Values]], Values, Values]:
    """(f, parameters, state) with f(parameters, state, x, training=None) -> (y, state); the model stays as it is.

    Parameters and states are dicts from paths to arrays; where Tensors are given, derivatives flow to them:
    `tg.hessian(lambda p: loss(y, f(p, state, x)[0]))(parameters)`.

    Raises:
        NotBuiltError: a layer does not know its input shape yet, and so has no parameters.
        SettingError, ShapeError: by f: a path is missing or unknown, or a value does not fit.
    """
    parameters = dict(model.named_parameters())
    states = dict(model.named_states())

    def f(values: Mapping[str, Any], state: Mapping[str, Any], x: Any, *, training: bool | None = None) -> Any:
        _expect_fit("parameters", values, parameters)
        _expect_fit("state", state, states)
        given = {path: v if isinstance(v, Tensor) else Tensor(as_array(v)) for path, v in values.items()}
        kept = {path: State(value) for path, value in state.items()}
        stand_ins = {id(variable): given[path] for path, variable in parameters.items()}
        stand_ins |= {id(variable): kept[path] for path, variable in states.items()}
        with _holding(model, stand_ins):
            y = model(x, training=training)
        return y, {path: variable.value for path, variable in kept.items()}

    return f, _values(parameters), _values(states)


def _values(variables: Mapping[str, Variable]) -> Values:
    return {path: variable.numpy() for path, variable in variables.items()}


def _expect_fit(kind: str, values: Mapping[str, Any], variables: Mapping[str, Variable]) -> None:
    for path in variables.keys() - values.keys():
        raise SettingError(f"functional expects {kind} with a value for {path}")
    for path, value in values.items():
        if path not in variables:
            raise SettingError(names.unknown("path", path, variables, kind))
        if np.shape(value) != variables[path].shape:
            raise ShapeError(f"functional expects {path} of shape {variables[path].shape}; got {np.shape(value)}")


@contextmanager
def _holding(model: Module, stand_ins: Mapping[int, Tensor]) -> Iterator[None]:
    """Within it the model holds other Tensors in place of its variables, wherever they are found."""
    changed: list[tuple[Any, Any, Any]] = []
    for holder in _holders(model):
        for key, value in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            if id(value) in stand_ins and isinstance(value, Variable):
                changed.append((holder, key, value))
    try:
        for holder, key, value in changed:
            holder[key] = stand_ins[id(value)]
        yield
    finally:
        for holder, key, value in changed:
            holder[key] = value


def _holders(model: Module) -> Iterator[Any]:
    """The attributes of every module, and the lists and dicts among them, in which variables are found."""
    waiting: list[Any] = [vars(module) for _, module in walk(model) if isinstance(module, Module)]
    seen: set[int] = set()
    while waiting:
        holder = waiting.pop()
        if id(holder) not in seen:
            seen.add(id(holder))
            yield holder
            inside = holder.values() if isinstance(holder, dict) else holder
            waiting += [thing for thing in inside if isinstance(thing, (list, dict))]
