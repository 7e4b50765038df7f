import copy
import pickle
import re

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.laws.parts import OPTIMIZERS
from tinygrad_bn import optimizers
from tinygrad_bn.errors import AxisError, SettingError, ShapeError, StaleGraphError
from tinygrad_bn.mode import frozen_state, using
from tinygrad_bn.optimizers import SGD, Adagrad, Adam, AdamW, Nadam, RMSprop
from tinygrad_bn.recorders import Recorder
from tinygrad_bn.schedules import ExponentialDecay


def parameters(*values):
    """Parameters of three elements each, with gradients of 1."""
    made = [tg.Parameter(np.full(3, value, np.float32)) for value in values]
    for parameter in made:
        parameter.grad = tg.tensor(np.ones(3, np.float32))
    return made


def test_only_trainable_parameters_with_a_gradient_take_a_step_and_each_takes_one():
    learned, frozen, unused = parameters(1.0, 2.0, 3.0)
    frozen.trainable = False
    unused.grad = None
    SGD(0.5).step([learned, frozen, unused, learned])
    assert [p.numpy()[0] for p in (learned, frozen, unused)] == [0.5, 2.0, 3.0]


def test_who_takes_part_may_change_from_step_to_step():
    made, optimizer = parameters(0.0, 0.0, 0.0), SGD(1.0)
    taken = np.zeros(3)
    for part in ([0], [0, 1], [0], [1], [0, 1, 2], [0, 1], [2], [0], [0, 1, 2]):
        for place, parameter in enumerate(made):
            parameter.trainable = place in part
            taken[place] += parameter.trainable
        optimizer.step(made)
        assert [-parameter.numpy()[0] for parameter in made] == taken.tolist()


def test_a_step_writes_in_place_and_is_noticed():
    (w,) = parameters(2.0)
    memory, y = w.value, tg.square(w).sum()
    SGD(0.5).step([w])
    assert w.value is memory
    with pytest.raises(StaleGraphError, match="SGD"):
        y.backward()


def test_gradients_stay_as_they_are_and_zero_grad_forgets_them():
    (w,) = parameters(1.0)
    optimizer = SGD(0.1, momentum=0.9, clipnorm=0.1)
    optimizer.step([w])
    np.testing.assert_array_equal(w.grad.numpy(), 1)
    optimizer.zero_grad()
    assert w.grad is None


@pytest.mark.parametrize("shape", [(), (1,), (2, 0), (3, 2)])
def test_any_shape(shape):
    w = tg.Parameter(np.ones(shape))
    w.grad = tg.tensor(np.ones(shape))
    SGD(0.25, momentum=0.5).step([w])
    np.testing.assert_array_equal(w.numpy(), np.full(shape, 0.75))


def test_clipping():
    g1, g2 = np.array([3.0, 0.0]), np.array([0.0, 4.0])
    for limits, expected in [
        ({"clipvalue": 2.0}, ([2, 0], [0, 2])),
        ({"clipnorm": 2.0}, ([2, 0], [0, 2])),
        ({"global_clipnorm": 2.5}, ([1.5, 0], [0, 2])),
        ({"global_clipnorm": 50.0}, ([3, 0], [0, 4])),
    ]:
        w1, w2 = tg.Parameter(np.zeros(2)), tg.Parameter(np.zeros(2))
        w1.grad, w2.grad = tg.tensor(g1), tg.tensor(g2)
        SGD(1.0, **limits).step([w1, w2])
        np.testing.assert_allclose([w1.numpy(), w2.numpy()], -np.array(expected))


def test_a_step_clips_regularizes_decays_updates_and_constrains_in_this_order():
    w = tg.Parameter(np.array([10.0]))
    for rule, constraint, expected in [
        (None, None, 10 - 0.1 * 0.5 * 10 - 0.1 * 1),
        (tg.regularizers.L2(0.3), None, 10 - 0.1 * 0.5 * 10 - 0.1 * (1 + 2 * 0.3 * 10)),
        (None, tg.constraints.MaxNorm(3), 3),
        (tg.regularizers.L2(4.5), lambda w: w - 0.25, 10 - 0.1 * 0.5 * 10 - 0.1 * (1 + 2 * 4.5 * 10) - 0.25),
    ]:
        w.assign(10.0)
        w.regularizer, w.constraint, w.grad = rule, constraint, tg.tensor(np.array([100.0]))
        SGD(0.1, weight_decay=0.5, clipvalue=1.0).step([w])
        np.testing.assert_allclose(w.numpy(), expected, rtol=1e-15)


def test_clipping_lets_what_is_not_finite_be_seen():
    (w,) = parameters(1.0)
    w.grad = tg.tensor(np.array([1.0, np.nan, 1.0], np.float32))
    SGD(0.5, global_clipnorm=0.1).step([w])
    np.testing.assert_array_equal(w.numpy(), [0.5, np.nan, 0.5])


def test_what_is_not_finite_can_be_taken_for_0_too():
    (w,) = parameters(1.0)
    w.grad = tg.tensor(np.array([1.0, np.nan, np.inf], np.float32))
    optimizer = SGD(0.5, nonfinite="zero")
    optimizer.step([w])
    np.testing.assert_array_equal(w.numpy(), [0.5, 1, 1])
    assert (optimizer.clipping.alarms, optimizer.clipping.norm, optimizer.iterations) == (1, 1, 1)


@pytest.mark.parametrize("limit", [{}, {"clipvalue": 1.0}, {"clipnorm": 1.0}, {"global_clipnorm": 1.0}], ids=str)
def test_a_step_can_be_refused_by_name_or_skipped(limit):
    made = [tg.Parameter(np.ones(3), name=name) for name in ("kernel", "bias", "gamma")]
    refusing, skipping = (Adam(0.5, nonfinite=policy, **limit) for policy in ("raise", "skip"))
    for optimizer in (refusing, skipping):
        for w in made:
            w.grad = np.ones(3)
        optimizer.step(made)
    before = [w.numpy() for w in made]
    for place, bad in [(0, np.nan), (2, -np.inf)]:
        gradient = np.ones(3)
        gradient[1] = bad
        made[place].grad = gradient
    expected = (
        r"Adam expects finite gradients; got NaN or infinity in that of kernel of .*, that of gamma of shape \(3,\)$"
    )
    with pytest.raises(FloatingPointError, match=expected):
        refusing.step(made)
    skipping.step(made)
    np.testing.assert_array_equal([w.numpy() for w in made], before)
    assert (refusing.iterations, skipping.iterations) == (1, 1)
    assert (refusing.clipping.alarms, skipping.clipping.alarms) == (0, 1)


@pytest.mark.parametrize("nonfinite", ["keep", "skip", "zero"])
def test_gradients_that_are_not_finite_are_counted_by_the_paths_of_their_parameters(nonfinite):
    first, second = parameters(1.0, 1.0)
    optimizer = SGD(0.5, clipnorm=1.0, nonfinite=nonfinite)
    for bad in (False, True, True):
        first.grad, second.grad = np.ones(3), np.array([1.0, np.inf if bad else 1.0, np.nan if bad else 1.0])
        optimizer.step({"layers.0.kernel": first, "layers.3.kernel": second}.items())
    assert optimizer.clipping.alarms == 2
    assert optimizer.clipping.blamed == {"layers.3.kernel": 2}


def test_whoever_brings_paths_reads_them_in_messages():
    model = tg.Sequential([tg.layers.Dense(3, input_shape=[2]), tg.layers.Dense(3)])
    for parameter in model.parameters():
        parameter.grad = np.full(parameter.shape, np.nan if parameter.shape == (3, 3) else 1.0)
    for refusing in (lambda p: Adam(nonfinite="raise").step(p), lambda p: tg.clip_grad_norm(p, 1.0)):
        with pytest.raises(FloatingPointError, match=r"got NaN or infinity in that of layers\.1\.kernel of shape"):
            refusing(model.named_parameters())
        with pytest.raises(FloatingPointError, match="got NaN or infinity in that of kernel of shape"):
            refusing(model.parameters())


def test_clipping_is_counted():
    (w,) = parameters(1.0)
    optimizer = SGD(0.5, clipnorm=1.0)
    for size, acted, norm, factor in [(3.0, 1, 3.0, 1 / 3), (0.5, 1, 0.5, 1.0), (2.0, 2, 2.0, 0.5)]:
        w.grad = np.array([size, 0, 0])
        optimizer.step([w])
        clipping = optimizer.clipping
        assert (clipping.acted, clipping.norm) == (acted, norm)
        np.testing.assert_allclose(clipping.factor, factor, rtol=1e-15)
    assert "clipnorm=1, nonfinite='keep': acted in 2 steps, last norm 2 times 0.5" in repr(clipping)
    assert SGD(0.5).clipping is None


@pytest.mark.parametrize(
    ("limit", "norm"),
    [({"clipvalue": 1.0}, 4), ({"clipnorm": 1.0}, 5), ({"global_clipnorm": 1.0}, np.sqrt(26))],
    ids=str,
)
def test_the_norm_that_is_told_is_what_is_limited(limit, norm):
    first, second = parameters(1.0, 1.0)
    first.grad, second.grad = np.array([3.0, -4.0, 0.0]), np.array([0.0, 0.0, 1.0])
    optimizer = SGD(**limit)
    optimizer.step([first, second])
    np.testing.assert_allclose([optimizer.clipping.norm, optimizer.clipping.factor], [norm, 1 / norm], rtol=1e-15)


@pytest.mark.parametrize(("kind", "factor"), [("clipvalue", 0.25), ("clipnorm", 0.2), ("global_clipnorm", 1.0)])
def test_the_factor_is_that_of_the_gradients_that_are_finite(kind, factor):
    first, second = parameters(1.0, 1.0)
    first.grad, second.grad = np.array([3.0, -4.0, 0.0]), np.array([np.nan, 9.0, 1.0])
    optimizer = SGD(**{kind: 1.0})
    optimizer.step([first, second])
    clipping = optimizer.clipping
    assert (clipping.factor, clipping.acted, clipping.alarms) == (pytest.approx(factor), int(factor < 1), 1)
    assert np.isnan(clipping.norm)


@pytest.mark.parametrize("kind", ["clipvalue", "clipnorm", "global_clipnorm"])
def test_float32_gradients_whose_squares_overflow_are_clipped_and_not_wiped_out(kind):
    w = tg.Parameter(np.zeros(16, np.float32))
    w.grad = np.full(16, 1e19, np.float32)
    optimizer = SGD(1.0, nonfinite="raise", **{kind: 1.0})
    optimizer.step([w])
    np.testing.assert_allclose(w.numpy(), -1 if kind == "clipvalue" else -0.25, rtol=1e-6)
    np.testing.assert_allclose(optimizer.clipping.norm, 1e19 if kind == "clipvalue" else 4e19, rtol=1e-6)


def test_a_limit_can_be_set_but_no_other_kind_of_limit():
    (w,) = parameters(1.0)
    optimizer = SGD(1.0, clipvalue=0.5)
    optimizer.clipvalue = 0.25
    optimizer.step([w])
    np.testing.assert_array_equal(w.numpy(), 0.75)
    assert (optimizer.clipvalue, optimizer.clipnorm) == (0.25, None)
    with pytest.raises(ValueError, match="clipvalue to be a finite number above 0; got -1"):
        optimizer.clipvalue = -1
    for other in (optimizer, SGD(nonfinite="skip"), SGD()):
        with pytest.raises(ValueError, match=r"SGD was made without clipnorm: make a new one, SGD\(clipnorm=1\.0\)"):
            other.clipnorm = 1.0
    with pytest.raises(ValueError, match="SGD was made without a limit"):
        SGD(nonfinite="skip").clipping.limit = 1.0


def train(optimizer, made, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        sum(tg.square(w).sum() for w in made).backward()
        optimizer.step(made)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_optimizer_goes_on_from_its_state_bit_for_bit(kind):
    made = parameters(1.0, 2.0)
    schedule = ExponentialDecay(0.1, 2, 0.7)
    optimizer, other = kind(schedule), kind(schedule)
    train(optimizer, made, 3)
    again = [tg.Parameter(w.numpy()) for w in made]
    state = optimizer.state_dict()
    assert state["iterations"] == 3 and "learning_rate" not in state
    other.load_state_dict(state)
    train(optimizer, made, 3)
    train(other, again, 3)
    assert [w.numpy().tobytes() for w in again] == [w.numpy().tobytes() for w in made]
    assert other.learning_rate == schedule(6)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_optimizer_descends_and_keeps_its_dtype(kind):
    for dtype in ("float32", "float64"):
        w = tg.Parameter(np.ones(3, dtype))
        train(kind(0.01), [w], 50)
        assert w.dtype == dtype
        assert (np.abs(w.numpy()) < 0.99).all()


def test_a_number_takes_the_place_of_a_schedule_and_back():
    optimizer = SGD(ExponentialDecay(0.1, 1, 0.5))
    made = parameters(1.0)
    train(optimizer, made, 2)
    assert optimizer.learning_rate == 0.025
    assert "learning_rate=ExponentialDecay(" in repr(optimizer)
    optimizer.learning_rate = 0.3
    train(optimizer, made, 1)
    assert optimizer.learning_rate == optimizer.state_dict()["learning_rate"] == 0.3
    optimizer.learning_rate = lambda step: 0.1 * step
    assert optimizer.learning_rate == 0.1 * 3
    optimizer.load_state_dict({"learning_rate": 0.2, "iterations": 7})
    assert (optimizer.learning_rate, optimizer.iterations) == (0.2, 7)


@pytest.mark.parametrize("met", [False, True], ids=["before its parameters", "after its parameters"])
def test_a_loaded_optimizer_goes_on_bit_for_bit(met):
    made = parameters(1.0, 2.0)
    optimizer = SGD(0.1, momentum=0.9)
    train(optimizer, made, 3)
    state, values = optimizer.state_dict(), [w.numpy() for w in made]
    assert sorted(state) == ["0.velocity", "1.velocity", "iterations", "learning_rate", "momentum"]
    train(optimizer, made, 3)

    again = [tg.Parameter(value) for value in values]
    other = SGD(0.7, momentum=0.5)
    if met:
        train(other, again, 1)
        for w, value in zip(again, values, strict=True):
            w.assign(value)
    other.load_state_dict(state)
    assert other.learning_rate == 0.1
    np.testing.assert_array_equal(other.state_dict()["1.velocity"], state["1.velocity"])
    train(other, again, 3)
    assert [w.numpy().tobytes() for w in again] == [w.numpy().tobytes() for w in made]


def test_a_state_by_path_goes_to_the_parameters_of_these_paths_in_whatever_order_they_are_met():
    made = {path: tg.Parameter(np.full(3, value, np.float32)) for path, value in zip("abc", (1, 2, 3), strict=True)}
    (stranger,), optimizer = parameters(4.0), SGD(0.1, momentum=0.9)
    train(optimizer, [made["c"], stranger, made["a"]], 2)
    state = optimizer.state_of(made)
    assert sorted(state) == ["a.velocity", "c.velocity", "iterations", "learning_rate", "momentum"]
    values = {path: parameter.numpy() for path, parameter in made.items()}
    train(optimizer, list(made.values()), 2)

    for first in ([], ["b"], ["b", "a", "c"]):
        again = {path: tg.Parameter(values[path]) for path in "bca"}
        other = SGD(0.5, momentum=0.1)
        if first:
            train(other, [again[path] for path in first], 1)
            for path in "abc":
                again[path].assign(values[path])
        other.load_state_of(again, state)
        assert {key: value.tobytes() for key, value in other.state_of(again).items() if "b" not in key} == {
            key: value.tobytes() for key, value in state.items()
        }
        with frozen_state():
            train(other, parameters(5.0), 1)  # nobody else takes what waits for those that the state is of
        train(other, [again[path] for path in "abc"], 2)
        assert all(again[path].numpy().tobytes() == made[path].numpy().tobytes() for path in "abc")


def test_a_state_that_waits_for_parameters_yet_to_come_is_of_those_that_come_next():
    made = dict(zip("ab", parameters(1.0, 2.0), strict=True))
    optimizer = SGD(0.1, momentum=0.9)
    optimizer.load_state_dict({"momentum": 0.9, "1.velocity": np.full(3, 7.0)})
    assert optimizer.state_of(made)["b.velocity"].tolist() == [7.0] * 3


def test_lists_in_a_state_keep_their_digits():
    optimizer, (parameter,) = SGD(0.1, momentum=0.9), parameters(1.0)
    optimizer.load_state_dict({"momentum": 0.9, "0.velocity": [0.1, 0.2, 0.3]})
    assert optimizer.state_of({"a": parameter})["a.velocity"].tolist() == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"learning_rate": 5.0, "b.velocity": np.ones(4)}, r"SGD expects b\.velocity of the shape of .*; got \(4,\)"),
        ({"learning_rate": 5.0, "b.velocty": np.ones(3)}, "Did you mean '0.velocity'"),
        ({"learning_rate": 5.0, "c.velocity": np.ones(3)}, "unknown entry 'c.velocity' in the state of SGD"),
    ],
)
def test_a_state_by_path_that_does_not_fit_changes_nothing(wrong, message):
    made = dict(zip("ab", parameters(1.0, 2.0), strict=True))
    optimizer = SGD(0.1, momentum=0.9)
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_of(made, wrong)
    train(optimizer, [made["b"]], 1)
    assert sorted(optimizer.state_dict()) == ["0.velocity", "iterations", "learning_rate", "momentum"]
    assert optimizer.learning_rate == 0.1


def test_a_state_that_does_not_fit_changes_nothing():
    made = parameters(1.0, 2.0)
    optimizer = SGD(0.1, momentum=0.9)
    train(optimizer, made, 2)
    before = optimizer.state_dict()
    for wrong, message in [
        ({"0.velocty": np.ones(3)}, "Did you mean '0.velocity'"),
        (
            {"learning_rate": 5.0, "1.velocity": np.ones(4)},
            r"1.velocity of the shape of its parameter, \(3,\); got \(4,\)",
        ),
        ({"learning_rate": 5.0, "iterations": -1}, "iterations to be an integer not below 0; got -1"),
        ({"0.velocity": np.ones(3), "momentum": 2.0}, r"momentum to be a number in \[0, 1\); got 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict(wrong)
        after = optimizer.state_dict()
        assert {key: value.tobytes() for key, value in after.items()} == {k: v.tobytes() for k, v in before.items()}
    for wrong, message in [(None, "SGD expects a dict .*; got None"), ({"0.velocity": "a"}, "0.velocity expects real")]:
        with pytest.raises(TypeError, match=message):
            optimizer.load_state_dict(wrong)


@pytest.mark.parametrize(
    "clone", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))], ids=["copy", "pickle"]
)
def test_a_copy_goes_on_by_itself(clone):
    made, optimizer = parameters(1.0, 2.0), SGD(0.1, momentum=0.9)
    train(optimizer, made, 2)
    copied, other = clone((made, optimizer))
    train(optimizer, made, 2)
    train(other, copied, 2)
    assert [w.numpy().tobytes() for w in copied] == [w.numpy().tobytes() for w in made]
    train(other, copied, 1)
    assert [w.numpy().tobytes() for w in copied] != [w.numpy().tobytes() for w in made]


def test_steps_under_frozen_state_are_undone():
    made, optimizer = parameters(1.0), Adam(0.1, clipnorm=0.1)
    train(optimizer, made, 2)
    before = made[0].numpy(), optimizer.state_dict()["0.velocity"]
    with tg.frozen_state():
        train(optimizer, made, 2)
        assert optimizer.iterations == optimizer.clipping.acted == 4
    np.testing.assert_array_equal(before, (made[0].numpy(), optimizer.state_dict()["0.velocity"]))
    assert optimizer.iterations == optimizer.clipping.acted == 2


def test_parameters_of_several_dtypes_share_an_optimizer():
    made = [tg.Parameter(np.ones(2, dtype)) for dtype in ("float32", "float64")]
    train(SGD(0.1, momentum=0.9), made, 3)
    assert [w.dtype for w in made] == [np.float32, np.float64]
    np.testing.assert_allclose(made[0].numpy(), made[1].numpy(), rtol=1e-6)


def test_adamw_is_an_adam():
    made, other = parameters(1.0), parameters(1.0)
    train(AdamW(0.1, 0.5), made, 3)
    train(Adam(0.1, weight_decay=0.5), other, 3)
    assert made[0].numpy().tobytes() == other[0].numpy().tobytes()
    assert isinstance(AdamW(), Adam) and not isinstance(Nadam(), Adam)


def test_a_rule_of_ones_own():
    class SignDescent(optimizers.Optimizer):
        """w - learning_rate * sign(g)."""

        def update(self, parameter, gradient, *, learning_rate):
            return (parameter - learning_rate * tg.sign(gradient),)

    (w,) = parameters(1.0)
    SignDescent(0.25).step([w])
    np.testing.assert_array_equal(w.numpy(), 0.75)


def test_a_rule_follows_the_settings_of_its_own():
    class Scaled(optimizers.Optimizer):
        def __init__(self, scale):
            super().__init__(1.0)
            self.scale = scale

        def update(self, parameter, gradient, *, learning_rate):
            return (parameter - self.scale * gradient,)

    (w,) = parameters(1.0)
    optimizer = Scaled(0.5)
    optimizer.step([w])
    optimizer.scale = 0.25
    optimizer.step([w])
    np.testing.assert_array_equal(w.numpy(), 0.25)


SCALE = 1.0


def through_a_global(kind, monkeypatch, value):
    monkeypatch.setitem(globals(), "SCALE", value)


def through_the_class(kind, monkeypatch, value):
    kind.scale = value


@pytest.mark.parametrize("wrap", [lambda step: step, tg.capture], ids=["eager", "captured"])
@pytest.mark.parametrize("change", [through_a_global, through_the_class])
def test_a_rule_follows_what_its_text_refers_to(change, wrap, monkeypatch):
    class Scaled(optimizers.Optimizer):
        scale = 1.0

        def update(self, parameter, gradient, *, learning_rate):
            return (parameter - SCALE * self.scale * gradient,)

    (w,), optimizer, seen = parameters(0.0), Scaled(1.0), []
    step = wrap(lambda: optimizer.step([w]))
    for value in (1.0, 1.0, 4.0, 4.0, 0.5):
        change(Scaled, monkeypatch, value)
        step()
        seen.append(-w.numpy()[0])
    assert seen == [1.0, 2.0, 6.0, 10.0, 10.5]
    assert copy.deepcopy(optimizer).state_dict().keys() == optimizer.state_dict().keys()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"learning_rate": -0.1}, ValueError, "learning_rate to be a finite number not below 0; got -0.1"),
        ({"learning_rate": np.nan}, ValueError, "got nan"),
        ({"learning_rate": np.inf}, ValueError, "got inf"),
        ({"learning_rate": "fast"}, ValueError, "SGD expects learning_rate to be .*; got 'fast'"),
        ({"learning_rate": None}, ValueError, "got None"),
        ({"momentum": 1.0}, ValueError, r"momentum to be a number in \[0, 1\); got 1"),
        ({"momentum": -0.1}, ValueError, r"momentum to be a number in \[0, 1\); got -0.1"),
        ({"weight_decay": -1}, ValueError, "weight_decay to be a finite number not below 0"),
        ({"learning_rate": "0.1"}, ValueError, "got '0.1'"),
        ({"clipvalue": "much"}, ValueError, "clipvalue to be a finite number above 0; got 'much'"),
        ({"clipvalue": 0}, ValueError, "clipvalue to be a finite number above 0; got 0"),
        ({"clipnorm": np.inf}, ValueError, "clipnorm to be"),
        ({"clipnorm": 1, "global_clipnorm": 1}, ValueError, "at most one of .*; got clipnorm, global_clipnorm"),
        ({"nonfinite": "rase"}, ValueError, r"unknown nonfinite 'rase' in SGD\(\). Did you mean 'raise'"),
        ({"learning_rate": lambda step: -1.0}, ValueError, "learning_rate to be a finite number not below 0; got -1.0"),
        ({"learning_rate": ExponentialDecay}, ValueError, "learning_rate to be .*; got <class"),
        ({"momentun": 0.9}, TypeError, "unknown argument 'momentun' in SGD.*Did you mean 'momentum'"),
        ({"lr": 0.1}, TypeError, "unknown argument 'lr' in SGD.*Did you mean 'learning_rate'"),
    ],
)
def test_wrong_settings(settings, error, message):
    with pytest.raises(error, match=message):
        SGD(**settings)


def test_adamw_without_decay_is_adam():
    with pytest.raises(
        ValueError, match=r"AdamW expects weight_decay to be a number; got None\. Without decay it is Adam"
    ):
        AdamW(weight_decay=None)


def test_a_wrong_argument_is_answered_with_those_of_all_optimizers():
    for kind in OPTIMIZERS:
        with pytest.raises(TypeError, match=rf"unknown argument 'clipnrm' in {kind.__name__}\(\).*mean 'clipnorm'"):
            kind(clipnrm=1.0)


def test_what_is_fixed_cannot_be_set():
    for optimizer, name in [
        (Adam(), "amsgrad"),
        (RMSprop(), "centered"),
        (Adagrad(), "initial_accumulator_value"),
        (SGD(), "nesterov"),
        (SGD(), "nonfinite"),
    ]:
        kind, held = type(optimizer).__name__, getattr(optimizer, name)
        said = f"{kind} was built with {name}={held!r}: make a new one, {kind}({name}=True)"
        with pytest.raises(AttributeError, match=f"^{re.escape(said)}$"):
            setattr(optimizer, name, True)


@pytest.mark.parametrize(
    ("name", "hint"), [("lr", "Did you mean 'learning_rate'"), ("momentun", "Did you mean 'momentum'"), ("foo", "Cho")]
)
def test_a_name_that_is_no_setting_cannot_be_set_from_outside(name, hint):
    optimizer = SGD(0.1)
    for made in (optimizer, copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        with pytest.raises(AttributeError, match=rf"^unknown setting '{name}' in SGD\. {hint}"):
            setattr(made, name, 0.5)


def test_an_optimizer_of_ones_own_has_what_its_methods_set_and_what_its_class_has():
    class Counting(SGD):
        note = ""

        def __init__(self):
            super().__init__(1.0)
            self.momentums = 2

        def numbers(self, step):
            self.seen = step
            return super().numbers(step)

    optimizer, (w,) = Counting(), parameters(1.0)
    optimizer.step([w])
    optimizer.note, optimizer.momentums, optimizer.seen = "mine", 3, 5
    assert (optimizer.note, optimizer.momentums, optimizer.seen) == ("mine", 3, 5)
    with pytest.raises(AttributeError, match="unknown setting 'notes' in Counting"):
        optimizer.notes = 1


def test_a_rate_is_checked_when_it_is_set_too():
    optimizer = SGD(0.1)
    with pytest.raises(ValueError, match="got -1"):
        optimizer.learning_rate = -1
    assert optimizer.learning_rate == 0.1


def test_wrong_parameters():
    (w,) = parameters(1.0)
    for wrong in (w, 3, [np.ones(3)], [tg.tensor([1.0])], [("path", 3)], [("path", w, 3)]):
        with pytest.raises(TypeError, match=r"model\.parameters\(\); got"):
            SGD().step(wrong)
    model = tg.Sequential([tg.layers.Dense(1, input_shape=(2,))])
    for wrong in (model, [model]):
        with pytest.raises(TypeError, match=r"got a Sequential; give its \.parameters\(\)$"):
            SGD().step(wrong)
    w.grad = None
    with pytest.raises(RuntimeError, match=r"call loss\.backward\(\) first"):
        SGD().step([w])


# Steps that fail


class Trips:
    """Does as `function` does, but fails at its second call."""

    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, given):
        self.calls += 1
        if self.calls == 2:
            raise RuntimeError("tripped")
        return self.function(given)


FAILING = {
    "a constraint": lambda: (Adam(0.1, global_clipnorm=0.1), {"constraint": Trips(tg.abs)}),
    "a constraint without clipping": lambda: (SGD(0.1, momentum=0.9), {"constraint": Trips(tg.abs)}),
    "a regularizer": lambda: (Adam(0.1, clipnorm=0.1), {"regularizer": Trips(tg.sum)}),
    "a schedule": lambda: (Adam(Trips(lambda step: 0.1 / (step + 1)), nonfinite="zero"), {}),
    "a schedule and a limit": lambda: (SGD(Trips(lambda step: 0.1), clipvalue=0.1), {"constraint": tg.abs}),
}


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("case", FAILING)
def test_a_step_that_fails_changes_nothing(case, watched):
    optimizer, rules = FAILING[case]()
    made = parameters(1.0, -2.0)
    made[-1].regularizer, made[-1].constraint = rules.get("regularizer"), rules.get("constraint")

    def everything():
        values = [*(parameter.numpy() for parameter in made), *optimizer.state_dict().values()]
        writers = [parameter.version.writers for parameter in made]
        clipping = optimizer.clipping
        told = clipping and (clipping.norm, clipping.factor, clipping.acted, clipping.alarms, clipping.blamed)
        return [value.tobytes() for value in values], repr((writers, told))

    with using(recorder=Recorder() if watched else None):
        if optimizer.schedule is None:  # which has been called already
            optimizer.step(made)
        before = everything()
        with pytest.raises(RuntimeError, match="tripped"):
            optimizer.step(made)
        assert everything() == before
        optimizer.step(made)
    assert everything() != before


class Choosy(SGD):
    """One whose text raises for some gradients."""

    def update(self, parameter, gradient, *slots, **numbers):
        np.linalg.cholesky(np.diag(np.ravel(gradient)))
        return super().update(parameter, gradient, *slots, **numbers)


def test_an_update_that_fails_half_way_changes_nothing():
    made, optimizer = parameters(1.0, -2.0), Choosy(0.1, momentum=0.9)
    for parameter, sign in zip(made, (1, -1), strict=True):
        parameter.grad = np.full(parameter.shape, sign, parameter.dtype)
    before = [parameter.numpy() for parameter in made]
    with pytest.raises(np.linalg.LinAlgError):
        optimizer.step(made)
    np.testing.assert_equal([parameter.numpy() for parameter in made], before)
    assert optimizer.iterations == 0


def test_a_step_that_failed_under_frozen_state_is_undone_with_the_others():
    made = parameters(1.0, -2.0)
    made[-1].constraint = Trips(tg.abs)
    optimizer = Adam(0.1, clipnorm=0.5)
    before = [parameter.numpy().tobytes() for parameter in made]
    with frozen_state():
        optimizer.step(made)
        with pytest.raises(RuntimeError):
            optimizer.step(made)
        optimizer.step(made)
    assert [parameter.numpy().tobytes() for parameter in made] == before
    assert (optimizer.iterations, optimizer.clipping.acted) == (0, 0)


def test_rules_set_between_two_steps_are_followed_by_the_second():
    first, second = parameters(1.0, 1.0)
    optimizer = SGD(0.5)
    optimizer.step([first])
    for constraint, expected in ((tg.abs, 0.0), (tg.negative, 0.5), (None, 0.0)):
        first.constraint = constraint
        optimizer.step([first])
        assert first.numpy()[0] == expected
    first.assign(1.0)  # where the penalty has a slope
    first.regularizer = tg.regularizers.L2(1.0)
    second.constraint = tg.abs
    optimizer.step([first, second])
    assert (first.numpy()[0], second.numpy()[0]) == (-0.5, 0.5)


def only_one(values):
    """The shape of a mean that was meant to keep its axis."""
    return values[:1]


@pytest.mark.parametrize("watched", [False, True])
def test_a_constraint_of_another_shape_is_named_with_its_parameter(watched):
    for name, called in ((None, "a parameter"), ("kernel", "kernel")):
        w = tg.Parameter(np.ones(3, np.float32), name=name, constraint=only_one)
        w.grad = np.ones(3, np.float32)
        said = rf"SGD expects the constraint of {called} to give values of shape \(3,\); .*only_one.* gave \(1,\)"
        with pytest.raises(ShapeError, match=said), using(recorder=Recorder() if watched else None):
            SGD().step([w])
    with pytest.raises(ShapeError, match=r"the constraint of layers\.0\.bias to give"):
        SGD().step([("layers.0.bias", w)])
    w.constraint = tg.constraints.MaxNorm(2, axis=1)
    with pytest.raises(
        AxisError, match=r"the constraint of kernel, MaxNorm\(max_value=2.*, axis=1\), failed: .*axis=1"
    ):
        SGD().step([w])
    assert w.numpy().tolist() == [1, 1, 1]


def test_who_decays_and_what_the_rate_follows_can_be_asked():
    kernel, gamma = (tg.Parameter(np.ones(2), name=name) for name in ("kernel", "layers.0.gamma"))
    assert [SGD(weight_decay=0.1).decays(each) for each in (kernel, gamma)] == [True, False]
    assert not SGD().decays(kernel)
    schedule = ExponentialDecay(0.1, 10, 0.5)
    optimizer = SGD(schedule)
    assert optimizer.schedule is schedule
    optimizer.learning_rate = 0.1
    assert optimizer.schedule is None


@pytest.mark.parametrize("length", [1, 2])
def test_no_step_is_taken_with_a_gradient_of_another_shape(length):
    (w,) = parameters(1.0)
    with pytest.raises(ShapeError, match=rf"\(3,\); got \({length},\)"):
        w.grad = tg.tensor(np.ones(length, np.float32))
    w.grad = np.ones(3)
    SGD(0.5).step([w])
    np.testing.assert_array_equal(w.numpy(), 0.5)


@pytest.mark.parametrize("met", [False, True])
def test_a_state_brings_the_slots_that_its_rates_need(met):
    made, again = parameters(1.0), parameters(1.0)
    optimizer, other = SGD(0.1, momentum=0.9), SGD(0.1)
    train(optimizer, made, 2)
    if met:
        train(other, again, 1)
    again[0].assign(made[0].numpy())
    again[0].grad = None
    other.load_state_dict(optimizer.state_dict())
    train(optimizer, made, 2)
    train(other, again, 2)
    assert again[0].numpy().tobytes() == made[0].numpy().tobytes()


@pytest.mark.parametrize("met", [False, True])
def test_without_momentum_the_velocity_is_forgotten(met):
    made = parameters(1.0)
    optimizer = SGD(0.1, momentum=0.9)
    train(optimizer, made, 2)
    if not met:  # it waits for its parameter
        state = optimizer.state_dict()
        optimizer = SGD(0.1, momentum=0.9)
        optimizer.load_state_dict(state)
    optimizer.momentum = 0.0
    assert list(optimizer.state_dict()) == ["iterations", "learning_rate", "momentum"]
    SGD(0.1).load_state_dict(optimizer.state_dict())
    optimizer.momentum = 0.9
    train(optimizer, made, 1)
    np.testing.assert_allclose(optimizer.state_dict()["0.velocity"], -0.1 * made[0].grad.numpy())


def test_a_state_without_momentum_does_not_bring_a_velocity():
    optimizer = SGD(0.1, momentum=0.9)
    with pytest.raises(ValueError, match=r"unknown entry '0\.velocity' in the state of SGD"):
        optimizer.load_state_dict({"momentum": 0.0, "0.velocity": np.ones(3)})
    assert optimizer.momentum == 0.9


def test_get():
    optimizer = optimizers.get("sgd")
    assert repr(optimizer) == "SGD(learning_rate=0.01, momentum=0.0)"
    nesterov = SGD(0.1, momentum=0.9, nesterov=True, clipnorm=1.0)
    assert repr(nesterov) == "SGD(learning_rate=0.1, momentum=0.9, nesterov=True, clipnorm=1.0)"
    assert optimizers.get(optimizer) is optimizer
    assert [type(optimizers.get(kind.__name__.lower())) for kind in OPTIMIZERS] == OPTIMIZERS
    assert repr(AdamW(nonfinite="skip")) == (
        "AdamW(learning_rate=0.001, weight_decay=0.004, beta_1=0.9, beta_2=0.999, epsilon=1e-07, nonfinite='skip')"
    )
    with pytest.raises(ValueError, match="Did you mean 'sgd'"):
        optimizers.get("sdg")
    assert repr(optimizers.get(SGD)) == repr(SGD())
    with pytest.raises(SettingError, match=r"unknown optimizer 0\.1"):
        optimizers.get(0.1)


@pytest.mark.parametrize(
    "rule",
    [
        lambda p, g: p - g / p.shape[0],
        lambda p, g: p - g * p.ndim,
        lambda p, g: p - g @ g,
        lambda p, g: p - tg.matmul(g, g),
    ],
)
def test_parameters_are_updated_together_as_they_are_one_by_one(rule):
    class Own(optimizers.Optimizer):
        def update(self, parameter, gradient, *, learning_rate):
            return (rule(parameter, learning_rate * gradient),)

    together, alone = ([tg.Parameter(np.eye(n) * n) for n in (2, 2, 3)] for _ in range(2))
    for parameter in (*together, *alone):
        parameter.grad = np.tri(len(parameter))
    Own(0.5).step(together)
    for parameter in alone:
        Own(0.5).step([parameter])
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
