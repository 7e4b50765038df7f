import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.clipping import global_norm
from tinygrad_bn.errors import DtypeError, SettingError

rng = np.random.default_rng(0)


def with_gradients(*gradients):
    parameters = [tg.Parameter(np.zeros_like(g), name=f"w{place}") for place, g in enumerate(gradients)]
    for parameter, g in zip(parameters, gradients, strict=True):
        parameter.grad = tg.tensor(g)
    return parameters


def gradients_of(parameters):
    return [parameter.grad.numpy() for parameter in parameters]


@pytest.mark.parametrize("norm_type", [1, 2, np.inf, "inf", 3, 0.5, 10.0])
def test_the_norm_is_that_of_all_elements_together_and_comes_back_from_before_clipping(norm_type):
    given = [rng.normal(size=(3, 2)), rng.normal(size=4), np.zeros((0, 2))]
    expected = np.linalg.norm(np.concatenate([g.ravel() for g in given]), float(norm_type))
    parameters = with_gradients(*given)
    np.testing.assert_allclose(tg.clip_grad_norm(parameters, 0.1, norm_type=norm_type), expected, rtol=1e-14)
    np.testing.assert_allclose(global_norm(gradients_of(parameters), float(norm_type)), 0.1, rtol=1e-14)
    for g, was in zip(gradients_of(parameters), given, strict=True):
        np.testing.assert_allclose(g, was * (0.1 / expected), rtol=1e-14)


def test_a_norm_within_its_limit_changes_no_bit():
    given = [rng.normal(size=(3, 2)).astype(np.float32), rng.normal(size=4)]
    for limit in (float(global_norm(given)), 1e9):
        parameters = with_gradients(*given)
        tg.clip_grad_norm(parameters, limit)
        for g, was in zip(gradients_of(parameters), given, strict=True):
            assert g.dtype == was.dtype
            assert g.tobytes() == was.tobytes()


@pytest.mark.parametrize(
    ("dtype", "huge"), [("float32", 1e38), ("float32", 1e-40), ("float64", 1e300), ("float64", 1e-300)]
)
def test_finite_gradients_have_a_finite_norm_and_keep_their_direction(dtype, huge):
    (parameter,) = with_gradients(np.array([huge, -huge, huge, huge], dtype))
    norm = tg.clip_grad_norm([parameter], 1e-308)
    np.testing.assert_allclose(norm, 2 * float(np.array(huge, dtype)), rtol=1e-12)
    if huge > 1:
        parameter.grad = tg.tensor(np.array([huge, -huge, huge, huge], dtype))
        tg.clip_grad_norm([parameter], 1.0)
        np.testing.assert_allclose(parameter.grad.numpy(), [0.5, -0.5, 0.5, 0.5], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_gradients_that_are_not_finite_raise_by_name_or_are_kept(bad):
    given = [np.array([1.0, 2.0]), np.array([3.0, bad])]
    parameters = with_gradients(*given)
    with pytest.raises(FloatingPointError, match=r"in that of w1 of shape \(2,\)$"):
        tg.clip_grad_norm(parameters, 1.0)
    assert not np.isfinite(tg.clip_grad_norm(parameters, 1.0, nonfinite="keep"))
    np.testing.assert_array_equal(gradients_of(parameters), given)
    with pytest.raises(FloatingPointError, match=r"in number 1$"):
        tg.clip_by_global_norm(given, 1.0)


@pytest.mark.parametrize("norm_type", [1, 2, 2.5, np.inf])
def test_float32_entries_of_1e19_whose_squares_overflow(norm_type):
    (parameter,) = with_gradients(np.full(16, 1e19, np.float32))
    expected = float(np.float32(1e19)) * 16 ** (1 / norm_type)
    np.testing.assert_allclose(tg.clip_grad_norm([parameter], 1.0, norm_type=norm_type), expected, rtol=1e-12)
    np.testing.assert_allclose(parameter.grad.numpy(), 16 ** (-1 / norm_type), rtol=1e-6)


@pytest.mark.parametrize("norm_type", [0.5, 1, 2, 3, np.inf])
@pytest.mark.parametrize(("elements", "expected"), [([0.0, 0.0], 0), ([1.0, np.inf], np.inf), ([np.nan, 1.0], np.nan)])
def test_the_norm_of_zeros_is_0_and_that_of_what_is_not_finite_is_not(norm_type, elements, expected):
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(global_norm([np.array(elements, dtype), np.ones(0, dtype)], norm_type), expected)


def test_elements_that_are_not_finite_can_be_taken_for_0():
    parameters = with_gradients(np.array([3.0, np.nan]), np.array([-np.inf, 4.0]))
    assert tg.clip_grad_norm(parameters, 1.0, nonfinite="zero") == 5
    np.testing.assert_allclose(gradients_of(parameters), [[0.6, 0], [0, 0.8]])


def test_clip_by_value_and_by_global_norm():
    (parameter,) = with_gradients(np.array([-3.0, -0.5, 0.0, 2.0], np.float32))
    tg.clip_grad_value([parameter], 1.5)
    np.testing.assert_array_equal(parameter.grad.numpy(), np.array([-1.5, -0.5, 0.0, 1.5], np.float32))
    arrays, norm = tg.clip_by_global_norm([np.array([3.0]), np.array([[4.0]])], 1.0)
    assert norm == 5
    np.testing.assert_allclose(np.concatenate(arrays, axis=None), [0.6, 0.8])


@pytest.mark.parametrize("norm_type", [1, 2, np.inf, "inf", 3])
@pytest.mark.parametrize("given", [list, tuple, iter])
def test_arrays_are_clipped_as_gradients_are(norm_type, given):
    arrays = [rng.normal(size=(3, 2)), rng.normal(size=4)]
    parameters = with_gradients(*arrays)
    clipped, norm = tg.clip_by_global_norm(given(arrays), 0.1, norm_type=norm_type)
    assert norm == tg.clip_grad_norm(parameters, 0.1, norm_type=norm_type)
    for array, gradient in zip(clipped, gradients_of(parameters), strict=True):
        np.testing.assert_array_equal(array, gradient)


def test_what_is_no_list_of_floating_arrays_is_refused_by_place():
    for wrong in (np.ones((2, 2)), tg.tensor([1.0]), 3.0, None):
        with pytest.raises(
            TypeError, match=rf"^clip_by_global_norm expects a list of arrays; got {type(wrong).__name__}$"
        ):
            tg.clip_by_global_norm(wrong, 1.0)
    for wrong in ([3.0, 4.0], 3.0, None, "a"):
        with pytest.raises(
            TypeError, match=f"^clip_by_global_norm expects arrays or Tensors; got {type(wrong).__name__} as number 1$"
        ):
            tg.clip_by_global_norm([np.ones(2), wrong], 1.0)
    for unfit in (np.array([3, 4]), np.array([True]), np.array([1j])):
        with pytest.raises(
            DtypeError, match=f"^clip_by_global_norm expects floating arrays; got {unfit.dtype} as number 0$"
        ):
            tg.clip_by_global_norm([unfit], 1.0)
    with pytest.raises(
        SettingError, match="clip_by_global_norm expects norm_type to be inf or a finite number above 0"
    ):
        tg.clip_by_global_norm([np.ones(2)], 1.0, norm_type=0)


def test_the_norms_of_an_optimizer_are_euclidean():
    for setting, kept in (("clipnorm", [0.6, 0.8]), ("global_clipnorm", [0.6, 0.8])):
        (parameter,) = with_gradients(np.array([3.0, 4.0]))
        tg.optimizers.SGD(1.0, **{setting: 1.0}).step([parameter])
        np.testing.assert_allclose(parameter.numpy(), np.negative(kept), rtol=1e-15)


def test_parameters_without_a_gradient_are_passed_over_and_repeated_ones_count_once():
    (parameter,) = with_gradients(np.array([3.0, 4.0]))
    assert tg.clip_grad_norm([tg.Parameter(np.ones(2)), parameter, parameter], 1.0) == 5
    assert tg.clip_grad_norm([tg.Parameter(np.ones(2))], 1.0) == 0


def test_wrong_arguments():
    parameters = with_gradients(np.ones(2))
    for limit in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"max_norm to be a finite number above 0; got {limit}"):
            tg.clip_grad_norm(parameters, limit)
        with pytest.raises(ValueError, match="clip to be a finite number above 0"):
            tg.clip_grad_value(parameters, limit)
    for wrong in (0, -2, "a", np.nan):
        with pytest.raises(
            ValueError, match=f"clip_grad_norm expects norm_type to be inf or a .* above 0; got {wrong!r}"
        ):
            tg.clip_grad_norm(parameters, 1.0, norm_type=wrong)
    with pytest.raises(ValueError, match=r"unknown nonfinite 'rase' in clip_grad_norm\(\)\. Did you mean 'raise'"):
        tg.clip_grad_norm(parameters, 1.0, nonfinite="rase")
    with pytest.raises(ValueError, match=r"unknown nonfinite 'skip' in clip_grad_norm\(\)"):
        tg.clip_grad_norm(parameters, 1.0, nonfinite="skip")


@pytest.mark.parametrize("clip", [tg.clip_grad_norm, tg.clip_grad_value])
def test_what_is_no_list_of_parameters_is_refused_and_not_left_unclipped(clip):
    (parameter,) = with_gradients(np.array([3.0, 4.0]))
    for wrong in (parameter, tg.layers.Dense(2), tg.Sequential([tg.layers.Dense(2)]), None):
        with pytest.raises(
            TypeError,
            match=rf"^{clip.__name__} expects a list such as model\.parameters\(\); got {type(wrong).__name__}$",
        ):
            clip(wrong, 1.0)
    for wrong in (["w"], [np.ones(2)], [tg.tensor(np.ones(2))], [tg.variables.State(np.ones(2))]):
        with pytest.raises(TypeError, match=r"expects Parameters, such as model\.parameters\(\); got "):
            clip(wrong, 1.0)
    np.testing.assert_array_equal(parameter.grad.numpy(), [3.0, 4.0])
