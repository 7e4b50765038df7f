"""The dialect: what a NumPy call is in C, element by element, and which calls are sums, products or views.

One table a kind; what is in none of them is `Inexpressible`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_bn.capturing.flow import Constant, Step, Value


class Inexpressible(Exception):
    """A call that the C text cannot say."""


C_TYPES = {
    "f4": "float",
    "f8": "double",
    "b1": "uint8_t",
    "i1": "int8_t",
    "i2": "int16_t",
    "i4": "int32_t",
    "i8": "int64_t",
    "u1": "uint8_t",
    "u2": "uint16_t",
    "u4": "uint32_t",
    "u8": "uint64_t",
}


def c_type(dtype: np.dtype[Any]) -> str:
    """The C type of elements of `dtype`."""
    if not dtype.isnative or dtype.str[1:] not in C_TYPES:
        raise Inexpressible(f"numbers of dtype {dtype}")
    return C_TYPES[dtype.str[1:]]


def literal(number: Any, dtype: np.dtype[Any]) -> str:
    """A number as a C constant of `dtype`: in decimal digits that give back the very same bits."""
    if dtype.kind == "b":
        return str(int(bool(number)))
    if dtype.kind in "iu":
        value = int(number)
        if value == -(2**63):
            return "INT64_MIN"
        return str(value) if abs(value) < 2**31 else f"{value}{'u' * (value > 0)}ll"
    exact = dtype.type(number)
    if not math.isfinite(exact):
        return "NAN" if math.isnan(exact) else "INFINITY" if exact > 0 else "-INFINITY"
    digits = str(exact)
    return digits + ".0" * (not set(digits) & set(".e")) + "f" * (dtype.itemsize == 4)


class Text:
    """A C expression, and how tightly its outermost operator binds."""

    __slots__ = ("binding", "said")

    def __init__(self, said: str, binding: int = 9) -> None:
        self.said, self.binding = said, binding

    def within(self, binding: int) -> str:
        """The expression as an operand that has to bind at least so tightly."""
        return self.said if self.binding >= binding else f"({self.said})"


def cast(text: Text, source: np.dtype[Any], target: np.dtype[Any]) -> Text:
    """The expression of one dtype as a number of another, as NumPy casts."""
    if source == target:
        return text
    if target.kind == "b":
        return Text(f"{text.within(5)} != 0", 4)
    return Text(f"({c_type(target)}){text.within(8)}", 8)


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


def formula(step: Step) -> Formula | None:
    """The step as an elementwise formula, or None if it is of another kind."""
    function, args = step.function, step.args
    if isinstance(function, np.ufunc):
        if function.signature is not None:
            return None
        if step.options or len(args) != function.nin or function.nout != 1:
            raise Inexpressible(f"{function.__name__} with options")
        return _of_ufunc(function, args)
    if function is pow and len(args) == 2:
        return _of_power(*args)
    kind = step.result.dtype
    if function == np.where and len(args) == 3 and not step.options:
        return Formula(args, [np.dtype(bool), kind, kind], _choice)
    if function in (np.ndarray.astype, np.ndarray.copy, np.copy, np.ascontiguousarray, np.ndarray.__array__):
        return Formula(args[:1], [kind], _same)
    if function == np.nan_to_num and len(args) == 1 and step.options.keys() <= {"nan"}:
        return _of_nan_to_num(args[0], step.options.get("nan", 0.0))
    return None


def _of_ufunc(function: np.ufunc, args: Sequence[Any]) -> Formula:
    try:
        types = list(function.resolve_dtypes((*map(_kind, args), None))[:-1])
    except TypeError as error:
        raise Inexpressible(f"{function.__name__} of {list(map(_kind, args))}") from error
    if all(kind.kind == "b" for kind in types) and function in _OF_TRUTHS:
        function = _OF_TRUTHS[function]
    if function in _LOGICAL:
        types = [np.dtype(bool)] * len(types)
    if function in _INFIX:
        sign, binding = _INFIX[function]
        return Formula(args, types, _infix(sign, binding), 8 if sign == "/" else 1)
    if function in _PATTERNS:
        pattern, binding = _PATTERNS[function]
        return Formula(
            args, types, lambda said: Text(pattern.format(*(text.within(binding) for text in said)), binding)
        )
    if function in _FUNCTIONS and types[0].kind == "f":
        name, cost = _FUNCTIONS[function]
        return Formula(args, types, _call(f"{name}_{c_type(types[0])}"), cost)
    if function in _OF_INTEGERS and types[0].kind in "iu":
        return Formula(args, types, _OF_INTEGERS[function])
    raise Inexpressible(f"{function.__name__} of {[str(kind) for kind in types]}")


def _kind(arg: Any) -> Any:
    """What decides the dtype of a ufunc: an array's dtype, or that somebody wrote a plain number."""
    if isinstance(arg, (Value, np.generic, np.ndarray)):
        return arg.dtype
    return np.dtype(bool) if isinstance(arg, bool) else type(arg)


def _infix(sign: str, binding: int) -> Callable[[Sequence[Text]], Text]:
    return lambda said: Text(f"{said[0].within(binding)} {sign} {said[1].within(binding + 1)}", binding)


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
    np.maximum: lambda said: Text(f"{said[0].within(6)} > {said[1].within(6)} ? {said[0].said} : {said[1].said}", 1),
    np.minimum: lambda said: Text(f"{said[0].within(6)} < {said[1].within(6)} ? {said[0].said} : {said[1].said}", 1),
    np.square: lambda said: Text(f"{said[0].within(7)} * {said[0].within(8)}", 7),
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
        if uniform(x) == 1 and x.sample.ndim == 1 and y.sample.ndim == 2:
            return Reduction(np.add, y, frozenset({0}))
        if uniform(y) == 1 and y.sample.ndim == 1 and x.sample.ndim == 2:
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
