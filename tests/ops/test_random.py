"""What is drawn has the moments it should have, the bits its seed says, and the gradient of the draw that was made."""

import json

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.errors import CaptureError
from tinygrad_bn.ops import random
from tinygrad_bn.ops.random import random_state, set_random_state

N = 200_000
FIVE_SIGMA = 5 / np.sqrt(N)  # a seed is fixed, so nothing here fails by chance; the width says what is claimed


def uniform(low, high, n=N, seed=0):
    return np.random.default_rng(seed).uniform(low, high, n)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_dropout_keeps_its_share_and_the_mean(rate):
    y = tg.dropout(np.ones(N), rate, seed=1)
    kept = y != 0
    assert abs(kept.mean() - (1 - rate)) <= FIVE_SIGMA * np.sqrt(rate * (1 - rate)) + 1e-12
    np.testing.assert_allclose(y[kept], 1 / (1 - rate), rtol=1e-15)


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5])
def test_alpha_dropout_keeps_mean_0_and_variance_1(rate):
    x = np.random.default_rng(2).standard_normal(N)
    y = tg.alpha_dropout(x, rate, seed=3)
    assert abs(y.mean()) <= FIVE_SIGMA
    assert abs(y.var() - 1) <= 2 * FIVE_SIGMA * np.sqrt(np.mean(y**4))


def test_alpha_dropout_puts_selus_limit_where_it_drops():
    y = tg.alpha_dropout(np.zeros(N), 0.5, seed=4)
    low, high = np.unique(y)
    limit = -1.7580993408473766
    a = (0.5 * (1 + 0.5 * limit**2)) ** -0.5
    b = -a * limit * 0.5
    np.testing.assert_allclose([low, high], [a * limit + b, b], rtol=1e-14)
    assert abs((y == low).mean() - 0.5) <= FIVE_SIGMA / 2


@pytest.mark.parametrize("function", [tg.dropout, tg.alpha_dropout])
def test_a_rate_of_0_changes_nothing(function):
    x = np.linspace(-2, 2, 9)
    np.testing.assert_array_equal(function(x, 0.0, seed=0), x)


def test_rrelu_draws_slopes_evenly_and_only_below_0():
    x = uniform(-1, 1)
    slopes = tg.rrelu(x, seed=5) / x
    assert (slopes[x > 0] == 1).all()
    drawn = slopes[x < 0]
    assert drawn.min() >= 1 / 8 - 1e-12
    assert drawn.max() <= 1 / 3 + 1e-12
    width = 1 / 3 - 1 / 8
    assert abs(drawn.mean() - 11 / 48) <= 2 * FIVE_SIGMA * width
    assert abs(drawn.var() - width**2 / 12) <= 2 * FIVE_SIGMA * width**2


def test_rrelu_outside_training_has_the_mean_slope():
    np.testing.assert_allclose(tg.rrelu(np.array([-1.0, 2.0]), training=False), [-11 / 48, 2], rtol=1e-15)
    np.testing.assert_allclose(tg.rrelu(np.array([-1.0]), 0.25, 0.25), [-0.25], rtol=1e-15)


DRAWING = {
    "dropout": lambda x, **draw: tg.dropout(x, 0.5, **draw),
    "alpha_dropout": lambda x, **draw: tg.alpha_dropout(x, 0.5, **draw),
    "rrelu": lambda x, **draw: tg.rrelu(x, **draw),
}


@pytest.mark.parametrize("function", DRAWING.values(), ids=DRAWING)
def test_the_gradient_is_of_the_draw_that_was_made(function):
    x = uniform(-1, 1, 50)
    g = tg.grad(lambda x: function(x, seed=6).sum())(x)
    h = 1e-6
    np.testing.assert_allclose(g, (function(x + h, seed=6) - function(x - h, seed=6)) / (2 * h), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("function", DRAWING.values(), ids=DRAWING)
def test_float32_stays_float32_and_rates_are_weak(function):
    x = uniform(-1, 1, 50).astype(np.float32)
    assert function(x, seed=0).dtype == np.float32
    assert function(tg.tensor(x), seed=0).dtype == np.float32
    assert tg.dropout(x, np.float64(0.5), seed=0).dtype == np.float32
    assert tg.rrelu(x, np.float64(0.1), np.float64(0.2), seed=0).dtype == np.float32


@pytest.mark.parametrize("function", DRAWING.values(), ids=DRAWING)
def test_seeds_generators_and_the_shared_generator(function):
    x = uniform(-1, 1, 50)
    assert function(x, seed=7).tobytes() == function(x, rng=np.random.default_rng(7)).tobytes()
    assert function(x, seed=7).tobytes() != function(x, seed=8).tobytes()
    rng = np.random.default_rng(7)
    assert function(x, rng=rng).tobytes() != function(x, rng=rng).tobytes()
    tg.set_random_seed(9)
    first, second = function(x), function(x)
    assert first.tobytes() != second.tobytes()
    tg.set_random_seed(9)
    assert function(x).tobytes() == first.tobytes()


def test_arrays_and_tensors_meet_the_same_draw():
    x = uniform(-1, 1, 50)
    for function in DRAWING.values():
        np.testing.assert_array_equal(function(tg.tensor(x), seed=1).numpy(), function(x, seed=1))


def test_draws_are_the_same_again_after_frozen_state():
    rng, x = np.random.default_rng(0), np.ones(50)
    with tg.frozen_state():
        first = tg.dropout(x, 0.5, rng=rng)
    np.testing.assert_array_equal(tg.dropout(x, 0.5, rng=rng), first)


# Streams

STREAMS = {**DRAWING, "main": lambda x: tg.generator().random(x.shape)}
X = uniform(-1, 1, 50)


def draws(names, times=2):
    return {name: [STREAMS[name](X).tobytes() for _ in range(times)] for name in names}


def test_streams_do_not_move_one_another_on():
    tg.set_random_seed(3)
    together = draws(STREAMS)
    tg.set_random_seed(3)
    assert draws(reversed(STREAMS)) == together
    for name in STREAMS:
        tg.set_random_seed(3)
        assert draws([name])[name] == together[name]
    tg.set_random_seed(4)
    assert not any(again == together[name] for name, again in draws(STREAMS).items())


def test_streams_of_one_seed_are_independent():
    """Their numbers agree nowhere, and are not correlated."""
    tg.set_random_seed(3)
    drawn = [tg.generator(stream=name).standard_normal(N) for name in ("main", "dropout", "dropouts", "rrelu", "ulerr")]
    for i, one in enumerate(drawn):
        for other in drawn[:i]:
            assert not np.any(one == other)
            assert abs(np.mean(one * other)) <= FIVE_SIGMA


def test_main_is_the_generator_that_numpy_makes_of_the_seed():
    tg.set_random_seed(3)
    np.testing.assert_array_equal(tg.generator().random(5), np.random.default_rng(3).random(5))
    assert tg.generator(stream="main") is tg.generator()


def test_without_a_seed_every_process_draws_something_else():
    tg.set_random_seed(3)
    first = draws(STREAMS)
    for _ in range(2):
        set_random_state({"seed": None, "streams": {}})
        again = draws(STREAMS)
        assert not any(again[name] == first[name] for name in STREAMS)
        first = again


def test_a_state_from_before_any_draw_brings_all_of_them_back(monkeypatch):
    monkeypatch.setattr(random, "_root", None)  # as a process begins
    monkeypatch.setattr(random, "_streams", {})
    state = random_state()
    expected = draws(STREAMS)
    set_random_state(state)
    assert draws(STREAMS) == expected


@pytest.mark.parametrize("seed", [3, None])
def test_the_state_of_all_streams_goes_through_json_and_brings_every_draw_back(seed):
    set_random_state({"seed": seed, "streams": {}})
    draws(["main", "dropout"], times=3)
    state = json.loads(json.dumps(random_state()))
    assert set(state["streams"]) == {"main", "dropout"}
    expected = draws(STREAMS)  # of streams too that had not been drawn from
    draws(STREAMS)
    set_random_state(state)
    assert draws(STREAMS) == expected


def test_frozen_state_brings_back_every_stream_and_the_seed():
    tg.set_random_seed(3)
    before = draws(["main", "dropout"])
    with tg.frozen_state():
        inside = draws(STREAMS)
        tg.set_random_seed(9)
        draws(STREAMS)
        set_random_state({"seed": 10, "streams": {}})
        draws(STREAMS)
    assert draws(STREAMS) == inside != before


def test_a_state_is_not_brought_back_inside_a_captured_step():
    state = random_state()
    with pytest.raises(CaptureError, match="set_random_state"):
        tg.capture(lambda x: set_random_state(state) or x * 2)(tg.tensor([1.0]))


def test_what_draws_the_noise_is_not_public():
    assert not {"uniform", "normal"} & set(tg.ops.__all__)


def test_normal_and_uniform_have_their_moments():
    rng = np.random.default_rng(0)
    drawn = tg.ops.random.normal(shape=(N,), dtype=np.float32, rng=rng)
    assert abs(drawn.mean()) <= FIVE_SIGMA
    assert abs(drawn.var() - 1) <= FIVE_SIGMA * np.sqrt(2)
    even = tg.ops.random.uniform(shape=(N,), low=-1.0, high=3.0, dtype=np.float32, rng=rng)
    assert -1 <= even.min() <= even.max() <= 3
    assert abs(even.mean() - 1) <= FIVE_SIGMA * 4 / np.sqrt(12)


@pytest.mark.parametrize("function", [tg.dropout, tg.alpha_dropout, tg.rrelu])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.bool])
def test_integers_and_truth_values_are_taken_as_floats(function, dtype):
    whole, settings = np.array([0, 1, 1, 0], dtype), (0.25, 0.5) if function is tg.rrelu else (0.5,)
    drawn = function(whole.astype(np.float64), *settings, seed=1)
    np.testing.assert_array_equal(function(whole, *settings, seed=1), drawn)
    np.testing.assert_array_equal(function(tg.tensor(whole), *settings, seed=1).numpy(), drawn)
