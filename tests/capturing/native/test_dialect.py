"""Every word of the dialect means in C what it means in NumPy, for all dtypes, special values and layouts it takes."""

import functools

import numpy as np
import pytest

from tests.capturing.native.test_program import pytestmark  # noqa: F401
from tinygrad_bn.capturing.flow import Argument, Constant, Flow, Step, Value, replaced
from tinygrad_bn.capturing.native import dialect
from tinygrad_bn.capturing.native import program as program_file
from tinygrad_bn.capturing.native.building import FLAGS, compiled
from tinygrad_bn.capturing.native.dialect import Inexpressible, Text, c_type, cast, formula, literal, reduction, uniform
from tinygrad_bn.capturing.native.places import Place, in_elements, packed, seen
from tinygrad_bn.capturing.native.program import NativeProgram

DTYPES = [np.dtype(kind) for kind in ("f4", "f8", "b1", "i1", "i4", "i8", "u1", "u8")]
REALS = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, -4.0, 1e-30, 88.0, 1e30, np.inf, -np.inf, np.nan])
WORDS = [*dialect._INFIX, *dialect._PATTERNS, *dialect._FUNCTIONS]
OF_INTEGERS = {*dialect._INFIX, *dialect._OF_INTEGERS, np.negative, np.positive, np.logical_not}
"""What C says of integers too; of all else NumPy's meaning is another one there, such as what 1 / 0 gives."""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Small programs: it takes longer to compile them than to run them."""
    monkeypatch.setattr(program_file, "compiled", lambda source: compiled(source, flags=("-O1", *FLAGS[1:])))


def grid(dtype, count):
    """Special values of a dtype, each with each."""
    if dtype.kind == "f":
        values = REALS.astype(dtype)
    elif dtype.kind == "b":
        values = np.array([False, True])
    else:
        limits = np.iinfo(dtype)
        values = np.array([0, 1, 2, 5, 100, limits.max // 2] + [-1, -3, -100] * (dtype.kind == "i"), dtype)
    return [np.ascontiguousarray(array).ravel() for array in np.meshgrid(*[values] * count)]


def argument(array, position=0):
    return Value(array, Argument(position))


def flow_of_steps(arrays, *makers):
    """A flow of one step for each maker, which takes the arguments' values and gives function, args and options."""
    flow = Flow()
    flow.arguments = [argument(array, position) for position, array in enumerate(arrays)]
    for make in makers:
        function, args, options = make(*flow.arguments)
        samples = replaced(args, {value: value.sample for value in flow.arguments})
        with np.errstate(all="ignore"):
            step = Step(function, args, options, np.asarray(function(*samples, **options)))
        step.view = next(
            (a for a in args if isinstance(a, Value) and np.may_share_memory(a.sample, step.result.sample)), None
        )
        flow.steps.append(step)
        flow.results.append(step.result)
    return flow


def assert_same(found, expected, ulps=4):
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=ulps * np.finfo(expected.dtype).eps, atol=1e-37)
    else:
        np.testing.assert_array_equal(found, expected)


def assert_runs(arrays, *makers, ulps=4):
    """The program gives what the calls themselves give."""
    flow = flow_of_steps(arrays, *makers)
    expected = [value.sample.copy() for value in flow.results]
    for found, theirs in zip(NativeProgram(flow).run(arrays), expected, strict=True):
        assert_same(found, theirs, ulps)


def _kinds(function, dtype):
    """The kinds of dtypes in which NumPy calculates the function of numbers of this one."""
    return {kind.kind for kind in function.resolve_dtypes((*[dtype] * function.nin, None))}


def _takes(function, dtype):
    """Whether NumPy knows the function for this dtype, without making half precision of it."""
    try:
        kinds = function.resolve_dtypes((*[dtype] * function.nin, None))
    except TypeError:
        return False
    return np.dtype(np.float16) not in kinds


@pytest.mark.parametrize("function", WORDS, ids=lambda function: function.__name__)
def test_a_word_means_what_numpy_means(function):
    """Those that C does not say of integers are refused by name."""
    arrays, makers = [], []
    for dtype in (dtype for dtype in DTYPES if _takes(function, dtype)):
        given = grid(dtype, function.nin)
        if function not in OF_INTEGERS and _kinds(function, dtype) & set("iu"):
            with pytest.raises(Inexpressible, match=function.__name__):
                formula(Step(function, [argument(array) for array in given], {}, np.empty(0)))
            continue
        start = len(arrays)
        arrays += given
        makers.append(lambda *values, start=start: (function, values[start : start + function.nin], {}))
    with np.errstate(all="ignore"):
        assert_runs(arrays, *makers)


@pytest.mark.parametrize("function", [np.add, np.subtract, np.multiply, np.negative], ids=lambda f: f.__name__)
def test_small_integers_wrap_round_inside_an_expression_too(function):
    x = np.array([100, -100, 127, -128, 50], np.int8)
    flow = flow_of_steps([x], lambda x: (function, (x, x)[: function.nin], {}))
    once = flow.steps[0]
    flow.steps.append(Step(np.greater, (once.result, np.int8(0)), {}, np.greater(once.result.sample, 0)))
    flow.results = [flow.steps[1].result]
    expected = flow.results[0].sample.copy()
    assert_same(NativeProgram(flow).run([x])[0], expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_plain_numbers_choices_casts_and_copies_are_those_of_numpy(dtype):
    (x,) = grid(np.dtype(dtype), 1)
    n = np.arange(-7, 7, dtype=np.int32)
    assert_runs(
        [x, n],
        lambda x, n: (np.multiply, (x, 3), {}),
        lambda x, n: (np.subtract, (0.1, x), {}),
        lambda x, n: (np.add, (n, 2.5), {}),
        lambda x, n: (np.multiply, (x, n), {}),
        lambda x, n: (np.maximum, (x, float("nan")), {}),
        lambda x, n: (np.minimum, (x, -np.inf), {}),
        lambda x, n: (np.where, (n, x, 7), {}),
        lambda x, n: (np.where, (x, n, x), {}),
        lambda x, n: (np.ndarray.astype, (n, np.dtype(dtype)), {}),
        lambda x, n: (np.ndarray.astype, (x, np.dtype(bool)), {}),
        lambda x, n: (np.copy, (x,), {}),
        lambda x, n: (np.nan_to_num, (x,), {"nan": 1.5}),
        *(lambda x, n, e=exponent: (pow, (x, e), {}) for exponent in (2, 0.5, -1, 1, 3)),
    )


def test_operands_are_broadcast_and_may_be_views():
    rng = np.random.default_rng(0)
    x, y, z = rng.standard_normal((4, 1, 3)), rng.standard_normal((5, 1)), rng.standard_normal(())
    assert_runs(
        [x, y, z],
        lambda x, y, z: (np.add, (x, y), {}),
        lambda x, y, z: (np.multiply, (z, x), {}),
        lambda x, y, z: (np.ndarray.transpose, (x, (2, 0, 1)), {}),
        lambda x, y, z: (np.ndarray.__getitem__, (x, (slice(None, None, -2), 0)), {}),
        lambda x, y, z: (np.broadcast_to, (y, (2, 5, 3)), {}),
        lambda x, y, z: (np.concatenate, ([y, y],), {"axis": 1}),
    )


@pytest.mark.parametrize("function", dialect.REDUCTIONS, ids=lambda function: function.__name__)
@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "b1"])
def test_reductions_are_those_of_numpy(function, dtype):
    x = np.random.default_rng(1).integers(0, 3, (4, 3, 5)).astype(dtype)
    if dtype[0] == "f":
        x[0, 1, 2], x[1, 0, 3], x[2, 2, 2], x[0, 0, 0] = np.nan, np.inf, -np.inf, -0.0
    axes = [{"axis": None}, {"axis": 0}, {"axis": (0, -1)}, {"axis": 1, "keepdims": True}, {"axis": ()}]
    assert_runs([x], *(lambda x, o=options: (function.reduce, (x,), o) for options in axes))


@pytest.mark.parametrize(
    ("function", "args", "options"),
    [
        (np.add, 2, {"where": True}),
        (np.add.reduce, 1, {"initial": 3.0}),
        (np.hypot.reduce, 1, {}),
        (np.arctan2, 2, {}),
        (np.sort, 1, {}),
    ],
)
def test_what_the_dialect_does_not_know_is_refused_and_named(function, args, options):
    x = np.ones((2, 3))
    flow = flow_of_steps([x], lambda x: (function, (x,) * args, options))
    with pytest.raises(Inexpressible, match=getattr(function, "__self__", function).__name__):
        NativeProgram(flow)


@pytest.mark.parametrize("dtype", ["c16", ">f8", "f2"])
def test_dtypes_that_c_does_not_have_are_refused(dtype):
    with pytest.raises(Inexpressible, match=str(np.dtype(dtype))):
        c_type(np.dtype(dtype))


def test_numbers_keep_all_their_bits():
    assert [literal(number, np.dtype("f4")) for number in (0.1, 1, -0.0, 1e30)] == ["0.1f", "1.0f", "-0.0f", "1e+30f"]
    assert [literal(number, np.dtype("f8")) for number in (0.1, np.nan, -np.inf)] == ["0.1", "NAN", "-INFINITY"]
    assert [literal(number, np.dtype("i8")) for number in (7, -(2**63), 2**40)] == ["7", "INT64_MIN", f"{2**40}ull"]
    assert literal(True, np.dtype(bool)) == "1"


def test_expressions_are_in_parentheses_where_they_must_be_and_nowhere_else():
    a, b = Text("a"), Text("b + c", 6)
    words = dialect._INFIX
    said = functools.partial(lambda function, *operands: dialect._infix(*words[function])(operands).said)
    assert said(np.multiply, a, b) == "a * (b + c)"
    assert said(np.add, b, a) == "b + c + a"
    assert said(np.subtract, a, b) == "a - (b + c)"
    assert said(np.greater, b, a) == "b + c > a"
    assert said(np.bitwise_and, Text("a > b", 5), a) == "(a > b) & a"
    assert dialect._pattern(*dialect._PATTERNS[np.reciprocal])([Text("a * b", 7)]).said == "1 / (a * b)"
    assert dialect._pattern(*dialect._PATTERNS[np.negative])([Text("-1.0", 8)]).said == "-(-1.0)"
    assert cast(b, np.dtype("f8"), np.dtype("f4")).said == "(float)(b + c)"
    assert cast(b, np.dtype("f8"), np.dtype(bool)).said == "b + c != 0"


def test_a_product_with_ones_is_a_sum():
    x, ones = argument(np.arange(12.0).reshape(3, 4)), Value(np.ones(3), Constant())
    found = reduction(Step(np.dot, (ones, x), {}, np.empty(4)))
    assert (found.kind, found.operand, found.axes) == (np.add, x, {0})
    assert reduction(Step(np.dot, (argument(np.ones(3)), x), {}, np.empty(4))) is None
    row, column, one = (Value(np.ones(shape), Constant()) for shape in [(1, 3), (4, 1), ()])
    assert reduction(Step(np.dot, (row, x), {}, np.empty((1, 4)))).axes == {0}
    assert reduction(Step(np.dot, (x, column), {}, np.empty((3, 1)))).axes == {1}
    assert reduction(Step(np.dot, (one, x), {}, np.empty((3, 4)))) is None


def test_a_constant_of_one_number_is_that_number_and_zeros_of_two_signs_are_two():
    assert uniform(Value(np.full((2, 3), 0.5), Constant())) == 0.5
    assert uniform(Value(np.array([0.0, -0.0]), Constant())) is None
    assert uniform(Value(np.empty(0), Constant())) is None
    assert uniform(argument(np.ones(3))) is None


LAYOUTS = {
    "packed": lambda x: x,
    "transposed": lambda x: x.T,
    "flipped": lambda x: x[::-1, ::-2],
    "one column": lambda x: x[:, 1:2],
    "broadcast": lambda x: np.broadcast_to(x[0], (3, 4)),
}
REARRANGINGS = {
    "transpose": (np.ndarray.transpose, ()),
    "T": (getattr, ("T",)),
    "index": (np.ndarray.__getitem__, ((slice(1, None), None, slice(None, None, -1)),)),
    "flip": (np.flip, (0,)),
    "reshape": (np.ndarray.reshape, (1, -1)),
    "expand_dims": (np.expand_dims, (1,)),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize(("function", "args"), REARRANGINGS.values(), ids=REARRANGINGS)
def test_a_view_lies_where_numpy_finds_it(layout, function, args):
    memory = np.arange(12.0).reshape(3, 4)
    x = layout(memory)
    offset = (x.__array_interface__["data"][0] - memory.__array_interface__["data"][0]) // memory.itemsize
    root, shown = argument(memory), argument(x)
    expected = function(x, *args)
    step = Step(function, (shown, *args), {}, expected, shown)
    place = seen(step, shown, Place(root, x.shape, in_elements(x), offset))
    if not np.shares_memory(expected, memory):
        assert place is None
        return
    starts = np.indices(place.shape).reshape(len(place.shape), -1).T @ np.array(place.strides) + place.offset
    np.testing.assert_array_equal(memory.ravel()[starts].reshape(place.shape), expected)


def test_a_packed_place_is_whole_and_others_are_not():
    root = argument(np.empty((3, 4)))
    assert Place(root, (3, 4), packed((3, 4))).whole
    assert Place(root, (3, 1, 4), (4, 77, 1)).whole
    assert not Place(root, (4, 3), (1, 4)).whole
    assert not Place(root, (2, 4), (4, 1)).whole
    assert not Place(root, (2, 4), (4, 1), 4).whole
    assert Place(root, (1, 4), (4, 1)).along((5, 3, 4)) == (0, 0, 1)
