"""A step that was captured and is replayed has the bits of eager steps."""

import copy

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.optimizers.problem import CONFIGURATIONS
from tinygrad_bn.constraints import MaxNorm, NonNeg, UnitNorm
from tinygrad_bn.errors import CaptureError
from tinygrad_bn.layers import Dense
from tinygrad_bn.mode import using
from tinygrad_bn.optimizers import SGD, Adam, Nadam, Optimizer
from tinygrad_bn.recorders import Recorder
from tinygrad_bn.regularizers import L1, L1L2, L2
from tinygrad_bn.schedules import CosineDecay, ExponentialDecay

SHAPES = {"kernel": (3, 2), "bias": (2,), "gamma": (), "beta": (0,)}


def twins():
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    values["wide"] = rng.normal(size=4)
    return [[tg.Parameter(value, name=name) for name, value in values.items()] for _ in range(2)]


def gradients(step):
    rng = np.random.default_rng(step + 1)
    made = [rng.normal(size=shape).astype(np.float32) for shape in SHAPES.values()]
    return [*made, rng.normal(size=4)]


def taking(optimizer, parameters, steps=1):
    """A function of gradients that takes steps with them."""

    def take(*given):
        for parameter, gradient in zip(parameters, given, strict=True):
            parameter.grad = gradient
        for _ in range(steps):
            optimizer.step(parameters)
        optimizer.zero_grad()

    return take


def captured(*args, **settings):
    return tg.capture(taking(*args, **settings), executor="numpy")


def everything(optimizer, parameters):
    values = [parameter.numpy() for parameter in parameters] + list(optimizer.state_dict().values())
    clipping = optimizer.clipping
    figures = clipping and [clipping.norm, clipping.factor, clipping.acted, clipping.alarms, clipping.blamed]
    return [value.tobytes() for value in values], repr(figures)


def nothing(*_):
    pass


def expect_same_bits(make, given=gradients, meanwhile=nothing, rule=nothing, steps=1):
    """Eight calls of a captured function that takes steps have the bits of the same function as it is."""
    pairs = [(make(), parameters) for parameters in twins()]
    for _, parameters in pairs:
        rule(dict(zip([*SHAPES, "wide"], parameters, strict=True)))
    calls = [taking(*pairs[0], steps), captured(*pairs[1], steps=steps)]
    for step in range(8):
        for (optimizer, _), call in zip(pairs, calls, strict=True):
            meanwhile(step, optimizer)
            call(*map(tg.tensor, given(step)))
        assert everything(*pairs[0]) == everything(*pairs[1])


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_optimizer(name):
    kind, settings = CONFIGURATIONS[name]
    expect_same_bits(lambda: getattr(tg.optimizers, kind)(**settings))


LIMITS = [{}, {"clipvalue": 0.5}, {"clipnorm": 0.5}, {"global_clipnorm": 1.0}]
POLICIES = ["keep", "raise", "skip", "zero"]


@pytest.mark.parametrize("limit", LIMITS, ids=str)
@pytest.mark.parametrize("nonfinite", POLICIES)
def test_every_way_of_clipping(limit, nonfinite):
    expect_same_bits(lambda: Adam(0.1, nonfinite=nonfinite, **limit))


@pytest.mark.parametrize("limit", LIMITS, ids=str)
@pytest.mark.parametrize("nonfinite", ["keep", "skip", "zero"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_gradients_that_are_not_finite(limit, nonfinite, bad):
    def given(step):
        made = gradients(step)
        if step == 3:
            made[1][0] = bad
        return made

    expect_same_bits(lambda: SGD(0.1, momentum=0.9, nonfinite=nonfinite, **limit), given)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("make", [lambda s: SGD(s, momentum=0.9, weight_decay=0.1), Adam, Nadam])
def test_schedules_with_one_step_or_several_in_a_call(make, steps):
    expect_same_bits(lambda: make(0.1), steps=steps)
    expect_same_bits(lambda: make(ExponentialDecay(0.1, 2, 0.5)), steps=steps)
    expect_same_bits(lambda: make(CosineDecay(0.1, 5, warmup_target=0.2, warmup_steps=2)), steps=steps)


def ruled(parameters):
    """Regularizers and constraints of every kind; neighbours in memory differ in theirs."""
    parameters["kernel"].regularizer, parameters["kernel"].constraint = L2(0.1), MaxNorm(0.5)
    parameters["bias"].constraint = UnitNorm()
    parameters["gamma"].regularizer, parameters["gamma"].constraint = L1(0.2), NonNeg()
    parameters["wide"].regularizer, parameters["wide"].constraint = L1L2(0.1, 0.2), NonNeg()


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize(
    "make",
    [SGD, lambda: SGD(0.1, momentum=0.9, global_clipnorm=0.5), lambda: Adam(weight_decay=0.1), Nadam],
)
def test_regularizers_and_constraints(make, steps):
    expect_same_bits(make, rule=ruled, steps=steps)


class Columns(Optimizer):
    """What it makes of a parameter does not lie as the parameter does."""

    def update(self, parameter, gradient, *, learning_rate):
        return learning_rate * gradient


@pytest.mark.parametrize("constraint", [UnitNorm(), UnitNorm(axis=1), UnitNorm(axis=[0, 1]), MaxNorm(0.5)], ids=str)
@pytest.mark.parametrize("steps", [1, 2])
def test_a_constraint_is_given_the_values_as_they_will_lie(constraint, steps):
    pairs = [(Columns(0.1), [tg.Parameter(np.ones((17, 19), np.float32), constraint=constraint)]) for _ in range(2)]
    calls = [taking(*pairs[0], steps), captured(*pairs[1], steps=steps)]
    for step in range(4):
        gradient = np.random.default_rng(step).normal(size=(19, 17)).astype(np.float32).T
        for call in calls:
            call(tg.tensor(gradient))
        assert everything(*pairs[0]) == everything(*pairs[1])


@pytest.mark.parametrize("executor", ["eager", "numpy", "native"])
@pytest.mark.parametrize("make", [lambda: Adam(nonfinite="skip"), lambda: SGD(momentum=0.9, nonfinite="skip")])
def test_a_first_step_that_is_skipped_leaves_no_slots_behind(make, executor):
    optimizer, (parameters, _) = make(), twins()
    take = tg.capture(taking(optimizer, parameters), executor=executor)
    before = list(optimizer.state_dict())
    take(*(tg.tensor(np.full_like(gradient, np.nan)) for gradient in gradients(0)))
    assert list(optimizer.state_dict()) == before
    take(*map(tg.tensor, gradients(1)))
    assert len(optimizer.state_dict()) > len(before)


@pytest.mark.parametrize("executor", ["eager", "numpy"])
def test_a_first_step_that_is_skipped_loses_no_slots_that_were_loaded(executor):
    trained, (parameters, _) = Adam(), twins()
    taking(trained, parameters)(*map(tg.tensor, gradients(0)))
    optimizer = Adam(nonfinite="skip")
    optimizer.load_state_dict(trained.state_dict())
    take = tg.capture(taking(optimizer, parameters), executor=executor)
    take(*(tg.tensor(np.full_like(gradient, np.nan)) for gradient in gradients(0)))
    with tg.frozen_state():
        take(*map(tg.tensor, gradients(1)))
    for found in (optimizer, copy.deepcopy(optimizer)):
        kept, expected = found.state_dict(), trained.state_dict()
        assert {name: kept[name].tobytes() for name in kept} == {name: expected[name].tobytes() for name in expected}


def penalized():
    """A model of small neighbours that differ in their rules."""
    tg.set_random_seed(0)
    return tg.Sequential(
        [
            Dense(6, "tanh", kernel_regularizer=L2(0.1), kernel_constraint=MaxNorm(0.5), bias_regularizer="l1"),
            Dense(6, "elu", kernel_regularizer=L1L2(0.01, 0.02), bias_constraint="non_neg"),
            Dense(6, kernel_constraint=UnitNorm(), bias_constraint="non_neg"),
            Dense(3),
        ]
    )


def fitted(executor, make):
    """The parameters of such a model after some steps."""
    model, optimizer, rng = penalized(), make(), np.random.default_rng(0)

    def step(x):
        loss = tg.square(model(x)).mean()
        told = loss + tg.regularizers.penalty(model.parameters())
        loss.backward()
        optimizer.step(model.named_parameters())
        optimizer.zero_grad()
        return told

    take = tg.capture(step, executor=executor)
    model(rng.normal(size=(4, 5)))
    losses = [take(rng.normal(size=(4, 5)).astype(np.float32)).item() for _ in range(5)]
    return [np.array(losses), *(w.numpy() for w in model.parameters())]


PENALIZED = {
    "SGD": lambda: SGD(0.1, momentum=0.9),
    "Adam": lambda: Adam(weight_decay=0.1),
    "clipped": lambda: Adam(weight_decay=0.1, global_clipnorm=0.1, nonfinite="skip"),
}


@pytest.mark.parametrize("name", PENALIZED)
def test_a_model_with_both_is_replayed_to_the_bit(name):
    eager, replayed = (fitted(executor, PENALIZED[name]) for executor in ("eager", "numpy"))
    assert [value.tobytes() for value in replayed] == [value.tobytes() for value in eager]


@pytest.mark.parametrize("name", PENALIZED)
def test_a_model_with_both_can_be_compiled(name):
    eager, compiled = (fitted(executor, PENALIZED[name]) for executor in ("eager", "native"))
    for found, expected in zip(compiled, eager, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_skipped_step_adds_no_penalty_and_constrains_nothing():
    def given(step):
        made = gradients(step)
        made[0][0] = [1.0, np.nan][step % 2]
        return made

    expect_same_bits(lambda: Adam(nonfinite="skip"), given, rule=ruled)


def test_what_is_set_between_two_runs():
    def meanwhile(step, optimizer):
        if step == 2:
            optimizer.learning_rate = 0.05
        if step == 3:
            optimizer.beta_1, optimizer.weight_decay = 0.5, 0.2
        if step == 4:
            optimizer.global_clipnorm = 0.3
        if step == 5:
            optimizer.learning_rate = ExponentialDecay(0.1, 2, 0.5)
        if step == 6:
            optimizer.load_state_dict({**optimizer.state_dict(), "iterations": 40})

    for steps in (1, 2):
        make = lambda: Adam(0.1, weight_decay=0.1, global_clipnorm=1.0)  # noqa: E731
        expect_same_bits(make, meanwhile=meanwhile, steps=steps)


@pytest.mark.parametrize("steps", [1, 2])
def test_a_checkpoint_between_two_calls_is_that_of_eager_steps_and_can_be_gone_back_to(steps):
    pairs = [(Adam(ExponentialDecay(0.1, 2, 0.5)), parameters) for parameters in twins()]
    eager, replayed = taking(*pairs[0], steps), captured(*pairs[1], steps=steps)

    def go_on(first):
        for step in (first, first + 1):
            for call in (eager, replayed):
                call(*map(tg.tensor, gradients(step)))

    go_on(0)
    kept = [(optimizer.state_dict(), [w.numpy() for w in parameters]) for optimizer, parameters in pairs]
    assert kept[0][0]["iterations"] == kept[1][0]["iterations"] == 2 * steps
    go_on(2)
    after = everything(*pairs[1])
    assert after == everything(*pairs[0])
    for (optimizer, parameters), (state, values) in zip(pairs, reversed(kept), strict=True):
        optimizer.load_state_dict(state)
        for w, value in zip(parameters, values, strict=True):
            w.assign(value)
    go_on(2)
    assert everything(*pairs[0]) == everything(*pairs[1]) == after


@pytest.mark.parametrize("nonfinite", ["skip", "raise"])
def test_the_first_call_may_be_one_whose_step_is_not_taken(nonfinite):
    pairs = [(Adam(ExponentialDecay(0.1, 2, 0.5), nonfinite=nonfinite), parameters) for parameters in twins()]
    eager, replayed = taking(*pairs[0]), captured(*pairs[1])
    before, bad = [w.numpy().tobytes() for w in pairs[1][1]], gradients(0)
    bad[1][:] = np.nan
    for call in (eager, replayed):
        if nonfinite == "skip":
            call(*map(tg.tensor, bad))
        else:
            with pytest.raises(FloatingPointError, match="that of bias"):
                call(*map(tg.tensor, bad))
    assert [w.numpy().tobytes() for w in pairs[1][1]] == before
    state = pairs[1][0].state_dict()
    assert state.pop("iterations") == 0 and not any(value.any() for name, value in state.items() if "." in name)
    for step in range(1, 4):
        for call in (eager, replayed):
            call(*map(tg.tensor, gradients(step)))
        assert everything(*pairs[0]) == everything(*pairs[1])


def test_a_call_that_fails_half_way_leaves_the_numbers_of_its_steps_to_the_next():
    pairs = [(Adam(ExponentialDecay(0.1, 2, 0.5)), parameters) for parameters in twins()]
    failing = [True]

    def call(optimizer, parameters):
        def take(*given):
            taking(optimizer, parameters)(*given)
            if failing[0]:
                raise KeyError("half way")
            taking(optimizer, parameters)(*given)

        return take

    replayed = tg.capture(call(*pairs[1]), executor="numpy")
    with pytest.raises(KeyError, match="half way"):
        replayed(*map(tg.tensor, gradients(0)))
    assert pairs[1][0].iterations == 0
    failing[0] = False
    for step in range(3):
        call(*pairs[0])(*map(tg.tensor, gradients(step)))
        replayed(*map(tg.tensor, gradients(step)))
        assert everything(*pairs[0]) == everything(*pairs[1])


def test_a_step_that_must_not_be_taken_leaves_everything_as_it_was():
    _, parameters = twins()
    optimizer = Adam(0.1, nonfinite="raise")
    take = captured(optimizer, parameters)
    take(*map(tg.tensor, gradients(0)))
    before, bad = everything(optimizer, parameters), gradients(1)
    bad[1][:] = np.nan
    with pytest.raises(FloatingPointError, match=r"got NaN or infinity in that of bias of shape \(2,\)$"):
        take(*map(tg.tensor, bad))
    assert everything(optimizer, parameters) == before


def test_a_step_that_may_be_skipped_leaves_no_number_to_the_next():
    _, parameters = twins()
    optimizer = Adam(nonfinite="skip")

    def alternate(*given):
        for parameter, gradient in zip(parameters, given, strict=True):
            parameter.grad = gradient
            optimizer.step([parameter])
        optimizer.zero_grad()

    with pytest.raises(CaptureError, match="takes one step in a captured call"):
        tg.capture(alternate)(*map(tg.tensor, gradients(0)))
    captured(optimizer, parameters)(*map(tg.tensor, gradients(0)))
    assert optimizer.iterations == 1


def test_a_setting_that_changes_the_text_is_told():
    optimizer = SGD(0.1)
    for name, value, told in [
        ("learning_rate", 0.2, 0),
        ("momentum", 0.9, 1),
        ("momentum", 0.8, 1),
        ("weight_decay", 0.0, 2),
    ]:
        setattr(optimizer, name, value)
        assert optimizer.changes == told


def phases(step, opt, w, other):
    """A new optimizer takes over."""
    yield from (step() for _ in range(3))
    opt[0] = SGD(0.01)
    yield from (step() for _ in range(4))


def looked_at_before(step, opt, w, other):
    """Somebody looked at a gradient before the first step."""
    tg.sum(w * 3.0).backward()
    yield from (step() for _ in range(5))


def joined_by_a_step(step, opt, w, other):
    """The optimizer meets another parameter in between, which then has its gradient cleared too."""
    for _ in range(3):
        yield step()
        tg.sum(other * 2.0).backward()
        opt[0].step([other])
        yield other.grad is not None


def unmet_but_for_a_look(step, opt, w, other):
    """A gradient comes from elsewhere before each call."""
    for _ in range(4):
        tg.sum(w * 3.0).backward()
        yield step()


@pytest.mark.parametrize("executor", ["numpy", "native"])
@pytest.mark.parametrize("story", [phases, looked_at_before, joined_by_a_step, unmet_but_for_a_look])
@pytest.mark.parametrize("order", ["zero backward step", "backward step zero", "backward zero backward step zero"])
def test_zero_grad_clears_in_each_call_what_eager_execution_would_clear(order, story, executor):
    def told(wrap):
        w, other, opt = tg.Parameter(np.ones(3)), tg.Parameter(np.ones(3)), [SGD(0.1)]

        def step():
            loss = tg.sum(tg.square(w))
            for part in order.split():
                if part == "backward":
                    loss.backward()
                elif part == "step":
                    opt[0].step([w])
                else:
                    opt[0].zero_grad()
            return loss

        seen = []
        for result in story(wrap(step), opt, w, other):
            gradients = [each.grad is None or each.grad.numpy().tolist() for each in (w, other)]
            seen.append((*np.round([result, *w.numpy()], 9), gradients))
        return seen

    assert told(lambda step: tg.capture(step, executor=executor)) == told(lambda step: step)


def test_zero_grad_captured_by_itself_clears_what_was_met_later():
    w, optimizer = tg.Parameter(np.ones(3)), SGD(0.1)
    zero = tg.capture(optimizer.zero_grad, executor="numpy")
    zero()
    for _ in range(2):
        tg.sum(w).backward()
        optimizer.step([w])
        zero()
        assert w.grad is None
    assert len(zero.programs) == 2


def unfreezes(a, b):
    b.trainable = not b.trainable


def gets_a_gradient(a, b):
    b.grad = None if b.grad is not None else tg.tensor([1.0])


@pytest.mark.parametrize("change", [unfreezes, gets_a_gradient])
@pytest.mark.parametrize("executor", ["numpy", "native"])
def test_a_parameter_that_a_recorded_step_passed_over_takes_part_once_it_can(change, executor):
    def told(wrap):
        a, b = tg.Parameter(np.ones(1, np.float32)), tg.Parameter(np.ones(1, np.float32))
        a.grad = b.grad = tg.tensor([1.0])
        change(a, b)
        optimizer, seen = SGD(0.1), []
        update = wrap(lambda: optimizer.step([a, b]))
        for _ in range(4):
            update()
            seen.append((a.item(), b.item()))
            change(a, b)
        return seen, update

    expected, _ = told(lambda step: step)
    found, update = told(lambda step: tg.capture(step, executor=executor))
    assert found == expected
    assert len({b for _, b in expected}) == 3
    assert len(update.programs) == 2


def test_it_does_the_same_while_somebody_only_watches():
    eager, watched = [(Adam(0.1, clipnorm=0.5), parameters) for parameters in twins()]
    for step in range(3):
        taking(*eager)(*map(tg.tensor, gradients(step)))
        with using(recorder=Recorder()):
            taking(*watched)(*map(tg.tensor, gradients(step)))
    assert everything(*eager) == everything(*watched)


def test_clipping_as_a_function():
    _, parameters = twins()

    def clip(*given):
        for parameter, gradient in zip(parameters, given, strict=True):
            parameter.grad = gradient
        tg.clip_grad_value(parameters, 0.5)
        norm = tg.clip_grad_norm(parameters, 0.5, norm_type=3, nonfinite="raise")
        clipped = [parameter.grad for parameter in parameters]
        for parameter in parameters:
            parameter.grad = None
        return norm, clipped

    replayed = tg.capture(clip, executor="numpy")
    for step in range(3):
        results = [function(*map(tg.tensor, gradients(step))) for function in (clip, replayed)]
        (norm, clipped), (norm_again, clipped_again) = results
        assert norm == norm_again.item()
        for one, other in zip(clipped, clipped_again, strict=True):
            assert one.numpy().tobytes() == other.numpy().tobytes()


def test_regularizer_and_constraint_may_be_set_between_two_calls():
    w, optimizer = tg.Parameter(np.ones(3)), SGD(1.0)

    def step():
        (0.0 * w).sum().backward()
        optimizer.step([w])
        optimizer.zero_grad()

    take = tg.capture(step, executor="numpy")

    def after(value, **rules):
        for name, rule in rules.items():
            setattr(w, name, rule)
        w.assign(1.0)
        take()
        np.testing.assert_array_equal(w, value)

    after(1.0)
    after(0.5, regularizer=L2(0.25))
    w.regularizer.l2 = 0.125
    after(0.75)
    after(7.0, constraint=lambda w: 0 * w + 7)
    after(0.75, constraint=None)
