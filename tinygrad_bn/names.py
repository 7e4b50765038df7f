"""Did you mean: unknown names list the choices and the nearest one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import wraps
from types import FunctionType
from typing import Any, NoReturn, ParamSpec, TypeVar

from tinygrad_bn.errors import SettingError

Choice = TypeVar("Choice")
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

TAKES_ANY_NUMBER, TAKES_ANY_NAME = 0x04, 0x08
"""The code flags of functions with *arguments, and with **arguments."""


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The choice most like `name`, or else of these initials (learning_rate for lr); None when nothing is."""
    from difflib import get_close_matches  # loaded only when somebody has mistyped

    by_spelling = {choice.lower(): choice for choice in choices}
    by_initials = {"".join(word[:1] for word in spelling.split("_")): spelling for spelling in by_spelling}
    found = get_close_matches(name.lower(), by_spelling, n=1)[:1] or [by_initials.get(name.lower(), "")]
    return by_spelling.get(found[0])


def unknown(kind: str, name: object, choices: Iterable[str], where: str = "") -> str:
    """The sentence for an unknown name: what came, what exists, and what was probably meant."""
    choices = sorted(choices)
    meant = nearest(name, choices) if isinstance(name, str) else None
    hint = f" Did you mean {meant!r}?" if meant else ""
    place = f" in {where}" if where else ""
    return f"unknown {kind} {name!r}{place}.{hint} Choices: {', '.join(choices) or 'none'}."


def expect(kind: str, name: Any, choices: Collection[str], where: str = "") -> Any:
    """`name`, if it is among the choices.

    Raises:
        SettingError: it is not; the message is that of `unknown`.
    """
    if isinstance(name, str) and name in choices:
        return name
    raise SettingError(unknown(kind, name, choices, where))


def chosen(kind: str, name: object, choices: Mapping[str, Choice], where: str = "") -> Choice:
    """The choice of this name. Raises as `expect`."""
    return choices[expect(kind, name, choices, where)]


def resolve(
    kind: str, value: Any, base: type[Choice], choices: Mapping[str, Callable[[], Choice]], where: str = ""
) -> Choice:
    """The `base` that is meant: the value itself, or one with the default settings of a class or a name.

    Raises:
        SettingError: it is none of these; the message is that of `unknown`.
    """
    if isinstance(value, base):
        return value
    if isinstance(value, type) and issubclass(value, base):
        return value()
    return chosen(kind, value, choices, where)()


def answer_for(module: str) -> None:
    """Let a module answer a name that it does not have with those that it has: `__all__`, or what is defined in it."""
    home: Any = sys.modules[module]

    def missing(name: str) -> NoReturn:
        own = [key for key, thing in vars(home).items() if getattr(thing, "__module__", None) == module]
        choices = vars(home).get("__all__", [key for key in own if not key.startswith("_")])
        raise AttributeError(unknown("name", name, choices, module), name=name)

    home.__getattr__ = missing


def arguments(kind: type) -> list[str]:
    """The names of what its constructor takes, with those that it hands on to constructors above."""
    found: dict[str, None] = {}
    for base in kind.__mro__:
        constructor: Any = vars(base).get("__init__")
        while hasattr(constructor, "__wrapped__"):
            constructor = constructor.__wrapped__
        if isinstance(constructor, FunctionType):
            found.update(dict.fromkeys(_named(constructor)[1:]))
            if not constructor.__code__.co_flags & TAKES_ANY_NAME:
                break
    return list(found)


def checked(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """`function`, whose TypeError for an argument that it does not have names the right one."""
    plain: Any = function
    if not isinstance(function, FunctionType) or plain.__code__.co_flags & TAKES_ANY_NAME:
        return function
    known, constructs = _named(plain), plain.__name__ == "__init__"

    @wraps(function)
    def helpful(*positional: Arguments.args, **named: Arguments.kwargs) -> Result:
        for name in named:
            if name not in known:
                kind: Any = type(positional[0]) if constructs else plain
                choices = arguments(kind) if constructs else [choice for choice in known if choice != "self"]
                raise TypeError(unknown("argument", name, choices, f"{kind.__name__}()"))
        result: Result = plain(*positional, **named)
        return result

    return helpful


class Answering:
    """A kind of thing whose constructors answer an argument that they do not have with the right one."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = checked(cls.__init__)  # type: ignore[method-assign]


def _named(function: Any) -> tuple[str, ...]:
    code = function.__code__
    names: tuple[str, ...] = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return names
