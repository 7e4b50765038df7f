"""Python's operators on Tensors: NumPy's meaning, in both orders, whatever stands on the other side."""

import operator
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.errors import AxisError, DtypeError, ShapeError

ARITHMETIC = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.floordiv,
    operator.mod,
    operator.pow,
    operator.matmul,
]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]
TENSORS = {
    "float16": np.array([1.5, 2.0, 3.0], np.float16),
    "float32": np.array([1.5, 2.0, 3.0], np.float32),
    "float64": np.array([1.5, 2.0, 3.0]),
    "int64": np.array([3, 2, 1]),
    "uint8": np.array([3, 2, 1], np.uint8),
    "bool": np.array([True, False, True]),
    "scalar": np.array(1.25, np.float32),
    "empty": np.zeros(0, np.float32),
}
OTHERS = {
    "float": 2.0,
    "int": 3,
    "bool": True,
    "float32 array": np.array([0.5, 1.5, 2.5], np.float32),
    "float64 array": np.array([[0.5], [1.5], [2.5]]),
    "int array": np.array([1, 2, 3]),
    "bool array": np.array([True, True, True]),
    "0-d array": np.array(2.0),
    "list of ints": [1, 2, 3],
    "tuple of bools": (True, True, True),
}


def numpys(function):
    """What NumPy means by an operator: of ** the ufunc, since the operator's short cuts differ between its versions."""
    return np.power if function is operator.pow else function


def outcome(function, *args):
    """The result as an array, or the kind of failure."""
    try:
        with np.errstate(all="ignore"):
            return np.asarray(function(*args))
    except (TypeError, ValueError) as error:
        return "type" if isinstance(error, TypeError) else "value"


def assert_same(ours, right, function):
    assert isinstance(ours, str) == isinstance(right, str), (function, ours, right)
    if not isinstance(right, str):
        np.testing.assert_array_equal(ours, right, err_msg=str(function))
        assert ours.dtype == right.dtype, (function, ours.dtype, right.dtype)


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("value", TENSORS.values(), ids=TENSORS)
def test_operators_agree_with_numpy_in_both_orders(value, other):
    is_weak = isinstance(other, (list, tuple)) and value.dtype.kind == "f"  # as bare numbers are
    theirs = np.asarray(other, value.dtype) if is_weak else other
    for function in (*ARITHMETIC, *COMPARISONS):
        for ours, right in (
            (outcome(function, tg.tensor(value), other), outcome(numpys(function), value, theirs)),
            (outcome(function, other, tg.tensor(value)), outcome(numpys(function), theirs, value)),
        ):
            assert_same(ours, right, function)


@pytest.mark.parametrize("left", TENSORS.values(), ids=TENSORS)
@pytest.mark.parametrize("right", TENSORS.values(), ids=TENSORS)
def test_operators_of_two_tensors_agree_with_numpy(left, right):
    for function in (*ARITHMETIC, *COMPARISONS):
        ours = outcome(function, tg.tensor(left), tg.tensor(right))
        assert_same(ours, outcome(numpys(function), left, right), function)


def test_lists_of_floats_are_float32_as_everywhere():
    x = tg.tensor([1.0, 2.0])
    assert (x * [0.5, 0.5]).dtype == ([0.5, 0.5] * x).dtype == np.float32


@pytest.mark.parametrize("scalar", [np.float64(2), np.float32(2), np.int64(2), np.bool(True), np.sqrt(4.0)], ids=repr)
def test_numpy_scalars_are_as_weak_as_pythons(scalar):
    for dtype in (np.float16, np.float32, np.float64):
        x = tg.tensor(np.array([1, 2], dtype))
        for function in (operator.add, operator.mul, operator.truediv):
            assert function(x, scalar).dtype == function(scalar, x).dtype == dtype
            np.testing.assert_array_equal(function(x, scalar), function(x.value, scalar.item()))


def test_long_doubles_and_subclasses_of_numbers_are_numbers():
    class Percent(float):
        pass

    x = tg.tensor([1.0, 2.0])
    assert (x * Percent(2)).tolist() == (x * np.longdouble(2)).tolist() == [2, 4]
    assert (x * Percent(2)).dtype == (np.longdouble(2) * x).dtype == np.float32


def test_numbers_that_the_dtype_cannot_hold_are_refused():
    small, x = tg.tensor(np.uint8([1])), tg.tensor([1.0])
    for name, ask in {
        "multiply": lambda: small * -1,
        "add": lambda: 300 + small,
        "maximum": lambda: tg.maximum(small, -1),
        "power": lambda: x**2**2000,
    }.items():
        with pytest.raises(DtypeError, match=f"{name} expects numbers that the dtype of its arrays can hold"):
            ask()
    with pytest.raises(AxisError):
        tg.sum(x, 10**20)


def test_unary_operators_and_division_with_remainder():
    a = np.array([-1.5, 2.0, 7.0])
    x = tg.tensor(a)
    for function in (operator.neg, operator.pos, operator.abs):
        np.testing.assert_array_equal(function(x), function(a))
    for ours, numpys in ((divmod(x, 2), divmod(a, 2)), (divmod(7, x), divmod(7, a)), (divmod(a, x), divmod(a, a))):
        for part, expected in zip(ours, numpys, strict=True):
            np.testing.assert_array_equal(part, expected)


def test_truth_values_have_logic():
    a, b = np.array([True, True, False, False]), np.array([True, False, True, False])
    for function in (operator.and_, operator.or_, operator.xor):
        for ours in (function(tg.tensor(a), tg.tensor(b)), function(tg.tensor(a), b), function(a, tg.tensor(b))):
            assert isinstance(ours, tg.Tensor)
            np.testing.assert_array_equal(ours, function(a, b))
        np.testing.assert_array_equal(function(True, tg.tensor(b)), function(True, b))
        np.testing.assert_array_equal(function(tg.tensor(a), b.tolist()), function(a, b))
    np.testing.assert_array_equal(~tg.tensor(a), ~a)


def test_logic_of_numbers_is_refused_since_it_would_mean_bits():
    x, n = tg.tensor([0.5]), tg.tensor([6])
    for slip in (lambda: n & 3, lambda: 3 | n, lambda: ~n, lambda: ~x, lambda: 0 < x & x < 1, lambda: (x > 0) ^ x):
        with pytest.raises(DtypeError, match="truth values"):
            slip()


def test_comparisons_have_no_gradient():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    for function in COMPARISONS:
        assert not function(x, 1.5).requires_grad
    for function in (tg.isnan, tg.isinf, tg.isfinite, tg.argmax, tg.argmin, tg.sign, tg.floor, tg.ceil, tg.rint):
        assert not function(x).requires_grad


def test_equality_with_what_is_no_array_is_identity():
    x = tg.tensor([1.0, 2.0])
    assert (x == None) is False and (x != None) is True  # noqa: E711
    assert (x == "auto") is False and (x != "auto") is True
    assert x in (None, "auto", x)


def test_a_tensor_is_a_key():
    x, y = tg.tensor(1.0), tg.tensor(1.0)
    table = {x: "x", y: "y"}
    assert (table[x], table[y], len({x, y, x})) == ("x", "y", 2)


@pytest.mark.parametrize(
    "stranger", [None, "a", 1j, {}, {1, 2}, object(), Fraction(1, 2), Decimal(2), np.array([1j]), np.array([None])],
)  # fmt: skip
def test_unknown_operands_are_refused_in_the_name_of_the_function(stranger):
    x = tg.tensor([1.0], requires_grad=True)
    for function, name in ((operator.add, "add"), (operator.mul, "multiply"), (operator.lt, "(less|greater)")):
        for pair in ((x, stranger), (stranger, x)):
            with pytest.raises(TypeError, match=f"{name} expects"):
                function(*pair)
    with pytest.raises(TypeError, match="maximum expects"):
        tg.maximum(x, stranger)


def test_shapes_that_do_not_broadcast_are_refused_in_our_words():
    with pytest.raises(ShapeError, match=r"add expects .*\(2,\).*\(3,\)"):
        tg.tensor([1.0, 2.0]) + np.ones(3)


def test_nothing_is_written_in_place():
    x, a = tg.tensor([1.0, 2.0], requires_grad=True), np.ones(2)
    for update in (operator.iadd, operator.imul, operator.isub, operator.itruediv):
        with pytest.raises(TypeError, match=r"a = a \+ t"):
            update(a, x)
    with pytest.raises(TypeError, match="a = a"):
        np.add(x, x, out=a)
    with pytest.raises(TypeError, match="a = a"):
        np.add.at(a, [0], x)
    with pytest.raises(TypeError, match="in place"):
        x[0] = 1.0
    assert a.tolist() == [1, 1] and x.tolist() == [1, 2]
    y = x
    y += 1
    assert y is not x and x.tolist() == [1, 2]


def test_a_power_of_two_is_a_square_and_pow_takes_no_modulus():
    x = tg.tensor([3.0], requires_grad=True)
    assert (x**2).source[0] is tg.square
    assert (2**x).tolist() == [8] and (x**0.5).requires_grad
    with pytest.raises(TypeError):
        pow(x, 2, 3)
