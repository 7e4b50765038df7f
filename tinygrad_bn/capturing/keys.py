"""What a captured step depends on besides the numbers in its arrays: shapes, modes, settings, what it closes over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from tinygrad_bn import mode
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.variables import Variable

_BY_VALUE = (int, float, complex, str, bytes, bool, type(None), np.dtype, np.generic)


def form(array: Any) -> tuple[Any, ...]:
    """What two arrays have in common that the same program can run on."""
    if isinstance(array, Tensor):
        value = array.value
        return value.shape, value.dtype, value.strides, array.requires_grad
    return array.shape, array.dtype, array.strides


def parted(given: Any, arrays: list[Any]) -> Any:
    """What was given, as a key, with the arrays and Tensors in it put on the list."""
    if isinstance(given, (Tensor, np.ndarray)):
        arrays.append(given)
        return form(given)
    if isinstance(given, (list, tuple)):
        return type(given), tuple([parted(part, arrays) for part in given])
    if isinstance(given, Mapping):
        return dict, tuple([(name, parted(part, arrays)) for name, part in given.items()])
    return _told(given)


def filled(given: Any, arrays: Iterable[Any]) -> Any:
    """The same nest with the next of `arrays` in the place of each array and Tensor."""
    if isinstance(given, (Tensor, np.ndarray)):
        return next(arrays)  # type: ignore[call-overload]
    if isinstance(given, (list, tuple)):
        parts = [filled(part, arrays) for part in given]
        return type(given)(*parts) if hasattr(given, "_fields") else type(given)(parts)
    if isinstance(given, Mapping):
        return {name: filled(part, arrays) for name, part in given.items()}
    return given


def surroundings(function: Any) -> tuple[list[Any], tuple[Any, ...]]:
    """The objects that a function refers to, and what of them counts at every call."""
    seen: list[Any] = []
    while isinstance(function, MethodType) or hasattr(function, "__wrapped__"):
        if isinstance(function, MethodType):
            seen.append(function.__self__)
            function = function.__func__
        else:
            function = function.__wrapped__
    if not isinstance(function, FunctionType):
        seen += [function, *vars(function).values()] if hasattr(function, "__dict__") else [function]
        function = vars(type(function)).get("__call__")
    if isinstance(function, FunctionType):
        for cell in function.__closure__ or ():
            try:
                seen.append(cell.cell_contents)
            except ValueError:  # not filled yet
                seen.append(None)
        names = _names(function.__code__)
        seen += [function.__globals__[name] for name in names if name in function.__globals__]
        seen += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return seen, tuple(map(_told, seen))


_named: dict[CodeType, tuple[str, ...]] = {}


def _names(code: CodeType) -> tuple[str, ...]:
    """The names that a function's text, and the functions inside it, look up."""
    if code not in _named:
        inner = [name for constant in code.co_consts if isinstance(constant, CodeType) for name in _names(constant)]
        _named[code] = tuple(dict.fromkeys([*code.co_names, *inner]))
    return _named[code]


def _told(thing: Any) -> Any:
    """What tells a thing from another: numbers by value and type, all else by identity."""
    if isinstance(thing, _BY_VALUE):
        return type(thing), thing if thing == thing else "nan"
    if isinstance(thing, tuple):
        return tuple(map(_told, thing))
    return id(thing)


class Settings:
    """The attributes of the modules, optimizers and the like that a step met, as they were then.

    Looking is skipped as long as nobody has set an attribute of any of them.
    """

    def __init__(self, things: Iterable[Any], variables: Iterable[Variable]) -> None:
        self._things = list({id(thing): thing for thing in things if _has_settings(thing)}.values())
        self._variables = list(variables)
        self._epoch = mode.epoch()
        self._known = self._look()

    def hold(self) -> bool:
        """Whether they are as they were."""
        if self._epoch != mode.epoch():
            if self._look() != self._known:
                return False
            self._epoch = mode.epoch()
        return True

    def _look(self) -> list[Any]:
        seen = [tuple([(name, _inside(value)) for name, value in vars(thing).items()]) for thing in self._things]
        return [*seen, [variable.requires_grad for variable in self._variables]]


def _has_settings(thing: Any) -> bool:
    return hasattr(thing, "__dict__") and not isinstance(thing, (type, FunctionType, ModuleType))


def _inside(value: Any) -> Any:
    if isinstance(value, list):
        return list, tuple(map(_told, value))
    return _told(value)
