"""Did you mean: unknown names list the choices and the nearest one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import ParamSpec, TypeVar

from tinygrad_bn.errors import SettingError

Choice = TypeVar("Choice")
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


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


def chosen(kind: str, name: object, choices: Mapping[str, Choice], where: str = "") -> Choice:
    """The choice of this name.

    Raises:
        SettingError: there is none; the message is that of `unknown`.
    """
    if isinstance(name, str) and name in choices:
        return choices[name]
    raise SettingError(unknown(kind, name, choices, where))


def checked(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """`function`, whose TypeError for an argument that it does not have names the right one."""
    code = function.__code__
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

    @wraps(function)
    def helpful(*positional: Arguments.args, **named: Arguments.kwargs) -> Result:
        for name in named:
            if name not in known:
                choices = [choice for choice in known if choice != "self"]
                raise TypeError(unknown("argument", name, choices, f"{function.__name__}()"))
        return function(*positional, **named)

    return helpful
