import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn import layers
from tinygrad_bn.errors import SettingError

N = 200
ONES = np.ones((N, N), np.float32)
NORMAL = np.random.default_rng(0).normal(size=(N, N)).astype(np.float32)
RATES = [0.05, 0.3, 0.9]


@pytest.mark.parametrize("rate", RATES)
def test_dropout_keeps_the_mean(rate):
    y = layers.Dropout(rate, seed=1)(ONES)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1) / np.float32(1 - rate)}
    assert abs((y == 0).mean() - rate) < 3 * np.sqrt(rate * (1 - rate)) / N
    assert abs(y.mean() - 1) < 3 * np.sqrt(rate / (1 - rate)) / N


@pytest.mark.parametrize("rate", RATES)
def test_alpha_dropout_keeps_mean_and_variance(rate):
    y = layers.AlphaDropout(rate, seed=1)(NORMAL).astype(np.float64)
    squares = (y - y.mean()) ** 2
    assert abs(y.mean()) < 3 * y.std() / N
    assert abs(squares.mean() - 1) < 3 * squares.std() / N
    dropped = np.unique(y, return_counts=True)[1].max() / y.size
    assert abs(dropped - rate) < 3 * np.sqrt(rate * (1 - rate)) / N


def test_gaussian_noise_adds_what_it_says():
    noise = layers.GaussianNoise(0.5, seed=1)(NORMAL) - NORMAL
    assert abs(noise.mean()) < 3 * 0.5 / N
    assert abs(noise.std() - 0.5) < 3 * 0.5 / np.sqrt(2) / N


@pytest.mark.parametrize("kind", [layers.Dropout, layers.AlphaDropout, layers.GaussianNoise])
def test_at_zero_and_in_inference_they_are_the_identity(kind):
    assert kind(0.0)(NORMAL) is NORMAL
    assert kind(0.5)(NORMAL, training=False) is NORMAL
    assert kind(0.5).eval()(NORMAL) is NORMAL


def test_the_gradient_of_dropout_is_its_mask():
    x = tg.tensor(ONES, requires_grad=True)
    y = layers.Dropout(0.5, seed=0)(x)
    y.sum().backward()
    assert np.array_equal(x.grad, y)


# Rates at their limits

LIMITS = [5e-324, 1e-12, 0.999, 1 - 2**-24, 1 - 2**-53]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rate", LIMITS)
@pytest.mark.parametrize("kind", [layers.Dropout, layers.AlphaDropout])
def test_at_the_limits_of_the_rate_all_is_finite_and_no_warning_comes(kind, rate, dtype):
    with np.errstate(all="raise", under="ignore"):
        y = kind(rate, seed=0, dtype=dtype)(NORMAL)
    assert y.dtype == dtype
    assert np.isfinite(y).all()
    if rate < 0.5:
        np.testing.assert_allclose(y, NORMAL, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rate", [1 - 2**-24, 1 - 2**-53])
def test_as_the_rate_goes_to_1_alpha_dropout_goes_to_0(rate):
    """What is dropped becomes a * limit * (1 - rate), which is some sqrt(1 - rate); what is kept grows without end."""
    y = layers.AlphaDropout(rate, seed=0, dtype=np.float64)(NORMAL[:20, :20])
    assert len(np.unique(y)) == 1
    assert 0 < -y[0, 0] < np.sqrt(1 - rate)


@pytest.mark.parametrize("rate", [0.001, 0.5, 0.99])
def test_alpha_dropout_keeps_mean_and_variance_exactly(rate):
    """The law of total variance, with the two numbers that one element can become."""
    limit, x = -1.7580993408473766, np.zeros((100, 100))
    high = layers.AlphaDropout(0.0, dtype=np.float64)(x).max()
    shifted = layers.AlphaDropout(rate, seed=0, dtype=np.float64)
    b_and_dropped = np.unique(shifted(x))
    scale = np.unique(shifted(x + 1)).max() - b_and_dropped.max()
    b, dropped = b_and_dropped.max(), b_and_dropped.min()
    assert high == 0
    assert dropped == pytest.approx(scale * limit + b)
    mean = (1 - rate) * b + rate * dropped
    variance = (1 - rate) * (scale * scale + b * b) + rate * dropped * dropped - mean * mean
    assert mean == pytest.approx(0, abs=1e-12)
    assert variance == pytest.approx(1, rel=1e-12)


# Replayable randomness

NOISY = {
    "dropout": lambda **o: layers.Dropout(0.4, **o),
    "alpha dropout": lambda **o: layers.AlphaDropout(0.4, **o),
    "gaussian noise": lambda **o: layers.GaussianNoise(0.4, **o),
    "rrelu": lambda **o: layers.RReLU(**o),
}
SOURCES = {
    "shared": dict,
    "seed": lambda: {"seed": 3},
    "generator": lambda: {"rng": np.random.default_rng(3)},
}
noisy = pytest.mark.parametrize("make", NOISY.values(), ids=NOISY)
sources = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
SMALL = NORMAL[:6, :5].astype(np.float64)


def bits(array):
    return np.asarray(array).tobytes()


@noisy
@sources
def test_gradients_can_be_checked_in_training_to_the_second_order_and_no_generator_moves_on(make, source):
    tg.set_random_seed(1)
    layer, twin = make(**source(), dtype=np.float64), make(**source(), dtype=np.float64)
    certificate = tg.gradcheck(lambda x: tg.tanh(layer(x, training=True)), SMALL, order=2)
    assert certificate
    assert {verdict.kind for verdict in certificate.verdicts.values()} == {"OK"}
    checked = layer(SMALL)
    tg.set_random_seed(1)
    assert bits(checked) == bits(twin(SMALL))


@noisy
@sources
def test_the_hessian_is_that_of_the_draw_that_was_made(make, source):
    """Where a layer is s * x + n element by element, that of sum(tanh(layer(x))) is diagonal: s * s * tanh''."""
    layer = make(**source(), dtype=np.float64)

    def f(x):
        return tg.sum(tg.tanh(layer(x)))

    x = SMALL[:2, :3]
    with tg.frozen_state():
        y = layer(x)
    with tg.frozen_state():
        slopes = tg.grad(lambda x: tg.sum(layer(x)))(x)
    with tg.frozen_state():
        hessian = tg.hessian(f)(x).reshape(6, 6)
    t = np.tanh(y)
    expected = slopes * slopes * -2 * t * (1 - t * t)
    np.testing.assert_allclose(hessian, np.diag(expected.ravel()), rtol=1e-12, atol=1e-15)


@noisy
@sources
def test_forward_and_backward_meet_one_draw(make, source):
    """The layer is linear in x where no sign changes, so x' - x and the gradient tell the same slopes."""
    layer = make(**source(), dtype=np.float64)
    x = tg.tensor(SMALL, requires_grad=True)
    with tg.frozen_state():
        doubled = layer(SMALL * 2)
    y = layer(x)
    tg.sum(y).backward()
    np.testing.assert_allclose(x.grad.numpy() * SMALL, doubled - y.numpy(), rtol=1e-9, atol=1e-12)


@noisy
@sources
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_captured_layer_draws_what_an_eager_one_draws_bit_for_bit(make, source, dtype):
    def run(layer, x):
        y = layer(x)
        tg.sum(tg.square(y)).backward()
        found, x.grad = x.grad, None
        return y, found

    def drawn(wrap):
        layer, results = make(**source(), dtype=dtype), []
        step = wrap(lambda x: run(layer, x))
        tg.set_random_seed(2)
        for number in range(6):
            if number == 3:
                tg.set_random_seed(8)
            results += map(bits, step(tg.tensor(SMALL.astype(dtype), requires_grad=True)))
        return results

    eager = drawn(lambda step: step)
    assert len(set(eager)) == len(eager)
    assert drawn(lambda step: tg.capture(step, executor="numpy")) == eager


@noisy
@sources
def test_under_frozen_state_a_run_is_replayed_exactly(make, source):
    layer = make(**source())
    runs = []
    for _ in range(3):
        with tg.frozen_state():
            runs.append([bits(layer(NORMAL)) for _ in range(2)])
    assert runs[0] == runs[1] == runs[2]
    assert runs[0][0] != runs[0][1]
    assert [bits(layer(NORMAL)), bits(layer(NORMAL))] == runs[0]


@noisy
def test_every_call_draws_anew_and_a_seed_repeats_the_sequence(make):
    first, second = make(seed=3), make(rng=np.random.default_rng(3))
    drawn = [bits(first(NORMAL)) for _ in range(3)]
    assert len(set(drawn)) == 3
    assert [bits(second(NORMAL)) for _ in range(3)] == drawn
    assert bits(make(seed=4)(NORMAL)) != drawn[0]


@noisy
def test_a_seed_that_is_set_later_starts_the_sequence_anew(make):
    layer, seeded = make(seed=4), make(seed=3)
    layer(NORMAL)
    layer.seed = 3
    assert [bits(layer(NORMAL)) for _ in range(2)] == [bits(seeded(NORMAL)) for _ in range(2)]
    with pytest.raises(SettingError, match=r"expects seed to be an integer not below 0; got -1"):
        layer.seed = -1
    with pytest.raises(SettingError, match=r"expects seed or rng; got both"):
        make(seed=3, rng=np.random.default_rng(3))


@noisy
def test_layers_without_a_seed_draw_apart_and_follow_from_the_seed_of_all(make):
    def pair():
        tg.set_random_seed(5)
        first, second = make(), make()
        return [bits(first(NORMAL)), bits(second(NORMAL))]

    assert pair() == pair()
    assert len(set(pair())) == 2


@noisy
def test_noise_moves_neither_the_weights_nor_other_noise_on(make):
    """A network with noise starts with the weights that it has without, and sees its samples in the same order."""

    def begun(*noise):
        tg.set_random_seed(4)
        model = tg.Sequential([layers.Dense(4), *noise, layers.Dense(3)])
        model(SMALL)
        return [bits(kernel) for kernel in model.parameters()], tg.generator().permutation(9).tolist()

    assert begun() == begun(make()) == begun(make(), make())
    others = [other for other in NOISY.values() if other is not make]

    def noise(moved):
        tg.set_random_seed(4)
        if moved:
            make()(SMALL)
        return [bits(other()(SMALL)) for other in others]

    assert noise(False) == noise(True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.Dropout(1.5), r"Dropout expects rate to be a number in \[0, 1\); got 1.5"),
        (lambda: layers.AlphaDropout(-0.1), r"AlphaDropout expects rate to be a number in \[0, 1\); got -0.1"),
        (lambda: layers.Dropout(1), r"Dropout expects rate to be a number in \[0, 1\); got 1"),
        (lambda: layers.GaussianNoise("a"), "GaussianNoise expects stddev to be a finite number not below 0; got 'a'"),
    ],
)
def test_wrong_settings(call, message):
    with pytest.raises(SettingError, match=message):
        call()


def test_a_wrong_generator():
    with pytest.raises(TypeError, match="rng expects a numpy"):
        layers.Dropout(0.5, rng=3)
