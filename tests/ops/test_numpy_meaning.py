"""Arguments mean what they mean in NumPy, by position and by name; and NumPy's own functions take Tensors."""

from types import SimpleNamespace

import numpy as np
import pytest

import tinygrad_bn as tg

X = np.arange(24.0).reshape(2, 3, 4) / 7 - 1.5
MASK = X > 0
INDICES = np.array([[2, 0], [1, 1]])

CALLS = """
sum(x) | sum(x, 1) | sum(x, (0, 2)) | sum(x, axis=-1, keepdims=True) | sum(x, axis=())
mean(x) | mean(x, 1) | mean(x, (0, -1)) | mean(x, axis=2, keepdims=True)
var(x) | var(x, 0) | var(x, axis=(1, 2), ddof=1) | std(x) | std(x, 0) | std(x, axis=-1, ddof=1, keepdims=True)
max(x) | max(x, 1) | max(x, axis=(0, 1), keepdims=True) | min(x) | min(x, 0) | min(x, axis=-1, keepdims=True)
prod(x) | prod(x, 1) | prod(x, axis=(0, 2), keepdims=True) | prod(x, axis=()) | prod(x[:0], 0) | prod(x[:1], 0)
prod(x[0, 0, 0], 0) | prod(x[0, 0, 0], -1, keepdims=True) | sum(x[0, 0, 0], 0)
cumsum(x) | cumsum(x, 1) | cumsum(x, axis=-1)
argmax(x) | argmax(x, 1) | argmin(x) | argmin(x, axis=-1)
all(mask) | all(mask, 1) | any(mask, axis=(0, 2), keepdims=True)
reshape(x, (6, 4)) | reshape(x, -1) | reshape(x, (4, -1)) | reshape(x, [3, 8])
transpose(x) | transpose(x, (1, 0, 2)) | transpose(x, axes=(-1, 0, 1))
squeeze(x[:1]) | squeeze(x[:1, :, :1], 2) | squeeze(x[:1, :, :1], axis=(0, -1))
expand_dims(x, 0) | expand_dims(x, -1) | expand_dims(x, (0, 2))
broadcast_to(v, (3, 4)) | broadcast_to(v, (2, 1, 4)) | flip(x) | flip(x, 1) | flip(x, axis=(0, 2))
concatenate([x, x]) | concatenate((x, x), 1) | concatenate([x, x[:1]], axis=0) | concatenate([m, v], None)
stack([m, m]) | stack([v, range(4)]) | stack([m, m], 1) | stack((m, m), axis=-1)
split(x, 2) | split(x, 2, 2) | split(x, [1, 2], axis=1) | split(x, [], 1) | split(x, [1, 9], -1)
pad(m, 1) | pad(m, (1, 2)) | pad(m, ((1, 0), (0, 2)), "constant", constant_values=5) | pad(m, [[2], [1]])
take(x, 3) | take(x, range(3)) | take(x, i) | take(x, i, 1) | take(x, [0, -1], axis=0) | take(v, [])
where(mask, x, 0.0) | where(x > 0, x, -x) | where(True, v, m)
clip(x, -1, 1) | clip(x, None, 0.5) | clip(x, a_min=0, a_max=None) | clip(x, [[0.1], [0], [-1]], [0, 1, 2, 0.5])
maximum(x, v) | minimum(x, 0.5) | power(x, 2) | power(x, 3.0)
add(x, v) | subtract(1, x) | multiply(x, m) | divide(x, 2)
matmul(m, m.T) | matmul(x, m.T) | matmul(x, v) | matmul(v, m.T) | matmul(v, v)
einsum("ij,kj->ik", m, m) | einsum("...ij->...", x) | einsum("ij", m)
linalg.norm(v) | linalg.norm(x) | linalg.norm(x, axis=1) | linalg.norm(x, None, (0, 2), True)
linalg.norm(v, 1) | linalg.norm(v, inf) | linalg.norm(x, 2, 0) | linalg.norm(x, 1, axis=-1, keepdims=True)
exp(x) | expm1(x) | log(x * x) | log1p(x * x) | sqrt(x * x) | square(x) | abs(x) | sign(x) | tanh(x)
sin(x) | cos(x) | tan(x) | arctan(x) | floor(x) | ceil(x) | rint(x) | isnan(x) | isinf(x) | isfinite(x)
equal(x, x) | not_equal(x, v) | less(x, 0) | less_equal(x, v) | greater(x, v) | greater_equal(0, x)
logical_and(mask, x > 1) | logical_or(mask, False) | logical_xor(mask, mask) | logical_not(mask)
negative(x) | floor_divide(x, 0.3) | remainder(x, 0.3) | copy(x)
"""

OURS = SimpleNamespace(**vars(tg.ops), linalg=SimpleNamespace(norm=tg.norm))


def calls(text=CALLS):
    return [call.strip() for line in text.strip().splitlines() for call in line.split(" | ")]


def evaluate(call, functions, wrap=lambda array: array, x=X):
    names = {"x": x, "m": x[0], "v": x[0, 0], "mask": MASK, "i": INDICES}
    return eval(f"f.{call}", {"f": functions, "inf": np.inf}, {name: wrap(array) for name, array in names.items()})


def assert_same(results, expected):
    assert isinstance(results, list) == isinstance(expected, list)
    pairs = zip(results, expected, strict=True) if isinstance(expected, list) else [(results, expected)]
    for ours, theirs in pairs:
        assert ours.shape == np.shape(theirs)
        assert ours.dtype == np.asarray(theirs).dtype
        np.testing.assert_allclose(np.asarray(ours), theirs, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("call", calls())
def test_our_function_on_arrays(call):
    assert_same(evaluate(call, OURS), evaluate(call, np))


@pytest.mark.parametrize("call", calls())
def test_our_function_on_tensors(call):
    assert_same(evaluate(call, OURS, tg.tensor), evaluate(call, np))


@pytest.mark.parametrize("call", calls())
def test_numpys_function_on_tensors(call):
    assert_same(evaluate(call, np, tg.tensor), evaluate(call, np))


def whole(dtype):
    """Integers of all sizes that the dtype has, or truth values."""
    low, high = (0, 1) if dtype is np.bool else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    numbers = np.array([low, low // 2, 0, 1, 3 % (high + 1), high // 2, high], dtype)
    return np.random.default_rng(0).choice(numbers, X.shape)


@pytest.mark.parametrize("wrap", [np.array, tg.tensor])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64, np.bool])
@pytest.mark.parametrize("call", calls())
def test_integers_and_truth_values_give_numpys_numbers_in_numpys_dtype(call, dtype, wrap):
    x = whole(dtype)
    with np.errstate(all="ignore"):  # a warning would be NumPy's too
        try:
            expected = evaluate(call, np, x=x)
        except OverflowError:
            pytest.skip("this NumPy wants bounds within the dtype, which was mended in 2.1")
        except (TypeError, ValueError):
            with pytest.raises((TypeError, ValueError)):
                evaluate(call, OURS, wrap, x)
        else:
            assert_same(evaluate(call, OURS, wrap, x), expected)


def test_where_of_a_condition_alone_gives_the_places_where_it_is_true():
    for ours, theirs in zip(np.where(tg.tensor(X) > 0), np.where(X > 0), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_bounds_go_by_both_of_numpys_names():
    for array in (X, tg.tensor(X)):
        assert_same(tg.clip(array, min=-0.5, max=[0, 1, 2, 0.5]), np.clip(X, -0.5, [0, 1, 2, 0.5]))
        assert_same(tg.clip(array, max=0), np.clip(X, None, 0))
    with pytest.raises(TypeError, match=r"unknown argument 'min' in clip\(\)"):
        tg.clip(X, a_min=0, min=0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_list_of_bounds_takes_the_dtype_of_what_it_bounds_also_where_both_are_equal(dtype):
    bounds = [0.1, 0.7]
    for x in (np.array(bounds, dtype), tg.tensor(np.array(bounds, dtype), requires_grad=True)):
        assert_same(tg.clip(x, bounds, tuple(bounds)), np.array(bounds, dtype))
    tg.clip(x, bounds, bounds).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]
    assert_same(tg.clip(np.array([0, 3]), [0.5, 0.5]), np.array([0.5, 3.0]))


def test_a_bound_that_no_integer_of_the_dtype_is_beyond_bounds_nothing():
    x = np.array([0, 3, 255], np.uint8)
    for array in (x, tg.tensor(x)):
        assert_same(tg.clip(array, -1, 300), x)
        assert_same(tg.clip(array, -1, 3), np.array([0, 3, 3], np.uint8))


LISTS = """
sum([1.0, 2.0]) | mean([[1, 2], [3, 4]], 0) | max((3, 1)) | std([1, 2, 3]) | var([1, 2, 4]) | prod([2, 3])
squeeze([[1]]) | squeeze(range(1)) | take(range(5), range(2))
stack([1.0, 2.0]) | maximum([1, 5], 3) | where([True, False], 1.0, 2.0) | matmul([[1, 2]], [[3], [4]])
reshape([1, 2, 3, 4], (2, 2)) | take([5, 6], 1) | cumsum([1, 2]) | exp(2.0) | mean(3.0)
"""


@pytest.mark.parametrize("call", calls(LISTS))
def test_lists_and_numbers_are_taken_as_by_numpy(call):
    result = evaluate(call, OURS)
    assert type(result) is np.ndarray
    assert_same(result, evaluate(call, np))


@pytest.mark.parametrize("axis", [None, 0, (0, 1)])
def test_the_mean_of_float16_is_numpys_where_its_sum_would_be_too_large(axis):
    x = np.random.default_rng(0).normal(1000, 300, (300, 5)).astype(np.float16)
    assert_same(tg.mean(x, axis), np.asarray(np.mean(x, axis)))
    assert_same(tg.mean(tg.tensor(x), axis, keepdims=True).value, np.mean(x, axis, keepdims=True))


def test_a_number_among_arrays_to_be_stacked_is_weak():
    x = np.array(1.0, np.float32)
    for array in (x, tg.tensor(x)):
        for number in (2, 2.0, True):
            assert_same(np.asarray(tg.stack([array, number])), np.array([1, number], np.float32))


def test_every_function_that_numpy_has_too_is_compared():
    tried = {call.split("(")[0] for call in calls()}
    meaning_something_else = {"astype", "put"}
    assert {name for name in tg.ops.__all__ if hasattr(np, name)} - tried <= meaning_something_else


@pytest.mark.parametrize("axes", [[1, 2, 0], (1, 2, 0), None])
def test_the_axes_of_transpose_may_be_a_list(axes):
    x = np.arange(24.0).reshape(2, 3, 4)
    weights = np.transpose(np.arange(24.0).reshape(2, 3, 4) ** 2, axes)
    gradient = tg.grad(lambda x: tg.sum(tg.transpose(x, axes) * weights))(x)
    np.testing.assert_array_equal(gradient, np.arange(24.0).reshape(2, 3, 4) ** 2)
