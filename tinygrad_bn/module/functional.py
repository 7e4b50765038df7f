"""A model as a function of its parameters and states, for derivatives over all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_bn import names
from tinygrad_bn.errors import SettingError, ShapeError
from tinygrad_bn.module.modules import Module
from tinygrad_bn.tensors import Tensor, as_array
from tinygrad_bn.variables import State, Variable

Values = dict[str, Any]


def functional(model: Module) -> tuple[Callable[..., tuple[Any, Values]], Values, Values]:
    """(f, parameters, state) with f(parameters, state, x, training=None) -> (y, state); the model stays as it is.

    Parameters and states are dicts from paths to arrays; where Tensors are given, derivatives flow to them:
    `tg.hessian(lambda p: loss(y, f(p, state, x)[0]))(parameters)`.

    Raises:
        NotBuiltError: a layer does not know its input shape yet, and so has no parameters.
        TypeError: `model` is no module; by f: parameters or state are no dict.
        SettingError, ShapeError: by f: a path is missing or unknown, or a value does not fit.
    """
    if not isinstance(model, Module):
        raise TypeError(f"functional expects a Module; got {model!r:.60}")
    parameters = dict(model.named_parameters())
    states = dict(model.named_states())
    held = {thing for _, _, thing in places(model, model.variables)}
    for path, variable in {**parameters, **states}.items():
        if variable not in held:
            raise SettingError(f"functional expects variables in attributes, lists and dicts; {path} is in a tuple")

    def f(values: Mapping[str, Any], state: Mapping[str, Any], x: Any, *, training: bool | None = None) -> Any:
        _expect_fit("parameters", values, parameters)
        _expect_fit("state", state, states)
        given = {path: v if isinstance(v, Tensor) else Tensor(as_array(v)) for path, v in values.items()}
        kept = {path: State(value) for path, value in state.items()}
        values_of: Values = {**given, **kept}
        stand_ins = {variable: values_of[path] for path, variable in {**parameters, **states}.items()}
        with _holding(model, stand_ins):
            y = model(x, training=training)
        return y, {path: variable.value for path, variable in kept.items()}

    return f, _values(parameters), _values(states)


def _values(variables: Mapping[str, Variable]) -> Values:
    return {path: variable.numpy() for path, variable in variables.items()}


def _expect_fit(kind: str, values: Mapping[str, Any], variables: Mapping[str, Variable]) -> None:
    if not isinstance(values, Mapping):
        raise TypeError(f"functional expects {kind} as a dict of values by path; got {values!r:.60}")
    for path in variables.keys() - values.keys():
        raise SettingError(f"functional expects {kind} with a value for {path}")
    for path, value in values.items():
        if path not in variables:
            raise SettingError(names.unknown("path", path, variables, kind))
        if np.shape(value) != variables[path].shape:
            raise ShapeError(f"functional expects {path} of shape {variables[path].shape}; got {np.shape(value)}")


@contextmanager
def _holding(model: Module, stand_ins: Mapping[Variable, Tensor]) -> Iterator[None]:
    """Within it the model holds other Tensors in place of its variables, wherever they are found."""
    held = places(model, stand_ins)
    try:
        for holder, key, variable in held:
            holder[key] = stand_ins[variable]
        yield
    finally:
        for holder, key, variable in held:
            holder[key] = variable


def places(model: Module, things: Iterable[Any]) -> list[tuple[Any, Any, Any]]:
    """(holder, key, thing) wherever a module under `model` holds one of these: in an attribute, a list or a dict."""
    wanted = {id(thing) for thing in things}
    waiting: list[Any] = [vars(module) for module in model.modules()]
    seen: set[int] = set()
    found: list[tuple[Any, Any, Any]] = []
    while waiting:
        holder = waiting.pop()
        if id(holder) not in seen:
            seen.add(id(holder))
            inside = list(holder.items() if isinstance(holder, dict) else enumerate(holder))
            found += [(holder, key, thing) for key, thing in inside if id(thing) in wanted]
            waiting += [thing for _, thing in inside if isinstance(thing, (list, dict))]
    return found
