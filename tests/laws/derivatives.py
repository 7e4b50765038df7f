"""Laws about the rules of a function."""

from __future__ import annotations

import numpy as np

from tests.laws.lawbook import draws_nothing, law
from tests.laws.slopes import slope
from tests.laws.subjects import Tensor, generator, pulled, recorded, sample, settings, smooth
from tinygrad_bn.autodiff.pullback import pullback

SHARP = 1e-9  # a check by differences must be able to see an error of this size, relative to the terms it adds


def assert_slope(phi, exact, terms, where):
    """`exact` is the derivative of phi at 0, as far as its values can tell."""
    scale = float(np.sum(np.abs(terms))) + abs(exact)
    numeric = slope(phi, scale)
    assert numeric.bound <= SHARP * max(scale, 1), f"the check is blunt: {numeric}"
    assert abs(exact - numeric.value) <= numeric.bound, f"{where}: rule {exact!r}, differences {numeric}"


def direction(rng, like):
    """Weights of all magnitudes up to 1, none of them near 0."""
    return np.asarray(rng.uniform(0.3, 1.0, np.shape(like)) * rng.choice([-1.0, 1.0], np.shape(like)))


def _smooth(function, case):
    return draws_nothing(function, case) and bool(smooth(sample(function, case)))


@law(_smooth)
def first_derivatives_are_right(function, case):
    """The pullback is the derivative, by differences of the forward along a random direction, argument by argument.

    Where there is no rule, the derivative is 0.
    """
    arrays, chosen, rng = sample(function, case), settings(function, case), generator(function, case)
    tensors, result = recorded(function, case, arrays)
    w = direction(rng, result.value)
    for i, g in zip(smooth(arrays), pulled(tensors, result, w), strict=True):
        d = direction(rng, arrays[i])

        def along(t, i=i, d=d):
            return float(np.sum(w * function(*arrays[:i], arrays[i] + t * d, *arrays[i + 1 :], **chosen)))

        assert_slope(along, float(np.sum(g * d)), w * result.value, f"argument {i}")


@law(_smooth)
def second_derivatives_are_right(function, case):
    """The pullback of the pullback is its derivative, by differences, for each argument and for the cotangent."""
    arrays, rng = sample(function, case), generator(function, case)
    tensors, result = recorded(function, case, arrays)
    g = direction(rng, result.value)
    weights = [direction(rng, arrays[i]) for i in smooth(arrays)]

    def weighted(points):
        moved = recorded(function, case, points[:-1])
        return float(sum(np.sum(w * p) for w, p in zip(weights, pulled(*moved, points[-1]), strict=True)))

    cotangent = Tensor(g, requires_grad=True)
    first = pulled(tensors, result, cotangent, on_tensors=True)
    total = sum((p * w).sum() for p, w in zip(first, weights, strict=True))
    second = pullback([total], [np.ones(())], None, on_tensors=False) if total.requires_grad else {}
    terms = np.concatenate([np.ravel(p.value * w) for p, w in zip(first, weights, strict=True)])
    points = [*arrays, g]
    for i in [*smooth(arrays), len(arrays)]:
        d = direction(rng, points[i])

        def along(t, i=i, d=d):
            return weighted([*points[:i], points[i] + t * d, *points[i + 1 :]])

        exact = second.get([*tensors, cotangent][i], np.zeros(()))
        assert_slope(along, float(np.sum(exact * d)), terms, f"variable {i}")


@law(_smooth)
def rules_say_the_same_of_arrays_and_tensors(function, case):
    """The one text of a rule gives the same on arrays as on Tensors, to the last place."""
    for dtype in (np.float32, np.float64):
        tensors, result = recorded(function, case, sample(function, case, dtype))
        g = direction(generator(function, case), result.value).astype(result.dtype)
        on_arrays = pulled(tensors, result, g)
        on_tensors = pulled(tensors, result, Tensor(g), on_tensors=True)
        for one, other in zip(on_arrays, on_tensors, strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_max_ulp(np.asarray(one), other.value, maxulp=1)


@law(_smooth)
def constants_change_no_derivative(function, case):
    """Beside plain arrays the first and second derivatives by an argument are what they are beside Tensors."""
    arrays, rng = sample(function, case), generator(function, case)
    w = direction(rng, function(*arrays, **settings(function, case)))
    for i in smooth(arrays):
        d = direction(rng, arrays[i])
        alone, among = (_derivatives(function, case, arrays, i, w, d, kinds) for kinds in ([i], smooth(arrays)))
        for one, other in zip(alone, among, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def _several(function, case):
    return draws_nothing(function, case) and len(smooth(sample(function, case))) > 1


@law(_several)
def integers_change_no_derivative(function, case):
    """Beside integers the first and second derivatives by an argument are what they are beside floats of that size."""
    arrays, rng = sample(function, case), generator(function, case)
    w = direction(rng, function(*arrays, **settings(function, case)))
    for i in smooth(arrays):
        d, others = direction(rng, arrays[i]), set(smooth(arrays)) - {i}
        for dtype in (np.int8, np.uint8, np.bool):
            whole = [np.resize([0, 1, 2], a.shape).astype(dtype) if j in others else a for j, a in enumerate(arrays)]
            exact = [a.astype(np.float64) if j in others else a for j, a in enumerate(whole)]
            with np.errstate(all="ignore"):  # some divide by the 0 among them
                beside = (_derivatives(function, case, given, i, w, d, [i]) for given in (whole, exact))
                for one, other in zip(*beside, strict=True):
                    np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def _derivatives(function, case, arrays, i, w, d, kinds):
    """The cotangent of argument i, and that of its product with d; the arguments in `kinds` are Tensors."""
    args = [Tensor(array, requires_grad=True) if j in kinds else array for j, array in enumerate(arrays)]
    result = function(*args, **settings(function, case))
    (first,) = pulled([args[i]], result, Tensor(w), on_tensors=True)
    along = (first * d).sum()
    return first.value, pulled([args[i]], along, np.ones(()))[0] if along.requires_grad else np.zeros(arrays[i].shape)
