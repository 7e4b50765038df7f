import copy
import pickle

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn import optimizers
from tinygrad_bn.errors import ShapeError, StaleGraphError
from tinygrad_bn.optimizers import SGD


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


def test_the_loss_gradient_is_clipped_before_the_weights_decay():
    w = tg.Parameter(np.array([10.0]))
    w.grad = tg.tensor(np.array([100.0]))
    SGD(0.1, weight_decay=0.5, clipvalue=1.0).step([w])
    np.testing.assert_allclose(w.numpy(), 10 - 0.1 * 0.5 * 10 - 0.1 * 1)


def test_clipping_lets_what_is_not_finite_be_seen():
    (w,) = parameters(1.0)
    w.grad = tg.tensor(np.array([1.0, np.nan, 1.0], np.float32))
    SGD(0.5, global_clipnorm=0.1).step([w])
    np.testing.assert_array_equal(w.numpy(), [0.5, np.nan, 0.5])


def train(optimizer, made, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        sum(tg.square(w).sum() for w in made).backward()
        optimizer.step(made)


@pytest.mark.parametrize("met", [False, True], ids=["before its parameters", "after its parameters"])
def test_a_loaded_optimizer_goes_on_bit_for_bit(met):
    made = parameters(1.0, 2.0)
    optimizer = SGD(0.1, momentum=0.9)
    train(optimizer, made, 3)
    state, values = optimizer.state_dict(), [w.numpy() for w in made]
    assert sorted(state) == ["0.velocity", "1.velocity", "learning_rate", "momentum"]
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
        ({"0.velocity": np.ones(3), "momentum": 2.0}, r"momentum to be a number in \[0, 1\); got 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict(wrong)
        after = optimizer.state_dict()
        assert {key: value.tobytes() for key, value in after.items()} == {k: v.tobytes() for k, v in before.items()}


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
    made, optimizer = parameters(1.0), SGD(0.1, momentum=0.9)
    train(optimizer, made, 2)
    before = made[0].numpy(), optimizer.state_dict()["0.velocity"]
    with tg.frozen_state():
        train(optimizer, made, 2)
    np.testing.assert_array_equal(before, (made[0].numpy(), optimizer.state_dict()["0.velocity"]))


def test_parameters_of_several_dtypes_share_an_optimizer():
    made = [tg.Parameter(np.ones(2, dtype)) for dtype in ("float32", "float64")]
    train(SGD(0.1, momentum=0.9), made, 3)
    assert [w.dtype for w in made] == [np.float32, np.float64]
    np.testing.assert_allclose(made[0].numpy(), made[1].numpy(), rtol=1e-6)


def test_a_rule_of_ones_own():
    class SignDescent(optimizers.Optimizer):
        """w - learning_rate * sign(g)."""

        def update(self, parameter, gradient, *, learning_rate):
            return (parameter - learning_rate * tg.sign(gradient),)

    (w,) = parameters(1.0)
    SignDescent(0.25).step([w])
    np.testing.assert_array_equal(w.numpy(), 0.75)


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
        ({"momentun": 0.9}, TypeError, "unknown argument 'momentun' in SGD.*Did you mean 'momentum'"),
        ({"lr": 0.1}, TypeError, "unknown argument 'lr' in SGD.*Did you mean 'learning_rate'"),
    ],
)
def test_wrong_settings(settings, error, message):
    with pytest.raises(error, match=message):
        SGD(**settings)


def test_a_rate_is_checked_when_it_is_set_too():
    optimizer = SGD(0.1)
    with pytest.raises(ValueError, match="got -1"):
        optimizer.learning_rate = -1
    assert optimizer.learning_rate == 0.1


def test_wrong_parameters():
    (w,) = parameters(1.0)
    for wrong in (w, 3, [np.ones(3)], [tg.tensor([1.0])], [("path", w)]):
        with pytest.raises(TypeError, match=r"model\.parameters\(\); got"):
            SGD().step(wrong)
    w.grad = None
    with pytest.raises(RuntimeError, match=r"call loss\.backward\(\) first"):
        SGD().step([w])


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
    assert list(optimizer.state_dict()) == ["learning_rate", "momentum"]
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
    with pytest.raises(ValueError, match="Did you mean 'sgd'"):
        optimizers.get("sdg")
    with pytest.raises(TypeError, match=r"write SGD\(\)"):
        optimizers.get(SGD)
    with pytest.raises(TypeError, match=r"got 0\.1"):
        optimizers.get(0.1)
