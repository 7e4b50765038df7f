import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.errors import DtypeError, NotBuiltError, ShapeError

rng = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(50,), (50, 3), (5000, 2, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_standardized_features_have_mean_0_and_standard_deviation_1(shape, dtype):
    x = (rng.normal(size=shape) * 3 + 1000).astype(dtype)
    before = x.copy()
    z = tg.Standardizer().fit_transform(x)
    assert z.dtype == dtype
    np.testing.assert_array_equal(x, before)
    np.testing.assert_allclose(z.mean(axis=0, dtype=float), 0, atol=1e-6)
    np.testing.assert_allclose(z.std(axis=0, dtype=float), 1, rtol=1e-6)
    np.testing.assert_allclose(z, (x - x.mean(0, float)) / x.std(0, dtype=float), atol=1e-6)


def test_a_constant_feature_is_shifted_to_0():
    x = np.full((1000, 2), 0.1)
    x[:, 1] = rng.normal(size=1000)
    standardizer = tg.Standardizer().fit(x)
    assert standardizer.scale[0] == 1
    assert not standardizer.transform(x)[:, 0].any()


@pytest.mark.parametrize("size", [1e150, 1e-150])
def test_any_feature_whose_deviations_can_be_squared_is_standardized(size):
    z = tg.Standardizer().fit_transform(size * rng.normal(size=(100, 2)))
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-12)


def test_deviations_that_cannot_be_squared_are_refused_and_their_feature_is_named():
    for beyond in (1e155, 1.7e308):
        x = np.array([[1.0, beyond], [2.0, -beyond]])
        with pytest.raises(ValueError, match=r"square; got some beyond 1e154, the first in x\[:, 1\]$"):
            tg.Standardizer().fit(x)


def test_deviations_whose_squares_vanish_are_those_of_a_constant():
    x = np.array([[1e-200, 1.0], [-1e-200, 2.0], [1e-300, 6.0]])
    standardizer = tg.Standardizer().fit(x)
    assert standardizer.scale[0] == 1
    np.testing.assert_allclose(standardizer.transform(x)[:, 0], 0, atol=1e-199)


def test_standardized_inputs_let_selu_begin_at_its_fixed_point():
    """Mean 0 and variance 1 in every pixel that varies, of real images, in float32 and from bytes."""
    (images, _), _ = tg.datasets.load_digits()
    for x in (images.astype(np.uint8), images.astype(np.float32)):
        z = tg.Standardizer().fit_transform(x).astype(np.float64)
        varies = images.std(axis=0) > 0
        np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(z.var(axis=0)[varies], 1, rtol=1e-5)
        assert not z[:, ~varies].any()


def test_integers_become_float32_and_new_samples_use_what_was_learned():
    x = np.array([[0, 10], [2, 30]], np.uint8)
    standardizer = tg.Standardizer().fit(x)
    z = standardizer.transform(np.array([[4, 20]], np.uint8))
    assert z.dtype == np.float32
    np.testing.assert_array_equal(z, [[3, 0]])


def test_wrong_input():
    standardizer = tg.Standardizer()
    with pytest.raises(NotBuiltError, match="call fit"):
        standardizer.transform(np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"n > 0; got \(0, 3\)"):
        standardizer.fit(np.ones((0, 3)))
    with pytest.raises(ValueError, match=r"finite numbers; got 2 that are not, the first at x\[1, 0\]"):
        standardizer.fit(np.array([[1.0, 2.0], [np.nan, 3.0], [1.0, np.inf]]))
    for unreal in (np.ones((2, 3), complex), [["a"], ["b"]]):
        with pytest.raises(DtypeError, match="expects real numbers; got"):
            standardizer.fit(unreal)
    assert standardizer.mean is None
    standardizer.fit(np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"of shape \(3,\); got \(4,\)"):
        standardizer.transform(np.ones((2, 4)))
    assert "(3,)" in repr(standardizer)
