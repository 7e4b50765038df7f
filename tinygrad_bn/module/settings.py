"""What things are set to, and what functions and constructors ask of their arguments.

Each `owner` is an object, or the name of a function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from tinygrad_bn import names
from tinygrad_bn.errors import SettingError
from tinygrad_bn.mode import changed
from tinygrad_bn.tensors.arrays import dtype_of

Check = Callable[[Any, str, Any], Any]
"""From owner, name and value what is to be kept; or it raises."""
Agreement = tuple[tuple[str, ...], Callable[..., bool], str]
"""Names of settings, what must hold of their values together, and that in words."""


class Checked(names.Answering):
    """A thing whose settings are asked for whenever they are set, and not only by its constructor.

    A subclass says in `_checks` what is asked of an attribute, in `_agreements` of several together, and in `_settled`
    which cannot be set any more once it is built; what its bases say holds too.
    """

    _checks: ClassVar[Mapping[str, Check]] = {}
    _agreements: ClassVar[tuple[Agreement, ...]] = ()
    _settled: tuple[str, ...] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        lines = [vars(base) for base in reversed(cls.__mro__)]
        cls._checks = {name: check for line in lines for name, check in line.get("_checks", {}).items()}
        cls._agreements = tuple(dict.fromkeys(each for line in lines for each in line.get("_agreements", ())))
        cls._settled = tuple(dict.fromkeys(name for line in lines for name in line.get("_settled", ())))

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, self._checked(name, value))

    def _checked(self, name: str, value: Any) -> Any:
        """`value` as attribute `name` is to hold it; it raises where that cannot be."""
        if name in self._checks:
            value = self._checks[name](self, name, value)
        for together, hold, expected in self._agreements:
            values = {**vars(self), name: value}
            if name in together and values.keys() >= {*together} and not hold(*(values[each] for each in together)):
                got = ", ".join(f"{each}={values[each]!r}" for each in together)
                raise self.error(SettingError, f"expects {expected}; got {got}")
        settled = name in self._settled and name in vars(self) and getattr(self, "built", True)
        if settled and value != (held := vars(self)[name]):
            raise self.error(
                SettingError, f"was built with {name}={held!r}, which cannot be set to {value!r}: make a new one"
            )
        return value

    def error(self, kind: type[Exception], said: str) -> Exception:
        """The error that says this of this thing."""
        return kind(f"{_called(self)} {said}")


class Described(Checked):
    """A thing that is what its settings say: it shows them, and tells when one is set."""

    def __init__(self) -> None:
        """There is nothing to be set."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        changed()

    def __repr__(self) -> str:
        kept = vars(self)
        said = (f"{name}={kept[name]!r}" for name in names.arguments(type(self)) if name in kept)
        return f"{type(self).__name__}({', '.join(said)})"


def optional(check: Check) -> Check:
    """None, or what `check` asks for."""
    return lambda owner, name, value: None if value is None else check(owner, name, value)


def one_of(*choices: str) -> Check:
    """One of these names."""
    return lambda owner, name, value: names.expect(name, value, choices, _called(owner))


def number(
    owner: object,
    name: str,
    value: Any,
    expected: str = "a finite number",
    holds: Callable[[Any], bool] = lambda _: True,
) -> Any:
    """`value`, if it is a finite number for which the condition holds.

    Raises:
        SettingError: it is not; the message says what `owner` expects, in the words of `expected`.
    """
    plain = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if plain and math.isfinite(value) and holds(value):
        return value
    raise SettingError(f"{_called(owner)} expects {name} to be {expected}; got {value!r}")


def flag(owner: object, name: str, value: Any) -> bool:
    """`value` as a bool, if it is one.

    Raises:
        SettingError: it is not.
    """
    if isinstance(value, (bool, np.bool)):
        return bool(value)
    raise SettingError(f"{_called(owner)} expects {name} to be True or False; got {value!r}")


def real(owner: object, name: str, value: Any) -> float:
    """`value` as a float, if it is a finite number. Raises as `number`."""
    return float(number(owner, name, value))


def above_zero(owner: object, name: str, value: Any) -> float:
    """`value` as a float, if it is a finite number above 0. Raises as `number`."""
    return float(number(owner, name, value, "a finite number above 0", lambda v: v > 0))


def not_below_zero(owner: object, name: str, value: Any) -> float:
    """`value` as a float, if it is a finite number of at least 0. Raises as `number`."""
    return float(number(owner, name, value, "a finite number not below 0", lambda v: v >= 0))


def natural(owner: object, name: str, value: Any, least: int = 1) -> int:
    """`value`, if it is an integer not below `least`. Raises as `number`."""
    expected = "a positive integer" if least == 1 else f"an integer not below {least}"
    return int(number(owner, name, value, expected, lambda n: isinstance(n, (int, np.integer)) and bool(n >= least)))


def integer(owner: object, name: str, value: Any) -> int:
    """`value` as an int, if it is an integer. Raises as `number`."""
    return int(number(owner, name, value, "an integer", lambda n: isinstance(n, (int, np.integer))))


def floating(owner: object, dtype: Any) -> np.dtype[Any]:
    """The floating dtype that `dtype` stands for.

    Raises:
        SettingError: it stands for none.
    """
    found = dtype_of(dtype)
    if found is None or found.kind != "f":
        raise SettingError(f"{_called(owner)} expects dtype to be floating; got {found or repr(dtype)}")
    return found


def _called(owner: object) -> str:
    return owner if isinstance(owner, str) else type(owner).__name__
