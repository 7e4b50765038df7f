"""A text is read exactly, so that replaying its calls on other data gives the function's bytes, or not at all."""

import contextlib
import copy
import math
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_bn as tg
from tinygrad_bn.capturing.reading import Ref, Unreadable, read

SHAPE = (4, 5)
rng = np.random.default_rng


def sample(seed, scale=1.0):
    return (scale * rng(seed).standard_normal(SHAPE)).astype(np.float32)


def replay(text, *arrays):
    """Run the calls of a text."""
    values = list(arrays)

    def filled_in(said):
        if isinstance(said, (tuple, list)):
            return type(said)(map(filled_in, said))
        return values[said.number] if isinstance(said, Ref) else said

    for call in text.calls:
        options = {name: filled_in(option) for name, option in call.options.items()}
        values.append(np.asarray(call.function(*map(filled_in, call.args), **options)))
    return tuple(values[ref.number] for ref in text.results)


def assert_same_bytes(found, right):
    right = right if isinstance(right, (tuple, list)) else (right,)
    assert len(found) == len(right)
    for ours, theirs in zip(found, map(np.asarray, right), strict=True):
        assert (ours.shape, ours.dtype, ours.tobytes()) == (theirs.shape, theirs.dtype, theirs.tobytes())


READABLE = {
    "identity": lambda x: x,
    "ufuncs": lambda x: np.maximum(x, 0) + 0.5 * np.expm1(np.minimum(x, 0)),
    "operators": lambda x: (-x + 2) * (3 - x) / (1 + abs(x)) // 0.5 % 0.7,
    "comparisons": lambda x: ((x > 0) & ~(x >= 1) | (x < -1)) * x,
    "power of an array": lambda x: x**2 + (1 + abs(x)) ** 0.5,
    "reduce": lambda x: np.add.reduce(x, axis=0, keepdims=True),
    "outer": lambda x: np.multiply.outer(x[0], x[1]),
    "accumulate": lambda x: np.add.accumulate(x),
    "reduceat": lambda x: np.add.reduceat(x, [0, 2]),
    "np.sum": lambda x: np.sum(x, axis=0),
    "np.var": lambda x: np.var(x, 0),
    "methods": lambda x: x.mean(0) + x.sum(axis=0) - x.max(axis=0),
    "argmax": lambda x: x.argmax(1),
    "transposed product": lambda x: x.T @ x,
    "array @ x": lambda x: np.ones((2, 4), np.float32) @ x,
    "x.dot": lambda x: x.dot(x.T),
    "einsum": lambda x: np.einsum("ij,kj->ik", x, x),
    "where": lambda x: np.where(x > 0, x, 0),
    "select": lambda x: np.select([x > 0, x <= 0], [x, -x]),
    "piecewise": lambda x: np.piecewise(x, [x > 0], [lambda t: t, 0]),
    "basic index": lambda x: x[:, ::-2, None] * x[..., :1, None],
    "index by array": lambda x: x[np.arange(4), np.argmax(x, axis=1)],
    "index by mask": lambda x: x[x > 0],
    "stack": lambda x: np.stack([x, 2 * x]),
    "concatenate": lambda x: np.concatenate([x[:, i] for i in range(x.shape[1])]),
    "block": lambda x: np.block([[x, x]]),
    "pad": lambda x: np.pad(x, 1),
    "roll": lambda x: np.roll(x, 1),
    "tile": lambda x: np.tile(x, (2, 1)),
    "take_along_axis": lambda x: np.take_along_axis(x, np.argsort(x, 1), 1),
    "sort": lambda x: np.sort(x, 0),
    "clip": lambda x: np.clip(x, -1, 1) + x.clip(-0.5, 0.5),
    "round": lambda x: x.round(1),
    "cumsum": lambda x: np.cumsum(x, 1),
    "shape of x": lambda x: np.ones(x.shape, x.dtype) * x / x.size / math.sqrt(x.shape[0]) + len(x) + x.ndim,
    "dtype of x": lambda x: x if x.dtype == np.float32 else -x,
    "astype": lambda x: x.astype(np.float64).sum().astype(np.float32),
    "real, T": lambda x: x.real + x.T.T,
    "view": lambda x: x.view(np.int32),
    "order": lambda x: x.reshape((5, 4), order="F").ravel("F"),
    "copy": lambda x: x.copy("F") + np.copy(x) + x.T.copy().T,
    "ones_like": lambda x: np.ones_like(x) + np.full_like(x, 2),
    "linalg": lambda x: np.linalg.solve(x.T @ x + np.eye(5, dtype=np.float32), x.T),
    "norm": lambda x: np.linalg.norm(x),
    "window": lambda x: np.lib.stride_tricks.sliding_window_view(x, 2, axis=1).sum(-1),
    "interp": lambda x: np.interp(x, [0, 1], [0, 1]),
    "nonzero to the letter": lambda x: np.searchsorted(np.array([0.0, 1.0]), x),
    "apply_along_axis": lambda x: np.apply_along_axis(lambda row: row * 2, 0, x),
    "a dtype for the loop": lambda x: np.add(x, 1, dtype=np.float64),
    "mean of the masked": lambda x: np.add.reduce(x, where=x > 0),
    "isinstance": lambda x: x if isinstance(x, np.ndarray) else -x,
    "0-d arithmetic": lambda x: (x.sum() * np.float64(2) - x.mean() / 3) // x.max() % 0.7,
    "0-d and 1-d": lambda x: x / (x.sum() + 1e-3),
    "0-d index": lambda x: np.add.reduce(x, axis=None)[()] * 2.5,
    "not None": lambda x: x if x is not None else 0,
    "two results": lambda x: (x + 1, x.T),
    "a list of results": lambda x: [x, x.sum()],
    "random from a seed": lambda x: rng(0).random(x.shape, dtype=np.float32) < x,
    "errstate": lambda x: np.exp(np.minimum(x * 1000, 80)),
    "our functions": lambda x: tg.elu(tg.matmul(x, x.T), alpha=0.5),
    "our reductions": lambda x: tg.standardize(x, axis=0, epsilon=1e-3),
}


def setting(array, index, value):
    array[index] = value
    return array


def changed_in_between(x):
    constant = np.ones(5, np.float32)
    first = constant * x
    constant += 1
    return first + constant * x


def swallowed(x):
    with contextlib.suppress(Exception):
        return x if float(x[0, 0]) > 0 else x * 2
    return -x


def caught(x):
    try:
        return np.linalg.inv((x - x) @ x.T)
    except np.linalg.LinAlgError:
        return x


UNREADABLE = {
    "x[...] = 0": lambda x: setting(x.copy(), 0, 0),
    "x += 1": lambda x: operator.iadd(x.copy(), 1),
    "result += 1": lambda x: operator.iadd(x * 2, 1),
    "x //= 2": lambda x: operator.ifloordiv(x.copy(), 2),
    "x **= 2": lambda x: operator.ipow(x.copy(), 2),
    "mask &= mask": lambda x: operator.iand(x > 0, x < 1),
    "bits <<= 1": lambda x: operator.ilshift(x.view(np.int32) & 1, 1),
    "array += x": lambda x: operator.iadd(np.ones(SHAPE, np.float32), x),
    "array[...] = x": lambda x: setting(np.empty(SHAPE, x.dtype), ..., x),
    "array[mask] = 1": lambda x: setting(np.zeros(SHAPE, x.dtype), x > 0, 1.0) + x,
    "array[argmax] = 1": lambda x: setting(np.zeros(SHAPE, x.dtype), (np.arange(4), np.argmax(x, 1)), 1.0) * x,
    "out=": lambda x: np.exp(x, out=np.empty(SHAPE, np.float32)),
    "out by position": lambda x: np.exp(x, np.empty(SHAPE, np.float32)),
    "out of a function": lambda x: np.sum(x, 0, None, np.empty(5, np.float32)),
    "out of a method": lambda x: x.sum(0, None, np.empty(5, np.float32)),
    "out into x": lambda x: np.multiply(x, 2, out=x),
    "out of a method into x": lambda x: x.clip(-1, 1, out=x),
    "np.add.at": lambda x: np.add.at(x, [0], 1) or x,
    "np.add.at an array": lambda x: np.add.at(np.zeros(4, np.float32), [0, 0, 1], x[0, :3]) or x,
    "copyto": lambda x: np.copyto(np.empty(SHAPE, np.float32), x) or x,
    "copyto x": lambda x: np.copyto(x, 0) or x,
    "fill_diagonal": lambda x: np.fill_diagonal(x, 0) or x,
    "put": lambda x: np.put(x, [0], 0) or x,
    "sort in place": lambda x: x.sort() or x,
    "fill": lambda x: x.fill(0) or x,
    "resize": lambda x: x.resize((2, 10)) or x,
    "setflags": lambda x: x.setflags(write=True) or x,
    "byteswap": lambda x: x.byteswap(True),
    "shape =": lambda x: setattr(x, "shape", (5, 4)) or x,
    "rng.shuffle": lambda x: rng(0).shuffle(x) or x,
    "a constant that changes": changed_in_between,
    "if": lambda x: x if (x > 0).any() else -x,
    "and": lambda x: (x[0, 0] > 0) and x,
    "if allclose": lambda x: x if np.allclose(x, 0) else -x,
    "if array_equal": lambda x: x if np.array_equal(x, x) else -x,
    "float": lambda x: x * float(x[0, 0]),
    "int": lambda x: x * int(x[0, 0]),
    "item": lambda x: x * x.item(0),
    "tolist": lambda x: np.array(x.tolist()),
    "tobytes": lambda x: np.frombuffer(x.tobytes(), np.float32),
    "flat": lambda x: x.flat[0] * x,
    "data": lambda x: np.frombuffer(x.data, np.float32),
    "memoryview": lambda x: np.asarray(memoryview(x)),
    "strides": lambda x: x * x.strides[1],
    "flags": lambda x: x * x.flags.c_contiguous,
    "math.exp": lambda x: x * math.exp(x[0, 0]),
    "round()": lambda x: x * round(x[0, 0]),
    "complex": lambda x: x * complex(x[0, 0]).real,
    "len of str": lambda x: x * len(str(x)),
    "repr": lambda x: x if "0" in repr(x) else -x,
    "format": lambda x: x if f"{x[0, 0]:.1f}" else -x,
    "in": lambda x: x if 3.0 in x else -x,
    "iteration": lambda x: np.stack([row * 2 for row in x]),
    "unpacking": lambda x: (lambda a, b, c, d: a + b + c + d)(*x),
    "max of Python": lambda x: max(x[0, 0], x[0, 1]),
    "power of a scalar": lambda x: x.sum() ** 2,
    "power by a scalar": lambda x: 2 ** x.sum() + x ** x.max(),
    "slice by a value": lambda x: x[: np.argmax(x[:, 0])],
    "list by a value": lambda x: [1.0, 2.0, 3.0, 4.0, 5.0][np.argmax(x[0])] * x,
    "array by a value": lambda x: np.eye(5, dtype=np.float32)[np.argmax(x, 1)] * x,
    "length by a value": lambda x: np.ones(x.argmax() + 1),
    "np.array": lambda x: np.array([x[0], x[1]]),
    "np.asarray": lambda x: np.asarray(x) * 2,
    "as_strided": lambda x: np.lib.stride_tricks.as_strided(x, (2, 2), (4, 4)),
    "array.dot": lambda x: np.ones((2, 4), np.float32).dot(x),
    "r_": lambda x: np.r_[x, x],
    "vectorize": lambda x: np.vectorize(math.erf)(x),
    "np.float32": lambda x: np.float32(x),
    "deepcopy": lambda x: x + copy.deepcopy(x) * 2,
    "several results of one call": lambda x: np.modf(x)[0],
    "a plain array": lambda x: np.ones(3),
    "a number": lambda x: 3.0,
    "one of both": lambda x: (x, 2.0),
    "a dict": lambda x: {"x": x},
    "nothing": lambda x: None,
    "a hash": lambda x: {x: 1} and x,
    "a swallowed refusal": swallowed,
    "a caught failure": caught,
    "a Tensor": lambda x: x * tg.tensor(np.ones(5, np.float32)),
    "a Tensor first": lambda x: tg.tensor(np.ones(5, np.float32)) * x,
    "its own mistake": lambda x: x @ x,
    "a random primitive": lambda x: NOISY(x),
}


@tg.primitive(random=True)
def NOISY(x):
    return x + np.random.default_rng().standard_normal(x.shape)


NOISY.registry.remove(NOISY)


@pytest.mark.parametrize("function", READABLE.values(), ids=READABLE)
def test_what_is_read_replays_to_the_bit_on_other_data(function):
    text = read(function, sample(0))
    assert text.arguments == 1
    for x in (sample(1), sample(2, -3.0), np.zeros(SHAPE, np.float32), np.full(SHAPE, -0.0, np.float32)):
        with np.errstate(all="ignore"), contextlib.suppress(np.linalg.LinAlgError):
            right = function(x.copy())
            for _ in range(2):  # no replay leaves a trace
                assert_same_bytes(replay(text, x), right)


@pytest.mark.parametrize("function", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_told_in_calls_is_unreadable_and_touches_nothing(function):
    x = sample(0)
    with pytest.raises(Unreadable):
        read(function, x)
    np.testing.assert_array_equal(x, sample(0))
    assert x.flags.writeable


@pytest.mark.filterwarnings("ignore:'where' used without 'out'")
def test_results_that_are_left_undefined_are_unreadable():
    with pytest.raises(Unreadable, match="undefined"):
        read(lambda x: np.add(x, 1, where=x > 0), sample(0))


@pytest.mark.parametrize("turned", [lambda x: x.T, lambda x: x[::-1], lambda x: x[:, ::-2], lambda x: x[0, 0, ...]])
def test_samples_of_any_layout_are_read(turned):
    function = READABLE["ufuncs"]
    text = read(function, turned(sample(0)))
    assert_same_bytes(replay(text, turned(sample(1))), function(turned(sample(1))))


def test_a_text_says_what_it_does():
    text = read(lambda x, y, *, rate: (x - rate * y, np.where(x > 0, x, 0.0).sum()), sample(0), sample(1), rate=0.5)
    assert str(text).splitlines() == [
        "%2 = multiply(0.5, %1)",
        "%3 = subtract(%0, %2)",
        "%4 = greater(%0, 0)",
        "%5 = where(%4, %0, 0.0)",
        "%6 = sum(%5)",
        "return %3, %6",
    ]
    np.testing.assert_array_equal(text.sample(Ref(1), sample(0), sample(1)), sample(1))
    np.testing.assert_array_equal(text.sample(Ref(2), sample(0), sample(1)), 0.5 * sample(1))
    assert {Ref(1): 1}[Ref(1)] == 1 and Ref(1) != Ref(2)


def test_the_constants_of_a_text_stay_writable_and_its_samples_do_not():
    constant = np.ones(5, np.float32)
    text = read(lambda x: x * constant, sample(0))
    assert constant.flags.writeable
    assert not text.calls[0].sample.flags.writeable


SCALAR_STEPS = st.lists(
    st.tuples(
        st.sampled_from([operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod]),
        st.one_of(st.integers(0, 9), st.floats(-3, 3, width=32), st.just(np.float64(1.5)), st.just(np.float32(0.1))),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@given(SCALAR_STEPS, st.integers(0, 100))
def test_arithmetic_of_scalars_replays_to_the_bit(steps, seed):
    """Inside a forward, a reduction is a NumPy scalar; in a replay, an array of no dimensions."""

    def function(x):
        y = x.sum()
        for operation, constant, reflected in steps:
            y = operation(constant, y) if reflected else operation(y, constant)
        return y

    with np.errstate(all="ignore"):
        text = read(function, sample(seed))
        assert_same_bytes(replay(text, sample(seed + 1)), function(sample(seed + 1)))
