"""A primitive is written once: a pure NumPy function, and one rule per array argument.

    @primitive
    def cube(x, *, scale=1.0):
        return scale * x * x * x
    cube.defvjp(lambda g, y, x, *, scale: g * (3 * scale) * square(x))

Eager execution, gradients of any order, capture, drawing, checks and the documentation all read this record.
What varies from call to call is positional (the arrays); what is fixed is keyword (the settings). In a
signature the arrays are the parameters before `/`, or, where there is no `/`, those before `*`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any, ClassVar, Generic, ParamSpec, TypeAlias, overload

import numpy as np

from tinygrad_bn import names
from tinygrad_bn.domains import Case, Domain, real
from tinygrad_bn.errors import AxisError, DtypeError, SettingError, ShapeError

Array: TypeAlias = Any
"""An ndarray or a Tensor: forwards and rules are one text for both."""

Rule: TypeAlias = Callable[..., Any]
P = ParamSpec("P")
_ndarray = np.ndarray
_PLAIN = frozenset({int, float, bool, str, tuple, type(None)})
_VARIADIC = 0x04  # the code flag of a function with *args


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
        arity: how many arrays it takes; None for any number.
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
        domain: Sequence[Domain] = (real,),
        cases: Sequence[Case] = (),
        reference: Callable[..., Any] | None = None,
        expects: str = "shapes that broadcast together",
    ) -> None:
        self.forward = forward
        self.__wrapped__ = forward
        self.__name__ = self.__qualname__ = name or forward.__name__
        home: str = getattr(forward, "__module__", "numpy")  # NumPy 2.0 does not say it of its ufuncs
        self.__module__ = module or home
        self.__doc__ = doc or forward.__doc__
        self.label = label or self.__name__
        self.arity, self.settings, self.defaults = _signature(forward)
        self.known = frozenset(self.settings)
        self.lacking = len(self.defaults) < len(self.settings)  # it cannot be called without settings
        self.domain, self.cases = tuple(domain), tuple(cases) or (Case(),)
        self.reference, self.expects = reference, expects
        self.registry.append(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} {self.__name__}>"

    def __reduce__(self) -> str:
        return self.__name__  # pickled and copied as the global that it is

    def __call__(self, *args: P.args, **params: P.kwargs) -> Any:
        raise NotImplementedError

    def sort_out(self, args: tuple[Any, ...], params: Mapping[str, Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """Part the arrays from the settings, which may be given by position as NumPy's users do; fill in defaults.

        Raises:
            TypeError: too few or too many arguments, or an unknown setting; the message names the right ones.
        """
        if self.arity is None:
            if args and isinstance(args[0], (list, tuple)):
                args, positional = tuple(args[0]), args[1:]
            else:
                positional = ()
        else:
            args, positional = args[: self.arity], args[self.arity :]
            if len(args) < self.arity:
                raise TypeError(f"{self.__name__} expects {self._usage()}; got {len(args)} by position")
        if len(positional) > len(self.settings):
            raise TypeError(
                f"{self.__name__} expects {self._usage()}; got {len(args) + len(positional)} positional arguments"
            )
        if not positional and not params:
            filled: dict[str, Any] = self.defaults
        else:
            filled = {**self.defaults, **dict(zip(self.settings, positional, strict=False)), **params}
        if len(filled) != len(self.settings) or filled.keys() != self.known:
            wrong = [name for name in params if name not in self.settings]
            if wrong:
                raise TypeError(names.unknown("argument", wrong[0], self.settings, f"{self.__name__}()"))
            missing = [name for name in self.settings if name not in filled]
            raise TypeError(f"{self.__name__} expects {self._usage()}; {', '.join(missing)} is missing")
        for name, value in filled.items():
            if isinstance(value, Traced):
                raise TypeError(f"{self.__name__} expects {name} to be a fixed setting; got a {type(value).__name__}")
            if isinstance(value, np.generic) or (isinstance(value, _ndarray) and value.ndim == 0):
                filled = {**filled, name: value.item()}  # as weak as Python's: it promotes no array
        return args, filled

    def arrayed(self, args: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments with ndarrays in the places of lists and numbers.

        Raises:
            DtypeError: a list of Tensors, whose gradients would be lost.
            ShapeError: nested lists of unequal lengths.
        """
        for arg in args:
            if isinstance(arg, (list, tuple)) and any(isinstance(part, Traced) for part in arg):
                raise DtypeError(f"{self.__name__} expects arrays; got a list of Tensors: join them with stack")
        weak = np.float32 if any(isinstance(arg, Traced) for arg in args) else None  # Python's floats beside a Tensor
        try:
            arrays: tuple[Any, ...] = tuple(
                arg if isinstance(arg, Traced) else np.asarray(arg, weak if type(_first(arg)) is float else None)
                for arg in args
            )
        except ValueError:
            raise ShapeError(f"{self.__name__} expects nested lists of equal lengths; got {args!r:.80}") from None
        for arg, array in zip(args, arrays, strict=True):
            if array.dtype == object:
                raise DtypeError(f"{self.__name__} expects numbers; got {arg!r:.80} of type {type(arg).__name__}")
        return arrays

    def explain(self, error: Exception, arrays: Sequence[Any], settings: Mapping[str, Any]) -> Exception:
        """What was expected and what came, in place of NumPy's sentence."""
        came = " and ".join(map(_describe, arrays)) or "no arrays"
        came += "".join(f", {name}={value!r}" for name, value in settings.items())
        if isinstance(error, np.exceptions.AxisError | AxisError) or _misnamed(settings.get("axis"), arrays, error):
            return AxisError(f"{self.__name__} expects axes that the array has, each once; got {came}")
        if isinstance(error, TypeError):
            return DtypeError(
                f"{self.__name__} expects numeric arrays that it can combine, and settings of their types; got {came}"
            )
        kind = IndexError if isinstance(error, IndexError) else ShapeError
        return kind(f"{self.__name__} expects {self.expects}; got {came}")

    def _usage(self) -> str:
        arrays = "any number of arrays" if self.arity is None else f"{self.arity} array{'s' * (self.arity != 1)}"
        return f"{arrays} and the settings {', '.join(self.settings)}" if self.settings else arrays


class Primitive(Function[P]):
    """A function with its own derivative rules. Called on arrays it is a plain NumPy function.

    Attributes:
        rules: one per array, or None where there is no derivative.
        linear: its rules read shapes, and of indices the values, but no numbers: an update cannot make them wrong.
        keeps_logits: its results remember what went in, for the losses.
        random: every call draws anew.
    """

    rules: Iterable[Rule | None]

    def __init__(
        self,
        forward: Callable[P, Any],
        *,
        linear: bool = False,
        keeps_logits: bool = False,
        random: bool = False,
        **record: Any,
    ) -> None:
        super().__init__(forward, **record)
        self.linear, self.keeps_logits, self.random = linear, keeps_logits, random
        self.differentiable = True
        self.rules = _MissingRules(self.__name__)

    def __call__(self, *args: P.args, **params: P.kwargs) -> Any:
        arrays: tuple[Any, ...] = args
        settings: Mapping[str, Any] = self.defaults
        if params or self.lacking or len(args) != self.arity:
            arrays, settings = self._sorted(args, params)
        listed = False
        for array in arrays:
            if type(array) is not _ndarray:
                if isinstance(array, Traced):
                    return array.bind(self, arrays, settings)
                listed = listed or isinstance(array, (list, tuple))
        return self.evaluate(self.arrayed(arrays) if listed else arrays, settings)

    def _sorted(self, args: tuple[Any, ...], params: Mapping[str, Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """As `sort_out`, at once where every setting is given by its name and is of a plain type."""
        if len(args) == self.arity and params.keys() == self.known:
            for value in params.values():  # a loop: a generator would cost three times as much
                if type(value) not in _PLAIN:
                    break
            else:
                return args, params
        return self.sort_out(args, params)

    def evaluate(self, arrays: Sequence[Any], settings: Mapping[str, Any]) -> Any:
        """The forward on plain arrays; the result is an ndarray, of 0 dimensions too.

        Raises:
            ShapeError, AxisError, IndexError, DtypeError: in our words instead of NumPy's.
        """
        try:
            result = self.forward(*arrays, **settings)
        except (ValueError, TypeError, IndexError, AttributeError) as error:
            if any(type(array) is not _ndarray for array in arrays):
                return self.evaluate(self.arrayed(arrays), settings)  # a forward may ask a number for its shape
            if isinstance(error, AttributeError):
                raise
            raise self.explain(error, arrays, settings) from None
        return result if type(result) is _ndarray else np.asarray(result)

    def explain(self, error: Exception, arrays: Sequence[Any], settings: Mapping[str, Any]) -> Exception:
        """What was expected and what came, in place of NumPy's sentence."""
        ours = isinstance(error, (ShapeError, DtypeError, SettingError))
        return error if ours else super().explain(error, arrays, settings)

    def defvjp(self, *rules: Rule | None) -> None:
        """Give the derivative: one rule `(g, y, *arrays, **settings)` per array, or None where there is none.

        `g` is the cotangent of the result `y`. The engine sums a rule's value over broadcast axes and casts it.
        """
        if self.arity is None or len(rules) != self.arity:
            takes = "an unknown number of arrays: use defvjp_each" if self.arity is None else f"{self.arity} arrays"
            raise TypeError(f"{self.__name__} takes {takes}; got {len(rules)} rules")
        self.rules, self.differentiable = rules, any(rules)

    def defvjp_each(self, rule: Callable[..., Any]) -> None:
        """Give the derivative of a function of any number of arrays: `rule(i, g, y, *arrays, **settings)`."""
        self.rules = _EachRule(rule)


class Derived(Function[P]):
    """A composite of primitives: it needs no rule, only a name among the checked functions."""

    def __call__(self, *args: P.args, **params: P.kwargs) -> Any:
        arrays, settings = self.sort_out(args, params)
        if any(isinstance(array, (list, tuple)) for array in arrays):
            arrays = self.arrayed(arrays)
        try:
            result = self.forward(*arrays, **settings)
        except (ValueError, TypeError, IndexError, AttributeError) as error:
            if any(isinstance(array, (int, float)) for array in arrays):
                return self(*self.arrayed(arrays), **settings)
            if isinstance(error, (AttributeError, SettingError)):
                raise
            raise self.explain(error, arrays, settings) from None
        return np.asarray(result) if isinstance(result, np.generic) else result


class _EachRule:
    """The rules of a function of any number of arrays: as many as are asked for."""

    def __init__(self, rule: Callable[..., Any]) -> None:
        self._rule = rule

    def __iter__(self) -> Iterator[Rule]:
        return (partial(self._rule, position) for position in count())


class _MissingRules:
    """Stands where `defvjp` has not been called."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __iter__(self) -> Iterator[Rule]:
        raise NotImplementedError(
            f"{self._name} has no derivative yet: give one with {self._name}.defvjp(rule, ...), "
            f"or say {self._name}.defvjp(None) where there is none"
        )


@overload
def primitive(forward: Callable[P, Any], /) -> Primitive[P]: ...
@overload
def primitive(**record: Any) -> Callable[[Callable[P, Any]], Primitive[P]]: ...
def primitive(forward: Callable[P, Any] | None = None, /, **record: Any) -> Any:
    """Make a primitive of a pure NumPy function; `defvjp` then gives its rules. The record is `Function`'s."""
    return partial(Primitive, **record) if forward is None else Primitive(forward, **record)


@overload
def derived(forward: Callable[P, Any], /) -> Derived[P]: ...
@overload
def derived(**record: Any) -> Callable[[Callable[P, Any]], Derived[P]]: ...
def derived(forward: Callable[P, Any] | None = None, /, **record: Any) -> Any:
    """Name a composite of primitives among the checked functions. The record is `Function`'s."""
    return partial(Derived, **record) if forward is None else Derived(forward, **record)


def ufunc(function: np.ufunc, doc: str, *rules: Rule | None, **record: Any) -> Primitive[...]:
    """A primitive whose forward NumPy already has. `doc` is its formula."""
    home = sys._getframe(1).f_globals["__name__"]  # a NumPy ufunc belongs to the module that wraps it
    made: Primitive[...] = Primitive(function, doc=doc, module=home, **record)
    made.defvjp(*rules)
    return made


def _signature(forward: Callable[..., Any]) -> tuple[int | None, tuple[str, ...], dict[str, Any]]:
    """How many arrays, which settings, and the settings' defaults."""
    if isinstance(forward, np.ufunc):
        return forward.nin, (), {}
    code = forward.__code__
    variables = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    arity = code.co_posonlyargcount or code.co_argcount
    settings = variables[arity:]
    positional = dict(zip(reversed(variables[: code.co_argcount]), reversed(forward.__defaults__ or ()), strict=False))
    defaults = {**positional, **(forward.__kwdefaults__ or {})}
    ordered = {name: defaults[name] for name in settings if name in defaults}
    return None if code.co_flags & _VARIADIC else arity, settings, ordered


def _describe(array: Any) -> str:
    if isinstance(array, (np.ndarray, Traced)):
        return f"{array.dtype} of shape {array.shape}"  # type: ignore[union-attr]
    return repr(array)


def _misnamed(axis: Any, arrays: Sequence[Any], error: Exception) -> bool:
    """Whether an axis was named twice, or is not there, which NumPy may report as a wrong value or index."""
    n = getattr(arrays[0], "ndim", 0) if arrays else 0
    if isinstance(axis, tuple):
        return n > 0 and len({a % n for a in axis}) < len(axis)
    return isinstance(error, IndexError) and isinstance(axis, int) and not -n <= axis < n


def _first(nested: Any) -> Any:
    while isinstance(nested, (list, tuple)) and nested:
        nested = nested[0]
    return nested
