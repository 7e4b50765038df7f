"""A law is a function of a function and a case that fails where the law is broken; its docstring states it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.laws.subjects import Case, Function, is_random

Check = Callable[[Function[Any], Case], None]
Scope = Callable[[Function[Any], Case], bool]


class Law:
    """What must hold for all functions and cases in its scope.

    Attributes:
        about_cases: whether it says something about each case, or about the function as a whole.
    """

    def __init__(self, check: Check, scope: Scope, about_cases: bool) -> None:
        self.check, self.scope, self.about_cases = check, scope, about_cases
        self.__name__, self.__doc__ = check.__name__, check.__doc__

    def __call__(self, function: Function[Any], case: Case) -> None:
        self.check(function, case)

    def __repr__(self) -> str:
        return self.__name__

    def covers(self, function: Function[Any], case: Case) -> bool:
        return (self.about_cases or case is function.cases[0]) and self.scope(function, case)


LAWS: list[Law] = []


def draws_nothing(function: Function[Any], case: Case) -> bool:
    return not is_random(function)


def everything(function: Function[Any], case: Case) -> bool:
    return True


def law(scope: Scope = draws_nothing, *, about_cases: bool = True) -> Callable[[Check], Law]:
    """Enter a law into the book."""

    def entered(check: Check) -> Law:
        LAWS.append(Law(check, scope, about_cases))
        return LAWS[-1]

    return entered
