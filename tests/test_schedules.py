import copy
import math
import pickle

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.schedules import CosineDecay, ExponentialDecay, OneCycle, PiecewiseConstant, PowerDecay, Schedule


def test_exponential_decay_leaves_decay_rate_of_the_rate_after_decay_steps():
    smooth, stairs = ExponentialDecay(0.1, 4, 0.5), ExponentialDecay(0.1, 4, 0.5, staircase=True)
    np.testing.assert_allclose([smooth(t) for t in (0, 2, 4, 8)], [0.1, 0.1 / math.sqrt(2), 0.05, 0.025], rtol=1e-15)
    assert [stairs(t) for t in range(9)] == [0.1] * 4 + [0.05] * 4 + [0.025]


def test_power_decay_falls_to_a_half_a_third_a_quarter():
    np.testing.assert_allclose([PowerDecay(0.6, 10)(t) for t in (0, 10, 20, 30)], [0.6, 0.3, 0.2, 0.15], rtol=1e-15)
    np.testing.assert_allclose(PowerDecay(0.6, 10, power=2)(10), 0.15, rtol=1e-15)
    assert PowerDecay(0.6, 10, power=0)(1000) == 0.6


def test_a_boundary_is_the_last_step_of_its_value():
    schedule = PiecewiseConstant([2, 5], [1.0, 0.5, 0.1])
    assert [schedule(t) for t in range(8)] == [1.0] * 3 + [0.5] * 3 + [0.1] * 2
    assert PiecewiseConstant([], [0.3])(7) == 0.3


def test_cosine_decay_goes_from_the_rate_to_its_share_alpha_and_stays_there():
    schedule = CosineDecay(2.0, 12, alpha=0.1)
    expected = [2.0, 2 * (0.1 + 0.9 * 0.75), 1.1, 0.2, 0.2]
    np.testing.assert_allclose([schedule(t) for t in (0, 4, 6, 12, 100)], expected, rtol=1e-14)


def test_cosine_decay_warms_up_on_a_straight_line_first():
    schedule = CosineDecay(0.1, 10, warmup_target=0.5, warmup_steps=4)
    expected = [0.1, 0.2, 0.3, 0.4, 0.5, 0.25, 0.0]
    np.testing.assert_allclose([schedule(t) for t in (0, 1, 2, 3, 4, 9, 14)], expected, rtol=1e-14, atol=1e-16)


def test_one_cycle_is_three_straight_lines():
    schedule = OneCycle(1.0, 45, start_learning_rate=0.2, last_steps=5, last_learning_rate=0.1)
    expected = [0.2, 0.6, 1.0, 0.6, 0.2, 0.16, 0.1, 0.1]
    np.testing.assert_allclose([schedule(t) for t in (0, 10, 20, 30, 40, 42, 45, 99)], expected, rtol=1e-14)


def test_one_cycle_starts_at_a_tenth_and_ends_at_a_thousandth_of_that():
    schedule = OneCycle(0.5, 1000)
    np.testing.assert_allclose([schedule(t) for t in (0, 449, 898, 1000)], [0.05, 0.5, 0.05, 0.00005], rtol=1e-12)
    assert min(map(OneCycle(0.5, 3), range(5))) > 0


EXAMPLES = [
    ExponentialDecay(0.1, 100, 0.9),
    PowerDecay(0.1, 100),
    PiecewiseConstant([3], [0.1, 0.2]),
    CosineDecay(0.1, 100, warmup_target=0.2, warmup_steps=5),
    OneCycle(0.1, 100),
]


@pytest.mark.parametrize("schedule", EXAMPLES, ids=lambda schedule: type(schedule).__name__)
def test_every_schedule_gives_floats_and_can_be_copied_saved_and_read(schedule):
    for other in (copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule)), eval(repr(schedule))):
        assert [other(t) for t in range(120)] == [schedule(t) for t in range(120)]
    assert all(type(schedule(t)) is float for t in (0, 7, np.int64(50)))


def test_an_optimizer_follows_its_schedule_from_step_0():
    w = tg.Parameter(np.zeros(1))
    optimizer, before = tg.optimizers.SGD(PiecewiseConstant([0, 1], [1.0, 10.0, 100.0])), 0.0
    for rate in (1.0, 10.0, 100.0, 100.0):
        assert optimizer.learning_rate == rate
        w.grad = -np.ones(1)
        optimizer.step([w])
        assert w.item() - before == rate
        before = w.item()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ExponentialDecay(-0.1, 10, 0.5),
            "ExponentialDecay expects initial_learning_rate to be .* not below 0",
        ),
        (lambda: ExponentialDecay(0.1, 0, 0.5), "decay_steps to be a finite number above 0; got 0"),
        (lambda: ExponentialDecay(0.1, 10, 0), "decay_rate to be a finite number above 0; got 0"),
        (lambda: PowerDecay(0.1, 10, -1), "PowerDecay expects power to be"),
        (
            lambda: PiecewiseConstant([1, 2], [0.1, 0.2]),
            r"one value more than boundaries; got boundaries=\[1.0, 2.0\], values=\[0.1, 0.2\]",
        ),
        (lambda: PiecewiseConstant([2, 2], [0.1, 0.2, 0.3]), r"boundaries that rise; got \[2, 2\]"),
        (lambda: PiecewiseConstant([1], [0.1, "much"]), "each of values to be .*; got 'much'"),
        (
            lambda: CosineDecay(0.1, 10, warmup_steps=5),
            "a warmup_target with warmup_steps; got warmup_target=None, warmup_steps=5.0",
        ),
        (lambda: OneCycle(0.1, 2), "steps to be an integer not below 3; got 2"),
        (lambda: OneCycle(0.1, 10, last_steps=9), "last_steps of at most steps - 2; got steps=10, last_steps=9"),
    ],
)
def test_wrong_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("schedule", "name", "wrong"),
    [
        (ExponentialDecay(0.1, 10, 0.5), "decay_steps", 0),
        (ExponentialDecay(0.1, 10, 0.5), "staircase", "no"),
        (PowerDecay(0.1, 10), "initial_learning_rate", -1),
        (PiecewiseConstant([1], [0.1, 0.2]), "values", [0.1]),
        (PiecewiseConstant([1], [0.1, 0.2]), "boundaries", 1),
        (CosineDecay(0.1, 10, warmup_target=0.2, warmup_steps=3), "warmup_target", None),
        (OneCycle(0.1, 10), "steps", 3),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_a_setting_is_checked_whenever_it_is_set(schedule, name, wrong):
    before = repr(schedule)
    with pytest.raises(ValueError, match=f"^{type(schedule).__name__} expects .*{name}"):
        setattr(schedule, name, wrong)
    assert repr(schedule) == before


def test_a_schedule_without_a_call_says_so():
    with pytest.raises(NotImplementedError, match=r"Schedule defines no __call__\(step\)"):
        Schedule()(0)
