"""The dialect: what a NumPy call is in C, element by element, and which calls are sums, products or views.

One table a kind; what is in none of them is `Inexpressible`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_bn.capturing.flow import Constant, Step, Value
from tinygrad_bn.capturing.native.wording import Inexpressible as Inexpressible
from tinygrad_bn.capturing.native.wording import Text as Text
from tinygrad_bn.capturing.native.wording import c_type as c_type
from tinygrad_bn.capturing.native.wording import cast as cast
from tinygrad_bn.capturing.native.wording import literal as literal
from tinygrad_bn.ops import erf


class Formula:
    """An elementwise call.

    Attributes:
        operands: values and numbers.
        types: the dtype in which each of them enters.
        said: the C expression, from those of the operands.
        cost: roughly, in additions.
    """

    __slots__ = ("cost", "operands", "said", "types")

    def __init__(
        self,
        operands: Sequence[Any],
        types: Sequence[np.dtype[Any]],
        said: Callable[[Sequence[Text]], Text],
        cost: int = 1,
    ) -> None:
        self.operands, self.types, self.said, self.cost = list(operands), list(types), said, cost


class Gather:
    """A call gather(first, *places): the element that lies `strides` times the places behind the first, in memory."""

    __name__ = "gather"

    def __init__(self, strides: Sequence[int]) -> None:
        self.strides = tuple(strides)

    def said(self, said: Sequence[Text]) -> Text:
        """The C expression."""
        terms = [
            place.said if stride == 1 else f"{place.within(7)} * {stride}"
            for place, stride in zip(said[1:], self.strides, strict=True)
        ]
        first = said[0].said  # such as "*x" or "x[i]"
        if first.startswith("*"):
            return Text(f"{first[1:]}[{' + '.join(terms)}]")
        return Text(f"{first[:-1]} + {' + '.join(terms)}]")


def formula(step: Step) -> Formula | None:
    """The step as an elementwise formula, or None if it is of another kind."""
    function, args = step.function, step.args
    if isinstance(function, Gather):
        return Formula(args, [arg.dtype for arg in args], function.said, 6)
    if isinstance(function, np.ufunc):
        if function.signature is not None:
            return None
        if step.options or len(args) != function.nin or function.nout != 1:
            raise Inexpressible(f"{function.__name__} with options")
        return _of_ufunc(function, args)
    if function is pow and len(args) == 2:
        return _of_power(*args)
    kind = step.result.dtype
    if function is erf:
        return Formula(args, [kind], _call(f"erf_{c_type(kind)}"), 45)
    if function == np.where and len(args) == 3 and not step.options:
        return Formula(args, [np.dtype(bool), kind, kind], _choice)
    if function in (np.ndarray.astype, np.ndarray.copy, np.copy, np.ascontiguousarray, np.ndarray.__array__):
        return Formula(args[:1], [kind], _same)
    if function == np.nan_to_num and len(args) == 1 and step.options.keys() <= {"nan"}:
        return _of_nan_to_num(args[0], step.options.get("nan", 0.0))
    return None


def _of_ufunc(function: np.ufunc, args: Sequence[Any]) -> Formula:
    try:
        *types, result = function.resolve_dtypes((*map(_kind, args), None))
    except TypeError as error:
        raise Inexpressible(f"{function.__name__} of {list(map(_kind, args))}") from error
    if all(kind.kind == "b" for kind in types) and function in _OF_TRUTHS:
        function = _OF_TRUTHS[function]
    if function in _LOGICAL:
        types = [np.dtype(bool)] * len(types)
    if function in _INFIX:
        sign, binding = _INFIX[function]
        return Formula(args, types, _kept(_infix(sign, binding), result), 8 if sign == "/" else 1)
    if function in _PATTERNS and (types[0].kind in "fb" or function is not np.reciprocal):
        return Formula(args, types, _kept(_pattern(*_PATTERNS[function]), result))
    if function in _FUNCTIONS and types[0].kind == "f":
        name, cost = _FUNCTIONS[function]
        return Formula(args, types, _call(f"{name}_{c_type(types[0])}"), cost)
    if function in _OF_INTEGERS and types[0].kind in "iub":
        return Formula(args, types, _kept(_OF_INTEGERS[function], result))
    raise Inexpressible(f"{function.__name__} of {[str(kind) for kind in types]}")


def _kind(arg: Any) -> Any:
    """What decides the dtype of a ufunc: an array's dtype, or that somebody wrote a plain number."""
    if isinstance(arg, (Value, np.generic, np.ndarray)):
        return arg.dtype
    return np.dtype(bool) if isinstance(arg, bool) else type(arg)


def _infix(sign: str, binding: int) -> Callable[[Sequence[Text]], Text]:
    """Between bits, and where it is compared, an operand stands in parentheses: C's own order surprises people."""
    left, right = (binding, binding + 1) if binding > 5 else (6, 6)
    return lambda said: Text(f"{said[0].within(left)} {sign} {said[1].within(right)}", binding)


def _pattern(pattern: str, binding: int) -> Callable[[Sequence[Text]], Text]:
    return lambda said: Text(pattern.format(*(text.within(binding + 1) for text in said)), binding)


def _kept(said: Callable[[Sequence[Text]], Text], result: np.dtype[Any]) -> Callable[[Sequence[Text]], Text]:
    """The same, within the range of its dtype: C calculates with small integers as with int."""
    if result.kind not in "iu" or result.itemsize >= 4:
        return said
    return lambda operands: Text(f"({c_type(result)}){said(operands).within(8)}", 8)


def _call(name: str) -> Callable[[Sequence[Text]], Text]:
    return lambda said: Text(f"{name}({', '.join(text.said for text in said)})")


def _same(said: Sequence[Text]) -> Text:
    return said[0]


def _choice(said: Sequence[Text]) -> Text:
    return Text(f"{said[0].within(2)} ? {said[1].within(2)} : {said[2].within(1)}", 1)


def _of_power(x: Any, exponent: Any) -> Formula:
    """`x ** exponent`, for which NumPy has other functions where the exponent is a simple number."""
    simple = {2: np.square, 0.5: np.sqrt, 1: np.positive, -1: np.reciprocal}
    if isinstance(exponent, (int, float)) and exponent in simple and x.dtype.kind == "f":
        return _of_ufunc(simple[exponent], (x,))
    return _of_ufunc(np.power, (x, exponent))


def _of_nan_to_num(x: Value, nan: float) -> Formula:
    kind = x.dtype
    if kind.kind != "f":
        return Formula([x], [kind], _same)
    largest = literal(np.finfo(kind).max, kind)
    name = f"finite_{c_type(kind)}"
    return Formula([x], [kind], lambda said: Text(f"{name}({said[0].said}, {largest}, {literal(nan, kind)})"), 3)


_INFIX = {
    np.add: ("+", 6),
    np.subtract: ("-", 6),
    np.multiply: ("*", 7),
    np.divide: ("/", 7),
    np.greater: (">", 5),
    np.greater_equal: (">=", 5),
    np.less: ("<", 5),
    np.less_equal: ("<=", 5),
    np.equal: ("==", 4),
    np.not_equal: ("!=", 4),
    np.bitwise_and: ("&", 3),
    np.logical_and: ("&", 3),
    np.bitwise_xor: ("^", 2),
    np.logical_xor: ("^", 2),
    np.bitwise_or: ("|", 2),
    np.logical_or: ("|", 2),
}
_PATTERNS = {
    np.negative: ("-{0}", 8),
    np.positive: ("{0}", 8),
    np.logical_not: ("!{0}", 8),
    np.reciprocal: ("1 / {0}", 7),
}
_LOGICAL = {np.logical_and, np.logical_or, np.logical_xor, np.logical_not}
_OF_TRUTHS = {
    np.add: np.logical_or,
    np.maximum: np.logical_or,
    np.multiply: np.logical_and,
    np.minimum: np.logical_and,
    np.invert: np.logical_not,
}
"""What NumPy's arithmetic means between truth values."""

_FUNCTIONS = {
    np.exp: ("exp", 20),
    np.expm1: ("expm1", 20),
    np.log: ("log", 20),
    np.log1p: ("log1p", 25),
    np.tanh: ("tanh", 25),
    np.arctan: ("arctan", 25),
    np.sin: ("sin", 60),
    np.cos: ("cos", 60),
    np.tan: ("tan", 60),
    np.power: ("power", 60),
    np.sqrt: ("sqrt", 8),
    np.square: ("square", 1),
    np.absolute: ("fabs", 1),
    np.fabs: ("fabs", 1),
    np.maximum: ("maximum", 1),
    np.minimum: ("minimum", 1),
    np.sign: ("sign", 2),
    np.floor: ("floor", 1),
    np.ceil: ("ceil", 1),
    np.rint: ("rint", 1),
    np.isnan: ("isnan", 1),
    np.isinf: ("isinf", 1),
    np.isfinite: ("isfinite", 1),
    np.remainder: ("remainder", 60),
    np.floor_divide: ("floor_divide", 60),
}
_OF_INTEGERS: dict[np.ufunc, Callable[[Sequence[Text]], Text]] = {
    np.maximum: lambda said: Text(
        f"{said[0].within(6)} > {said[1].within(6)} ? {said[0].within(2)} : {said[1].within(2)}", 1
    ),
    np.minimum: lambda said: Text(
        f"{said[0].within(6)} < {said[1].within(6)} ? {said[0].within(2)} : {said[1].within(2)}", 1
    ),
    np.square: lambda said: Text(f"{said[0].within(7)} * {said[0].within(8)}", 7),
    np.absolute: lambda said: Text(f"{said[0].within(6)} > 0 ? {said[0].within(2)} : -{said[0].within(9)}", 1),
    np.floor: _same,
    np.ceil: _same,
    np.isnan: lambda said: Text("0"),
    np.isinf: lambda said: Text("0"),
    np.isfinite: lambda said: Text("1"),
    np.sign: lambda said: Text(f"({said[0].within(6)} > 0) - ({said[0].within(6)} < 0)", 6),
}

REDUCTIONS: dict[np.ufunc, str] = {
    np.add: "sum",
    np.multiply: "product",
    np.maximum: "maximum",
    np.minimum: "minimum",
    np.logical_and: "all",
    np.logical_or: "any",
}


class Reduction:
    """A call that gathers `operand` over `axes`, by the ufunc `kind`."""

    __slots__ = ("axes", "kind", "operand")

    def __init__(self, kind: np.ufunc, operand: Value, axes: frozenset[int]) -> None:
        self.kind, self.operand, self.axes = kind, operand, axes


def reduction(step: Step) -> Reduction | None:
    """The step as a reduction, or None. A product with ones is a sum."""
    function, args = step.function, step.args
    ufunc = getattr(function, "__self__", None)
    if isinstance(ufunc, np.ufunc) and function.__name__ == "reduce":
        extra = {name for name, option in step.options.items() if option is not None} - {"axis", "keepdims"}
        if ufunc not in REDUCTIONS or len(args) > 2 or extra:
            raise Inexpressible(f"{ufunc.__name__}.reduce with {sorted(extra) or 'these arguments'}")
        axis = args[1] if len(args) == 2 else step.options.get("axis", 0)
        return Reduction(ufunc, args[0], _positions(axis, args[0].sample.ndim))
    if function in PRODUCTS and len(args) == 2 and all(isinstance(arg, Value) for arg in args):
        x, y = args
        if uniform(x) == 1 and x.shape in ((x.sample.size,), (1, x.sample.size)) and y.sample.ndim == 2:
            return Reduction(np.add, y, frozenset({0}))
        if uniform(y) == 1 and y.shape in ((y.sample.size,), (y.sample.size, 1)) and x.sample.ndim == 2:
            return Reduction(np.add, x, frozenset({1}))
    return None


def _positions(axis: Any, ndim: int) -> frozenset[int]:
    if axis is None:
        return frozenset(range(ndim))
    return frozenset(a % ndim for a in (axis if isinstance(axis, tuple) else (axis,))) if ndim else frozenset()


PRODUCTS = (np.ndarray.dot, np.dot, np.matmul)


def uniform(value: Any) -> Any:
    """The one number that a constant is made of, or a number itself; None for all else."""
    if not isinstance(value, Value):
        return value if isinstance(value, (int, float, np.generic)) else None
    sample = value.sample
    if not isinstance(value.origin, Constant) or not sample.size:
        return None
    first = sample.flat[0]
    same = bool((sample == first).all())
    if same and sample.dtype.kind == "f":
        same = bool((np.signbit(sample) == np.signbit(first)).all())
    return first if same else None
