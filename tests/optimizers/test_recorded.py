"""A step that was recorded and is run again has the bits of eager steps."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.optimizers.problem import CONFIGURATIONS
from tests.optimizers.tape import Tape
from tinygrad_bn.errors import CaptureError
from tinygrad_bn.mode import Recorder, using
from tinygrad_bn.optimizers import SGD, Adam, Nadam
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


def give(parameters, given):
    for parameter, gradient in zip(parameters, given, strict=True):
        parameter.grad = tg.tensor(gradient)


def everything(optimizer, parameters):
    values = [parameter.numpy() for parameter in parameters] + list(optimizer.state_dict().values())
    clipping = optimizer.clipping
    figures = clipping and [clipping.norm, clipping.factor, clipping.acted, clipping.alarms]
    return [value.tobytes() for value in values], repr(figures)


def expect_same_bits(make, steps=8, given=gradients, meanwhile=None):
    eager, recorded = twins()
    first, second = make(), make()
    tape = None
    for step in range(steps):
        for optimizer in (first, second):
            if meanwhile is not None:
                meanwhile(step, optimizer)
        give(eager, given(step))
        first.step(eager)
        if tape is None:
            give(recorded, given(step))
            tape = Tape(second, recorded)
        else:
            tape.replay(given(step))
        assert everything(first, eager) == everything(second, recorded)


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

    expect_same_bits(lambda: SGD(0.1, momentum=0.9, nonfinite=nonfinite, **limit), given=given)


@pytest.mark.parametrize("make", [lambda s: SGD(s, momentum=0.9, weight_decay=0.1), Adam, Nadam])
def test_schedules(make):
    expect_same_bits(lambda: make(ExponentialDecay(0.1, 2, 0.5)))
    expect_same_bits(lambda: make(CosineDecay(0.1, 5, warmup_target=0.2, warmup_steps=2)))


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

    expect_same_bits(lambda: Adam(0.1, weight_decay=0.1, global_clipnorm=1.0), meanwhile=meanwhile)


def test_a_step_that_must_not_be_taken_leaves_everything_as_it_was():
    _, parameters = twins()
    optimizer = Adam(0.1, nonfinite="raise")
    give(parameters, gradients(0))
    tape = Tape(optimizer, parameters)
    before, bad = everything(optimizer, parameters), gradients(1)
    bad[1][:] = np.nan
    with pytest.raises(FloatingPointError, match=r"got NaN or infinity in that of bias of shape \(2,\)$"):
        tape.replay(bad)
    assert everything(optimizer, parameters) == before


def test_several_steps_in_one_recording_have_the_numbers_of_their_own():
    eager, recorded = twins()
    first, second = (Adam(ExponentialDecay(0.1, 2, 0.5)) for _ in range(2))

    class Twice:
        def step(self, parameters):
            second.step(parameters)
            second.step(parameters)

    tape = None
    for step in range(4):
        give(eager, gradients(step))
        first.step(eager)
        first.step(eager)
        if tape is None:
            give(recorded, gradients(step))
            tape = Tape(Twice(), recorded)
        else:
            tape.replay(gradients(step))
        assert everything(first, eager) == everything(second, recorded)


def test_a_step_that_may_be_skipped_leaves_no_number_to_the_next():
    _, parameters = twins()
    optimizer = Adam(nonfinite="skip")
    give(parameters, gradients(0))

    class Collector(Recorder):
        def count(self, counter):
            pass

    with using(recorder=Collector()):
        optimizer.step(parameters)
        with pytest.raises(CaptureError, match="takes one step in a captured call"):
            optimizer.step(parameters)
    with using(recorder=Collector()):
        optimizer.step(parameters)


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


def test_it_does_the_same_while_somebody_only_watches():
    eager, watched = twins()
    first, second = Adam(0.1, clipnorm=0.5), Adam(0.1, clipnorm=0.5)
    for step in range(3):
        give(eager, gradients(step))
        give(watched, gradients(step))
        first.step(eager)
        with using(recorder=Recorder()):
            second.step(watched)
    assert everything(first, eager) == everything(second, watched)


def test_clipping_as_a_function():
    (_, parameters), given = twins(), gradients(0)

    def clip(limit):
        tg.clip_grad_value(parameters, limit)
        return tg.clip_grad_norm(parameters, limit, norm_type=3, nonfinite="raise")

    give(parameters, given)
    expected = clip(0.5), [parameter.grad.numpy() for parameter in parameters]
    give(parameters, given)

    class Blind(Recorder):
        def reveal(self, tensor, request):
            raise AssertionError(request)

        def guard(self, good, explain):
            return True

    with using(recorder=Blind()):
        norm = clip(0.5)
    assert norm.item() == expected[0]
    for parameter, gradient in zip(parameters, expected[1], strict=True):
        assert parameter.grad.numpy().tobytes() == gradient.tobytes()
