"""Laws about what a function gives."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from tests.laws.lawbook import draws_nothing, law
from tests.laws.subjects import (
    domains,
    elementwise,
    generator,
    is_random,
    pulled,
    recorded,
    sample,
    settings,
    smooth,
    vertices,
)
from tinygrad_bn.tensors import Tensor

EPS = {np.float32: np.finfo(np.float32).eps, np.float64: np.finfo(np.float64).eps}


def assert_close(actual, desired, dtype, units=16):
    """Equal but for so many units in the last place of the largest value, or of 1, the size of what is summed."""
    desired = np.asarray(desired)
    largest = np.max(np.abs(desired), initial=1) if desired.dtype.kind == "f" else 0
    np.testing.assert_allclose(actual, desired, rtol=0, atol=float(units * EPS[dtype] * largest))


@law(lambda function, case: function.reference is not None)
def equals_its_reference(function, case):
    """The forward gives what another route to the same function gives."""
    arrays = sample(function, case)
    expected = function.reference(*arrays, **settings(function, case))
    assert_close(function(*arrays, **settings(function, case)), expected, np.float64)


@law()
def rounds_only_as_float32_must(function, case):
    """The forward in float32 is the forward in float64, but for a few units in the last place."""
    arrays = sample(function, case, np.float32)
    exact = function(
        *(a.astype(np.float64) if a.dtype == np.float32 else a for a in arrays), **settings(function, case)
    )
    assert_close(function(*arrays, **settings(function, case)), exact, np.float32)


@law()
def leaves_its_inputs_untouched(function, case):
    """Neither the forward nor the rules write to what they are given."""
    arrays = sample(function, case)
    tensors, result = recorded(function, case, arrays)
    given_back, y = np.ones(result.shape, result.dtype), result.value.copy()
    pulled(tensors, result, given_back)
    before = [*sample(function, case), np.ones_like(given_back), y]
    for now, then in zip([*arrays, given_back, result.value], before, strict=True):
        assert now.tobytes() == then.tobytes()


def _keeps_the_dtype(function, case):
    return draws_nothing(function, case) and "dtype" not in function.settings


@law(_keeps_the_dtype)
def float32_stays_float32(function, case):
    """No step of the forward, of a rule or of the derivative of a rule gives float64 where float32 came in."""
    arrays = sample(function, case, np.float32)
    assert function(*arrays, **settings(function, case)).dtype != np.float64
    tensors, result = recorded(function, case, arrays)
    cotangents = pulled(tensors, result, Tensor(np.ones(result.shape, np.float32)), on_tensors=True)
    for vertex in vertices([result, *cotangents]):
        assert vertex.dtype != np.float64
        for primitive, g in _ruled(vertex):
            assert g.dtype == np.float32, f"a rule of {primitive.__name__} gives {g.dtype}"


def _ruled(vertex):
    """What each rule of the primitive that made a Tensor gives on arrays, before the engine casts it."""
    primitive, args, chosen = vertex.source or (None, (), {})
    values = [arg.value if isinstance(arg, Tensor) else arg for arg in args]
    for arg, rule in zip(args, primitive.rules if primitive else ()):  # noqa: B905 some rules do not end
        if rule is not None and isinstance(arg, Tensor) and arg.dtype.kind == "f":
            yield primitive, rule(np.ones(vertex.shape, vertex.dtype), vertex.value, *values, **chosen)


@law(_keeps_the_dtype)
def settings_are_weak(function, case):
    """A NumPy number or an array of 0 dimensions as a setting does not make float64 of float32."""
    for strong in (np.float64, np.array):
        chosen = {k: strong(v) if isinstance(v, float) else v for k, v in settings(function, case).items()}
        assert function(*sample(function, case, np.float32), **chosen).dtype != np.float64


INTEGERS = (np.int8, np.uint8, np.int32, np.uint64, np.bool)


def _whole(function, case, dtype):
    """As `sample`, with whole numbers of all sizes that the dtype has in the place of real ones; one layout for all."""
    arrays, rng = sample(function, case), generator(function, case)
    low, high = (0, 1) if dtype is np.bool else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    numbers = np.array([low, low // 2, 0, 1, 3 % (high + 1), high - high // 4, high], dtype)
    return [rng.choice(numbers, array.shape) if array.dtype.kind == "f" else array for array in arrays]


def _makes_floats_of_integers(function, case):
    if not _keeps_the_dtype(function, case) or not smooth(sample(function, case)):
        return False
    ones = [array.astype(np.int64) if array.dtype.kind == "f" else array for array in sample(function, case)]
    return function(*map(np.ones_like, ones), **settings(function, case)).dtype.kind == "f"


@law(_makes_floats_of_integers)
def integers_are_numbers(function, case):
    """What makes floats of integers and truth values gives what the same numbers give as floats, on Tensors too."""
    chosen = settings(function, case)
    for dtype in INTEGERS:
        whole = _whole(function, case, dtype)
        with np.errstate(all="ignore"):  # such as that of a float16, in which NumPy gives the exponential of an int8
            result, on_tensors = function(*whole, **chosen), function(*map(Tensor, whole), **chosen)
            exact = function(*(array.astype(np.float64) for array in whole), **chosen).astype(result.dtype)
        np.testing.assert_array_equal(on_tensors.value, result)
        assert on_tensors.dtype == result.dtype
        tolerance = 16 * float(np.finfo(result.dtype).eps)
        np.testing.assert_allclose(result, exact, rtol=tolerance, atol=tolerance)


@law(lambda function, case: elementwise(function, case) and function.arity == 2 and not case.shapes)
def numbers_are_weak(function, case):
    """Beside a float32 array a Python number, beside a float32 Tensor a NumPy number too, does not make float64."""
    x, y = sample(function, case, np.float32)
    t, u = Tensor(x), Tensor(y)
    for number, strong in ((float(y.flat[0]), np.float64), (2, np.int64)):
        for result in (function(x, number), function(t, number), function(t, strong(number))):
            assert result.dtype != np.float64
        for result in (function(number, y), function(number, u), function(strong(number), u)):
            assert result.dtype != np.float64


@law()
def gives_an_array(function, case):
    """The result on arrays is an ndarray, never a NumPy scalar, for arrays of 0 dimensions too; so are cotangents."""
    for shapes in (None, ((),) * function.arity) if elementwise(function, case) else (None,):
        arrays = sample(function, case, shapes=shapes)
        value = function(*arrays, **settings(function, case))
        assert type(value) is np.ndarray
        if shapes:
            assert value.shape == ()
        tensors, result = recorded(function, case, arrays)
        for g, i in zip(pulled(tensors, result, np.ones(result.shape, result.dtype)), smooth(arrays), strict=True):
            assert np.shape(g) == arrays[i].shape


@law(elementwise)
def broadcasts(function, case):
    """Arrays of all shapes that broadcast give what they give when repeated first; cotangents are summed back."""

    @given(mutually_broadcastable_shapes(num_shapes=function.arity, min_side=0, max_side=3, max_dims=3))
    def check(drawn):
        small = sample(function, case, shapes=drawn.input_shapes)
        full = [np.broadcast_to(array, drawn.result_shape) for array in small]
        (few, result), (many, repeated) = recorded(function, case, small), recorded(function, case, full)
        assert result.shape == drawn.result_shape
        np.testing.assert_array_equal(result.value, repeated.value)
        g = np.random.default_rng(0).uniform(-1, 1, result.shape)
        for i, one, every in zip(smooth(small), pulled(few, result, g), pulled(many, repeated, g), strict=True):
            axes = tuple(range(every.ndim - small[i].ndim))
            summed = every.sum(axes)
            kept = tuple(a for a in range(summed.ndim) if small[i].shape[a] == 1 != summed.shape[a])
            np.testing.assert_allclose(one, summed.sum(kept, keepdims=True), rtol=1e-13, atol=1e-14)

    check()


@law()
def memory_layout_does_not_matter(function, case):
    """Transposed, reversed and strided views give what contiguous arrays give."""
    arrays = sample(function, case)
    expected = function(*arrays, **settings(function, case))
    for view in (_transposed, _reversed, _strided):
        assert_close(function(*map(view, arrays), **settings(function, case)), expected, np.float64, units=4)


def _transposed(array):
    return array.T.copy().T


def _reversed(array):
    return array[(np.s_[::-1],) * array.ndim].copy()[(np.s_[::-1],) * array.ndim]


def _strided(array):
    return np.stack([array, array], axis=-1)[..., 0]


def _extreme(function, case):
    return draws_nothing(function, case) and any(d.extremes for d in function.domain)


@law(_extreme)
def is_finite_at_extremes(function, case):
    """Large and small arguments give finite values and derivatives, and not one warning, in float32 and float64."""

    @given(st.randoms(use_true_random=False), st.sampled_from([np.float32, np.float64]))
    def check(random, dtype):
        arrays = sample(function, case, dtype)
        for array, domain in zip(arrays, domains(function, len(arrays)), strict=True):
            if domain.extremes:
                array.flat = [random.choice(domain.extremes) for _ in range(array.size)]
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            tensors, result = recorded(function, case, arrays)
            cotangents = pulled(tensors, result, np.ones(result.shape, result.dtype))
        assert np.isfinite(result.value).all()
        assert all(np.isfinite(g).all() for g in cotangents)

    check()


@law(_keeps_the_dtype)
def not_a_number_shows(function, case):
    """Where all numbers of an argument are NaN, there is NaN in a floating result, and not one warning."""
    arrays = sample(function, case)
    for i in smooth(arrays):
        lost = [*arrays[:i], np.full_like(arrays[i], np.nan), *arrays[i + 1 :]]
        with np.errstate(all="raise"):
            tensors, result = recorded(function, case, lost)
            pulled(tensors, result, np.ones(result.shape, result.dtype))
        assert result.dtype.kind != "f" or np.isnan(result.value).any()


@law(lambda function, case: is_random(function))
def one_seed_gives_the_same_bits(function, case):
    """Generators of one seed draw the same, others draw something else, in the shape and dtype asked for."""

    def draw(seed):
        return function(**{**settings(function, case), "rng": np.random.default_rng(seed)})

    assert draw(1).tobytes() == draw(1).tobytes() != draw(2).tobytes()
    assert (draw(1).shape, draw(1).dtype) == (case.settings["shape"], case.settings["dtype"])
