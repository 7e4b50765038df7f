from decimal import Decimal, localcontext

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.ops.kinks import KINKS
from tinygrad_bn import layers
from tinygrad_bn.errors import AxisError, SettingError, ShapeError
from tinygrad_bn.ops.activations import SELU_ALPHA, SELU_SCALE

X = np.random.default_rng(0).normal(size=(6, 5, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("layer", "function"),
    [
        (layers.ReLU(), tg.relu),
        (layers.LeakyReLU(), tg.leaky_relu),
        (layers.ELU(), tg.elu),
        (layers.SELU(), tg.selu),
        (layers.Softmax(), tg.softmax),
        (layers.RReLU().eval(), lambda x: tg.rrelu(x, training=False)),
    ],
)
def test_a_functions_defaults_are_its_layers(layer, function):
    assert np.array_equal(layer(X), function(X))


def test_settings_reach_the_function():
    assert np.array_equal(layers.LeakyReLU(0.01)(X), tg.leaky_relu(X, alpha=0.01))
    assert np.array_equal(layers.ELU(alpha=2.0)(X), tg.elu(X, alpha=2.0))
    assert np.array_equal(layers.Softmax(axis=1)(X), tg.softmax(X, axis=1))


def test_prelu_starts_as_relu_and_learns_one_slope_per_place():
    layer = layers.PReLU()
    assert np.array_equal(layer(X), tg.relu(X))
    assert layer.alpha.shape == (5, 4)
    layer(X).sum().backward()
    np.testing.assert_allclose(layer.alpha.grad.numpy(), np.minimum(X, 0).sum(axis=0), rtol=1e-5)


def test_prelu_shares_slopes_along_axes_counted_from_the_batch():
    layer = layers.PReLU("ones", shared_axes=[1])
    assert np.array_equal(layer(X), X)
    assert layer.alpha.shape == (1, 4)
    assert layers.PReLU(shared_axes=(1, 2), input_shape=[5, 4]).parameters()[0].shape == (1, 1)
    assert layers.PReLU(shared_axes=-1, input_shape=[5, 4]).parameters()[0].shape == (5, 1)
    with pytest.raises(ShapeError, match=r"PReLU expects x of shape \(batch, 5, 4\); got \(6, 4, 5\)"):
        layer(X.transpose(0, 2, 1))


@pytest.mark.parametrize("axes", [0, [3], [1, -2], "1", [1.0]])
def test_prelu_cannot_share_along_the_batch_or_beyond(axes):
    with pytest.raises(
        AxisError, match=r"^PReLU expects shared_axes to name (some of the axes 1 to 2|axes of x, from 1 on); got "
    ):
        layers.PReLU(shared_axes=axes)(X)


@pytest.mark.parametrize("shared_axes", [None, 1, [2], (1, 2), [-1]])
def test_prelus_gradient_is_summed_over_the_batch_and_the_shared_axes(shared_axes):
    layer = layers.PReLU("random_normal", shared_axes)
    layer(X).sum().backward()
    given = (shared_axes,) if isinstance(shared_axes, int) else shared_axes or ()
    axes = (0, *(axis % 3 for axis in given))
    expected = np.minimum(X, 0).sum(axes, keepdims=True)[0]
    assert layer.alpha.shape == expected.shape
    np.testing.assert_allclose(layer.alpha.grad.numpy(), expected, rtol=1e-5)
    assert tg.gradcheck(layer, X, order=2)


def test_rrelu_draws_slopes_in_training_and_takes_their_mean_afterwards():
    layer = layers.RReLU(lower=0.1, upper=0.3, seed=0)
    x = -np.ones((200, 200), np.float32)
    slopes = -layer(x)
    assert slopes.min() >= np.float32(0.1)
    assert slopes.max() <= np.float32(0.3)
    assert abs(slopes.mean() - 0.2) < 3 * 0.2 / np.sqrt(12) / 200
    np.testing.assert_allclose(layer(x, training=False), 0.2 * x, rtol=1e-6)
    assert np.array_equal(layer(-x), -x)


def test_rrelus_slope_in_inference_is_11_48ths_by_default():
    assert layers.RReLU()(np.array([[-48.0]]), training=False).item() == pytest.approx(-11)


def slopes_of(layer, x):
    """d layer / d x, element by element."""
    x = tg.tensor(x, requires_grad=True)
    tg.sum(layer(x)).backward()
    return x.grad.numpy()


def test_rrelus_slope_at_0_is_the_one_that_was_drawn():
    layer = layers.RReLU(seed=0)
    with tg.frozen_state():
        drawn = -layer(-np.ones((40, 40)))
    slopes = slopes_of(layer, np.zeros((40, 40), np.float32))
    np.testing.assert_array_equal(slopes, drawn)
    assert 1 / 8 <= slopes.min() < slopes.max() <= 1 / 3


# SELU's constants


def erf_of_root(square):
    """erf(sqrt(square)), by its power series, which converges everywhere; to as many digits as the context has."""
    term = square.sqrt()
    total, n = term, 0
    while abs(term) > Decimal(10) ** -50:
        n += 1
        term *= -square / n
        total += term / (2 * n + 1)
    return 2 * total / PI.sqrt()


PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494")


def test_selus_constants_have_every_digit_of_the_fixed_point():
    """Klambauer et al. (2017), appendix A: alpha makes the mean of selu(z) 0, scale its variance 1, z standard normal.

    E[exp(z); z < 0] = exp(1/2) * erfc(sqrt(1/2)) / 2 and E[exp(2 z); z < 0] = exp(2) * erfc(sqrt(2)) / 2. In float64
    the formula loses the last digits of alpha.
    """
    with localcontext() as context:
        context.prec = 60
        half = Decimal("0.5")
        first = half.exp() * (1 - erf_of_root(half)) / 2
        second = Decimal(2).exp() * (1 - erf_of_root(Decimal(2))) / 2
        alpha = 1 / (2 * PI).sqrt() / (half - first)
        scale = 1 / (half + alpha * alpha * (second - 2 * first + half)).sqrt()
        assert abs(alpha - Decimal("1.6732632423543772848170429916717")) < Decimal("1e-31")
        assert abs(scale - Decimal("1.0507009873554804934193349852946")) < Decimal("1e-31")
    assert (float(alpha), float(scale)) == (SELU_ALPHA, SELU_SCALE)
    assert -layers.SELU(dtype="float64")(np.array([[-1e4]])).item() == SELU_ALPHA * SELU_SCALE == 1.7580993408473766


# Exponentials


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [layers.ELU, lambda **o: layers.ELU(2.0, **o), layers.SELU], ids=["1", "2", "selu"])
def test_exponentials_never_overflow_and_keep_their_digits_near_0(make, dtype):
    largest = np.finfo(dtype).max / 2
    x = np.array([[-np.inf, -largest, -1e30, -800, -1e-30, 0, 1e-30, 800, 1e30, largest, np.inf]]).astype(dtype)
    layer = make(dtype=dtype)
    with np.errstate(all="raise", under="ignore"):
        y, slopes = layer(x), slopes_of(layer, x[:, :-2])
    limit, right = -y[0, 0], y[0, -4] / dtype(800)
    np.testing.assert_array_equal(y[0, :4], -limit)
    np.testing.assert_allclose(y[0, 4:7] / dtype(1e-30), [-limit, 0, right], rtol=1e-6)
    np.testing.assert_array_equal(slopes[0, :4], 0)
    np.testing.assert_allclose(slopes[0, 4:], [limit, limit, right, right, right], rtol=1e-6)


# Kinks


def test_no_activation_with_a_kink_is_missing_from_the_published_table():
    """What is not smooth everywhere says so by its domain; the table has a row for each."""
    activations = [f for f in tg.primitives.Function.registry if f.__module__ == tg.relu.__module__]
    kinked = {f.__name__ for f in activations if any(d.name.startswith("away from") for d in f.domain)}
    assert {"relu", "prelu", "selu", "hard_sigmoid"} <= kinked
    assert kinked <= {kink.expression.partition("(")[0] for kink in KINKS}


@pytest.mark.parametrize(
    ("layer", "expression"),
    [
        (layers.ReLU(), "relu(x)"),
        (layers.LeakyReLU(), "leaky_relu(x)"),
        (layers.RReLU().eval(), "rrelu(x, training=False)"),
        (layers.ELU(), "elu(x)"),
        (layers.ELU(0.5), "elu(x, alpha=0.5)"),
        (layers.SELU(), "selu(x)"),
        (layers.Activation("celu"), "celu(x, alpha=0.5)"),
        (layers.Activation("softsign"), "softsign(x)"),
        (layers.Activation("hard_sigmoid"), "hard_sigmoid(x)"),
    ],
    ids=str,
)
def test_at_its_kinks_a_layer_has_the_derivative_of_the_table(layer, expression):
    kinks = [kink for kink in KINKS if kink.expression == expression]
    assert kinks
    for kink in kinks:
        x = np.array([[kink.at["x"]]], np.float32)
        assert slopes_of(layer, x).item() == np.float32(kink.derivative["x"])


def test_at_its_kink_prelu_takes_alpha_and_gives_alpha_nothing():
    layer = layers.PReLU(tg.initializers.Constant(0.25))
    assert slopes_of(layer, np.zeros((1, 1), np.float32)).item() == 0.25
    assert layer.alpha.grad.item() == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.LeakyReLU(-0.1), "LeakyReLU expects alpha to be a finite number not below 0; got -0.1"),
        (lambda: layers.ELU(alpha="1"), "ELU expects alpha to be a finite number not below 0; got '1'"),
        (lambda: layers.ELU(alpha=np.inf), "got inf"),
        (lambda: layers.RReLU(0.4, 0.3), "RReLU expects lower not above upper; got lower=0.4, upper=0.3"),
        (lambda: layers.RReLU(-0.4), "RReLU expects lower to be a finite number not below 0; got -0.4"),
        (lambda: layers.PReLU("he"), "unknown initializer 'he' in PReLU"),
        (lambda: layers.Activation("prelu"), r"activation 'prelu' in Activation is no .*give layers.PReLU\(\) instead"),
        (lambda: layers.Dense(3, "rrelu"), r"activation 'rrelu' in Dense is no function of x .*give layers.RReLU\(\)"),
    ],
)
def test_wrong_settings(call, message):
    with pytest.raises(SettingError, match=message):
        call()


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (layers.LeakyReLU(), "alpha"),
        (layers.ELU(), "alpha"),
        (layers.Dropout(0.5), "rate"),
        (layers.GaussianNoise(0.5), "stddev"),
        (layers.BatchNormalization(), "epsilon"),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_a_setting_is_checked_whenever_it_is_set(layer, name):
    before = getattr(layer, name)
    for wrong in (-0.5, "a", None):
        with pytest.raises(SettingError, match=rf"^{type(layer).__name__} expects {name} to be a .*; got {wrong!r}"):
            setattr(layer, name, wrong)
    assert getattr(layer, name) == before
    setattr(layer, name, 0.25)
    assert getattr(layer, name) == 0.25


def test_the_axes_that_prelu_shares_are_looked_at_before_its_first_call():
    for wrong in ("a", [1.0], 1.5, True):
        with pytest.raises(AxisError, match=r"^PReLU expects shared_axes to name axes of x, from 1 on; got"):
            layers.PReLU(shared_axes=wrong)


def test_every_named_function_is_in_the_module_of_activations():
    functions = {name for name, function in layers.activations.FUNCTIONS.items() if function is not None}
    assert functions - {"exponential", "swish"} == set(dir(tg.activations)) - {"get"}
    assert tg.activations.get("swish") is tg.activations.silu


@pytest.mark.parametrize("alpha", [0.1, 0.3, 1 / 3, 1e8, -3e8])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_slope_of_a_leaky_rectifier_is_1_or_alpha_to_the_last_bit(alpha, dtype):
    x = np.array([-2, -1e-3, 0, 1e-3, 2], dtype)
    expected = np.where(x > 0, 1, dtype(alpha))
    np.testing.assert_array_equal(tg.grad(lambda x: tg.leaky_relu(x, alpha).sum())(x), expected)
    np.testing.assert_array_equal(tg.grad(lambda x: tg.prelu(x, np.array([alpha], dtype)).sum())(x), expected)


def test_gradcheck_sees_that_a_slope_which_no_value_meets_changes_nothing():
    layer = layers.PReLU("random_normal", input_shape=4)
    assert tg.gradcheck(layer, np.random.default_rng(0).uniform(0.5, 1.0, (3, 4)), order=2)
