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
from types import FunctionType
from typing import Any, TypeAlias, overload

import numpy as np

from tinygrad_bn import residuals
from tinygrad_bn.errors import DtypeError, SettingError, ShapeError
from tinygrad_bn.functions import NUMBERS, P
from tinygrad_bn.functions import Function as Function
from tinygrad_bn.functions import Traced as Traced
from tinygrad_bn.mode import current
from tinygrad_bn.names import TAKES_ANY_NAME, TAKES_ANY_NUMBER

Array: TypeAlias = Any
"""An ndarray or a Tensor: forwards and rules are one text for both."""

Rule: TypeAlias = Callable[..., Any]
_ndarray = np.ndarray
_NUMBER = np.dtype(np.float64)  # what has no dtype of its own


class Primitive(Function[P]):
    """A function with its own derivative rules. Called on arrays it is a plain NumPy function.

    Attributes:
        rules: one per array, or None where there is no derivative.
        differentiable: whether any of its arrays has a derivative.
        keeps_logits: its results remember what went in, for the losses.
        random: every call draws anew.
    """

    rules: Iterable[Rule | None]

    def __init__(
        self,
        forward: Callable[P, Any],
        *,
        keeps_logits: bool = False,
        random: bool = False,
        **record: Any,
    ) -> None:
        super().__init__(forward, **record)
        self.keeps_logits, self.random = keeps_logits, random
        self.differentiable = True
        self.rules = _MissingRules(self.__name__)

    def __call__(self, *args: P.args, **params: P.kwargs) -> Any:
        arrays: tuple[Any, ...] = args
        settings: Mapping[str, Any] = self.defaults
        if params or self.lacking or len(args) != self.arity:
            arrays, settings = self.parted(args, params)
        listed = False
        for array in arrays:
            if type(array) is not _ndarray:
                if isinstance(array, Traced):
                    return array.bind(self, arrays, settings)
                if hasattr(array, "mask"):
                    raise DtypeError(f"{self.__name__} expects arrays without a mask: give x.filled(...) instead")
                listed = listed or isinstance(array, (list, tuple))
        if self.random and (recorder := current().recorder) is not None:
            return recorder.draw(self, settings)
        return self.evaluate(self.arrayed(arrays) if listed else arrays, settings)

    def of(self, x: Array) -> Any:
        """The same of x alone, by the shortest way: for forwards and rules, which know what they give."""
        return self(x) if isinstance(x, Traced) else self.forward(x)  # type: ignore[call-arg, arg-type]

    def evaluate(self, arrays: Sequence[Any], settings: Mapping[str, Any]) -> Any:
        """The forward on plain arrays; the result is an ndarray, of 0 dimensions too.

        Raises:
            ShapeError, AxisError, IndexError, DtypeError: in our words instead of NumPy's.
        """
        try:
            result = self.forward(*arrays, **settings) if settings else self.forward(*arrays)
        except (ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
            if not isinstance(error, OverflowError) and any(type(array) is not _ndarray for array in arrays):
                return self.evaluate(self.arrayed(arrays), settings)  # a forward may ask a number for its shape
            if isinstance(error, AttributeError):
                raise
            raise self.explain(error, arrays, settings) from None
        if residuals.KEPT:
            residuals.forget(result)
        array = result if type(result) is _ndarray else self.as_array(result)
        if array.dtype.kind not in NUMBERS:  # NumPy chooses between strings, too, or joins them
            raise self.explain(TypeError(), arrays, settings)
        return array

    def as_array(self, result: Any) -> Any:
        """What the forward gave, as an ndarray.

        Raises:
            DtypeError: it is not one array of numbers.
        """
        if not isinstance(result, (np.ndarray, np.generic, int, float)):
            came = f"{len(result)} results" if isinstance(result, (tuple, list)) else f"{result!r:.60}"
            raise DtypeError(f"{self.__name__} has to return one array; got {came}")
        return np.asarray(result)

    def explain(self, error: Exception, arrays: Sequence[Any], settings: Mapping[str, Any]) -> Exception:
        """What was expected and what came, in place of NumPy's sentence."""
        said = isinstance(error, (ShapeError, DtypeError, SettingError))
        numbers = all(getattr(array, "dtype", _NUMBER).kind in NUMBERS for array in arrays)
        theirs = not self.__module__.startswith("tinygrad_bn.") and "broadcast" not in str(error) and numbers
        return error if said or theirs else super().explain(error, arrays, settings)  # a user's own words are better

    def defvjp(self, *rules: Rule | None) -> None:
        """Give the derivative: one rule `(g, y, *arrays, **settings)` per array, or None where there is none.

        `g` is the cotangent of the result `y`. The engine sums a rule's value over broadcast axes and casts it.

        Raises:
            TypeError: there are not as many rules as arrays, or any number of arrays; or a rule is no function.
        """
        for rule in rules:
            if rule is not None and not callable(rule):
                raise TypeError(f"{self.__name__}.defvjp expects functions, or None for no derivative; got {rule!r}")
        if self.arity is None or len(rules) != self.arity:
            takes = "an unknown number of arrays: use defvjp_each" if self.arity is None else f"{self.arity} arrays"
            raise TypeError(f"{self.__name__} takes {takes}; got {len(rules)} rules")
        for rule in rules:
            self._expect_rule(rule, "g", "y", *(self.arrays or ()))
        self.rules, self.differentiable = rules, any(rules)

    def defvjp_each(self, rule: Callable[..., Any]) -> None:
        """Give the derivative of a function of any number of arrays: `rule(i, g, y, *arrays, **settings)`."""
        self._expect_rule(rule, "i", "g", "y")
        self.rules, self.differentiable = _EachRule(rule), True

    def _expect_rule(self, rule: Rule | None, *leading: str) -> None:
        """A rule that cannot take what it will be called with is answered now, not in the first backward pass."""
        if not isinstance(rule, FunctionType):
            return  # None, or what does not say what it takes
        code = rule.__code__
        known = code.co_varnames[code.co_posonlyargcount : code.co_argcount + code.co_kwonlyargcount]
        lacks = [name for name in self.settings if name not in known and not code.co_flags & TAKES_ANY_NAME]
        if lacks or (code.co_argcount < len(leading) and not code.co_flags & TAKES_ANY_NUMBER):
            arrays = ["*arrays"] if self.arity is None else []
            wanted = ", ".join([*leading, *arrays, *(f"{name}={name}" for name in self.settings)])
            takes = ", ".join(known) or "nothing"
            raise TypeError(f"{self.__name__} calls its rules as rule({wanted}); {rule.__name__} takes {takes}")


class Derived(Function[P]):
    """A composite of primitives: it needs no rule, only a name among the checked functions."""

    def __call__(self, *args: P.args, **params: P.kwargs) -> Any:
        arrays: tuple[Any, ...] = args
        settings: Mapping[str, Any] = self.defaults
        if params or self.lacking or len(args) != self.arity:
            arrays, settings = self.parted(args, params)
        if not all(isinstance(array, (_ndarray, Traced)) for array in arrays):
            arrays = self.arrayed(arrays)  # a composite may ask a number for its shape, or give it on by itself
        try:
            result = self.forward(*arrays, **settings)
        except (ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
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
