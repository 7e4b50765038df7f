"""What every named function has, whether it has rules of its own or not: its settings, its record, its errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, repeat
from string import Formatter
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec

import numpy as np

from tinygrad_bn import names
from tinygrad_bn.domains import Case, Domain, real
from tinygrad_bn.errors import AxisError, DtypeError, SettingError, ShapeError

if TYPE_CHECKING:
    from tinygrad_bn.primitives import Primitive

P = ParamSpec("P")
_PLAIN = frozenset({int, float, bool, str, tuple, type(None)})
NUMBERS = "fiubc"
"""The kinds of the dtypes that a function takes."""


class Traced:
    """Base of the values a primitive hands itself over to, instead of computing: see `Tensor`."""

    __slots__ = ()

    @staticmethod
    def bind(primitive: Primitive[Any], args: tuple[Any, ...], params: Mapping[str, Any]) -> Any:
        """Apply `primitive` to `args`, of which one is such a value."""
        raise NotImplementedError


class Function(Generic[P]):
    """A named function among the checked ones, with all that its readers need to know.

    Attributes:
        label: what a drawn node says; `{setting}` is filled in. Plain ASCII.
        aliases: other names that settings go by, and theirs.
        arrays: the names of the arrays it takes; None for any number.
        arity: how many that are.
        defaults: the settings that have a default.
        domain: where it is smooth, one `Domain` per array; the last one repeats.
        cases: the shapes and settings worth checking.
        reference: the same function by another route, on float64 arrays, or None.
        expects: what the arguments must be like, in words, for error messages.
    """

    registry: ClassVar[list[Function[Any]]] = []

    def __init__(
        self,
        forward: Callable[P, Any],
        *,
        name: str | None = None,
        module: str | None = None,
        doc: str | None = None,
        label: str | None = None,
        aliases: Mapping[str, str] = MappingProxyType({}),
        domain: Sequence[Domain] = (real,),
        cases: Sequence[Case] = (),
        reference: Callable[..., Any] | None = None,
        expects: str = "shapes that broadcast together",
    ) -> None:
        if not isinstance(forward, (FunctionType, np.ufunc)):  # others do not say what they take
            raise TypeError(f"a primitive is made of a function written in Python, or a NumPy ufunc; got {forward!r}")
        self.forward = forward
        self.__wrapped__ = forward
        self.__name__ = self.__qualname__ = name or forward.__name__
        home: str = getattr(forward, "__module__", "numpy") or "__main__"  # NumPy 2.0 does not say it of its ufuncs
        self.__module__ = module or home
        self.__doc__ = doc or forward.__doc__
        self.label = label or self.__name__
        self.arrays, self.settings, self.defaults = _signature(forward)
        self.arity = None if self.arrays is None else len(self.arrays)
        self.known, self.aliases = frozenset(self.settings), aliases
        self._expect_settings_in_the_label()
        self.lacking = len(self.defaults) < len(self.settings)  # it cannot be called without settings
        self.domain, self.cases = tuple(domain) or (real,), tuple(cases) or (Case(),)
        self.reference, self.expects = reference, expects
        self.registry.append(self)

    def _expect_settings_in_the_label(self) -> None:
        try:
            named = [re.split(r"[.\[]", name)[0] for _, name, _, _ in Formatter().parse(self.label) if name is not None]
        except ValueError as error:
            raise SettingError(f"the label {self.label!r} of {self.__name__} is no format: {error}") from None
        for name in named:
            names.expect("setting", name, self.known, f"the label {self.label!r} of {self.__name__}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} {self.__name__}>"

    def __reduce__(self) -> str:
        return self.__name__  # pickled and copied as the global that it is

    def __call__(self, *args: P.args, **params: P.kwargs) -> Any:
        raise NotImplementedError

    def parted(self, args: tuple[Any, ...], params: Mapping[str, Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """As `sort_out`, at once where every setting is given by its name and is of a plain type."""
        if len(args) == self.arity and params.keys() == self.known:
            for value in params.values():  # a loop: a generator would cost three times as much
                if type(value) not in _PLAIN:
                    break
            else:
                return args, params
        return self.sort_out(args, params)

    def sort_out(self, args: tuple[Any, ...], params: Mapping[str, Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """Part the arrays from the settings, which may be given by position as NumPy's users do; fill in defaults.

        Raises:
            TypeError: too few or too many arguments, or an unknown setting; the message names the right ones.
        """
        given = args
        if self.arity is None:
            if args and isinstance(args[0], (list, tuple)):
                args, positional = tuple(args[0]), args[1:]
            else:
                positional = ()
        else:
            args, positional = args[: self.arity], args[self.arity :]
            if len(args) < self.arity:
                came = f"{len(args)} by position{self._hint(params)}"
                raise TypeError(f"{self.__name__} expects {self._usage()}; got {came}")
        if len(positional) > len(self.settings):
            raise TypeError(
                f"{self.__name__} expects {self._usage()}; got {len(args) + len(positional)} positional arguments"
            )
        if not positional and not params:
            filled: dict[str, Any] = self.defaults
        else:
            filled = {**self.defaults, **dict(zip(self.settings, positional, strict=False)), **params}
        if len(filled) != len(self.settings) or filled.keys() != self.known:
            wrong = [name for name in params if name not in self.known]
            renamed = {self.aliases.get(name, name): value for name, value in params.items()}
            if renamed.keys() != params.keys() and len(renamed) == len(params):
                return self.sort_out(given, renamed)
            if wrong:
                raise TypeError(names.unknown("argument", wrong[0], self.settings, f"{self.__name__}()"))
            missing = [name for name in self.settings if name not in filled]
            raise TypeError(f"{self.__name__} expects {self._usage()}; {', '.join(missing)} is missing")
        for name, value in filled.items():
            if isinstance(value, Traced):
                raise TypeError(f"{self.__name__} expects {name} to be a fixed setting; got a {type(value).__name__}")
            if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
                filled = {**filled, name: value.item()}  # as weak as Python's: it promotes no array
        return args, filled

    def arrayed(self, args: Sequence[Any]) -> tuple[Any, ...]:
        """See the function `arrayed`."""
        return arrayed(self.__name__, args, self.domain)

    def explain(self, error: Exception, arrays: Sequence[Any], settings: Mapping[str, Any]) -> Exception:
        """What was expected and what came, in place of NumPy's sentence."""
        came = " and ".join(map(_describe, arrays)) or "no arrays"
        came += "".join(f", {name}={value!r:.80}" for name, value in settings.items())
        if isinstance(error, np.exceptions.AxisError | AxisError) or _misnamed(settings.get("axis"), arrays, error):
            return AxisError(f"{self.__name__} expects axes that the array has, each once; got {came}")
        if isinstance(error, OverflowError):
            return DtypeError(f"{self.__name__} expects numbers that the dtype of its arrays can hold; got {came}")
        if isinstance(error, TypeError):
            return DtypeError(
                f"{self.__name__} expects numeric arrays that it can combine, and settings of their types; got {came}"
            )
        kind = IndexError if isinstance(error, IndexError) else ShapeError
        return kind(f"{self.__name__} expects {self.expects}; got {came}")

    def _usage(self) -> str:
        arrays = "any number of arrays" if self.arity is None else f"{self.arity} array{'s' * (self.arity != 1)}"
        return f"{arrays} and the settings {', '.join(self.settings)}" if self.settings else arrays

    def _hint(self, params: Mapping[str, Any]) -> str:
        """What to do where an array was given by its name."""
        name = next((name for name in self.arrays or () if name in params), None)
        definition = f"in a definition, (*, {name}) makes it a setting"
        return "" if name is None else f" and {name} by name: arrays go by position; {definition}"


def arrayed(name: str, args: Sequence[Any], domain: Sequence[Domain] = (real,)) -> tuple[Any, ...]:
    """The arguments of `name` with ndarrays in the places of all but Tensors.

    A bare number is weak, as in NumPy's operators: beside arrays it takes their dtype. Beside Tensors NumPy's numbers
    are as weak, and lists of numbers. But where the `domain` is of labels, indices or truths they stay what they are.

    Raises:
        DtypeError: no numbers, or too large ones, or a list of Tensors, whose gradients would be lost.
        ShapeError: nested lists of unequal lengths.
    """
    for arg in args:
        if isinstance(arg, (list, tuple)) and any(isinstance(part, Traced) for part in arg):
            raise DtypeError(f"{name} expects arrays; got a list of Tensors: join them with tg.stack")
    dtypes = [arg.dtype for arg in args if isinstance(arg, (np.ndarray, Traced))]  # type: ignore[union-attr]
    beside_tensors = any(isinstance(arg, Traced) for arg in args)
    beside_floats = any(dtype.kind == "f" for dtype in dtypes)

    def made(arg: Any, domain: Domain) -> Any:
        if isinstance(arg, Traced):
            return arg
        if type(arg) is int and not -(2**63) <= arg < 2**64:
            arg = float(arg)  # there is no such integer in NumPy
        array, first = np.asarray(arg), _first(arg) if beside_tensors else arg
        is_weak = type(first) in (bool, int, float) or (beside_tensors and isinstance(first, np.number))
        is_weak = is_weak and domain.differentiable and array.dtype.kind in "biuf"
        if is_weak and (beside_floats or (dtypes and first is arg)):
            return np.asarray(arg, np.result_type(*dtypes, array.flat[0].item()))
        return array.astype(np.float32) if beside_tensors and type(first) is float else array

    def came() -> str:
        return " and ".join(map(_describe, args))

    try:
        arrays: tuple[Any, ...] = tuple(map(made, args, chain(domain, repeat(domain[-1]))))
    except OverflowError:
        raise DtypeError(f"{name} expects numbers that the dtype of its arrays can hold; got {came()}") from None
    except ValueError:
        raise ShapeError(f"{name} expects nested lists of equal lengths; got {came()}") from None
    except TypeError:
        raise DtypeError(f"{name} expects numbers; got {came()}") from None
    for arg, array in zip(args, arrays, strict=True):
        if array.dtype.kind not in NUMBERS and not isinstance(arg, np.ndarray):
            raise DtypeError(f"{name} expects numbers; got {arg!r:.80} of type {type(arg).__name__}")
    return arrays


def _signature(forward: Any) -> tuple[tuple[str, ...] | None, tuple[str, ...], dict[str, Any]]:
    """The names of the arrays, None where there may be any number, of the settings, and the settings' defaults."""
    if isinstance(forward, np.ufunc):
        return ("x", "y", "z")[: forward.nin], (), {}
    code = forward.__code__
    variables = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    arity = code.co_posonlyargcount or code.co_argcount
    settings = variables[arity:]
    positional = dict(zip(reversed(variables[: code.co_argcount]), reversed(forward.__defaults__ or ()), strict=False))
    defaults = {**positional, **(forward.__kwdefaults__ or {})}
    ordered = {name: defaults[name] for name in settings if name in defaults}
    return None if code.co_flags & names.TAKES_ANY_NUMBER else variables[:arity], settings, ordered


def _describe(array: Any) -> str:
    if isinstance(array, (np.ndarray, Traced)):
        return f"{array.dtype} of shape {array.shape}"  # type: ignore[union-attr]
    return f"{array!r:.80}"


def _misnamed(axis: Any, arrays: Sequence[Any], error: Exception) -> bool:
    """Whether an axis was named twice, or is not there, which NumPy may report as a wrong value or index."""
    n = getattr(arrays[0], "ndim", 0) if arrays else 0
    if isinstance(axis, tuple):
        return n > 0 and len({a % n for a in axis}) < len(axis)
    return isinstance(error, (IndexError, OverflowError)) and isinstance(axis, int) and not -n <= axis < n


def _first(nested: Any) -> Any:
    while isinstance(nested, (list, tuple, range)) and nested:
        nested = nested[0]
    return nested
