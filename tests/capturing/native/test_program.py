"""A native program gives what the NumPy replay gives, but for its rounding, which is as small."""

from functools import partial
from itertools import count

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.capturing.native.flows import Training, apart, flow_of
from tests.interrupts import interrupted
from tinygrad_bn.capturing.captured import capture
from tinygrad_bn.capturing.native import building, calling
from tinygrad_bn.capturing.native.program import NativeProgram
from tinygrad_bn.capturing.replaying import Replay
from tinygrad_bn.errors import NativeError
from tinygrad_bn.layers import ELU, Activation, BatchNormalization, Dense, LayerNormalization
from tinygrad_bn.optimizers import SGD, Adam, AdamW
from tinygrad_bn.variables import State, Variable, side_by_side


def _compiles():
    try:
        return bool(building.compiled("int nothing;"))
    except NativeError:
        return False


pytestmark = pytest.mark.skipif(not _compiles(), reason="there is no C compiler")


def normalized():
    dense = partial(Dense, use_bias=False)
    return [dense(96), BatchNormalization(), ELU(), dense(64), BatchNormalization(), ELU(), Dense(10)]


def deep():
    kernel = {"activation": "selu", "kernel_initializer": "lecun_normal"}
    return [*(Dense(72, **kernel) for _ in range(5)), Dense(10)]


def by_rows():
    return [Dense(40, activation="tanh"), LayerNormalization(), Dense(40, activation="sigmoid"), Dense(10)]


momentum = partial(SGD, learning_rate=0.05, momentum=0.9)
MOMENTA = {
    "plain": partial(SGD, learning_rate=0.05),
    "momentum": momentum,
    "nesterov": partial(momentum, learning_rate=0.01, nesterov=True),  # at .05 it leaps, and magnifies rounding
}


@pytest.mark.parametrize("layers", [normalized, deep, by_rows])
@pytest.mark.parametrize("optimizer", MOMENTA.values(), ids=MOMENTA)
def test_a_training_step_is_within_4_ulp_of_the_replay(layers, optimizer):
    replayed, native = (Training(layers, 80, 10, 24, optimizer) for _ in range(2))
    step = capture(replayed.step, executor="numpy")
    step(replayed.x, replayed.y)
    program = NativeProgram(flow_of(native.step, native.x, native.y))
    loss = step(replayed.x, replayed.y)
    (found,) = program.run([native.x, native.y])
    assert apart(found, loss.value) <= 4
    for after, expected in zip(native.variables(), replayed.variables(), strict=True):
        assert apart(after, expected) <= 4


def twenty(dtype="float32"):
    kernel = {"activation": "selu", "kernel_initializer": "lecun_normal", "dtype": dtype}
    return [*(Dense(100, **kernel) for _ in range(20)), Dense(10, dtype=dtype)]


def three(dtype="float32"):
    dense, norm = partial(Dense, use_bias=False, dtype=dtype), partial(BatchNormalization, dtype=dtype)
    hidden = [layer for _ in range(2) for layer in (dense(96), norm(), Activation("elu", dtype=dtype))]
    return [*hidden, Dense(10, dtype=dtype)]


def gradients_of(layers, dtype, weights=None):
    """What the replay makes of them, as one array; what the native program does; and the weights."""
    training = Training(partial(layers, dtype), 100, 10, 32, SGD)
    if weights is not None:
        training.model.load_state_dict({name: value.astype(dtype) for name, value in weights.items()})
    x, weights = training.x.astype(dtype), training.model.state_dict()

    def step(x, y):
        loss = tg.losses.SparseCategoricalCrossentropy(from_logits=True)(y, training.model(x, training=True))
        return tg.gradients(loss, training.model.parameters())

    flow = flow_of(step, x, training.y)
    return *(_flat(runner(flow).run([x, training.y])) for runner in (Replay, NativeProgram)), weights


def _flat(arrays):
    return np.concatenate([array.ravel() for array in arrays])


@pytest.mark.parametrize("layers", [three, twenty])
def test_native_gradients_are_as_exact_as_the_replays_however_deep(layers):
    replayed, native, weights = gradients_of(layers, "float32")
    exact, _, _ = gradients_of(layers, "float64", weights)
    distances = [np.linalg.norm(found - exact) for found in (replayed, native)]
    assert 0 < distances[1] <= 1.5 * distances[0]
    assert np.abs(native - replayed).max() <= 3 * np.abs(replayed - exact).max()


@pytest.mark.parametrize("layers", [three, twenty])
@pytest.mark.parametrize("optimizer", MOMENTA.values(), ids=MOMENTA)
def test_a_step_of_sgd_leaves_the_weights_within_4_ulp_of_the_largest(layers, optimizer):
    found, expected = after_two_steps(layers, partial(optimizer, learning_rate=0.01))
    assert apart(found, expected) <= 4


@pytest.mark.parametrize("layers", [three, twenty])
@pytest.mark.parametrize("optimizer", [Adam, AdamW])
def test_a_step_of_adam_leaves_no_weight_farther_apart_than_twice_the_rate(layers, optimizer):
    found, expected = after_two_steps(layers, partial(optimizer, learning_rate=0.001))
    assert np.abs(found - expected).max() <= 0.002
    assert np.median(np.abs(found - expected)) <= 4 * np.spacing(np.abs(expected).max())


def after_two_steps(layers, optimizer):
    """The weights after a native step, and after a replayed one, both from where one eager step has led."""
    replayed, native = (Training(layers, 100, 10, 32, optimizer) for _ in range(2))
    step = capture(replayed.step, executor="numpy")
    step(replayed.x, replayed.y)
    program = NativeProgram(flow_of(native.step, native.x, native.y))
    step(replayed.x, replayed.y)
    program.run([native.x, native.y])
    return native.variables()[0], replayed.variables()[0]


def test_a_thousand_steps_train_as_well_as_replayed_ones():
    replayed, native = (Training(normalized, 80, 10, 24, momentum) for _ in range(2))
    step = capture(replayed.step, executor="numpy")
    step(replayed.x, replayed.y)
    program = NativeProgram(flow_of(native.step, native.x, native.y))
    for _ in range(1000):
        expected = step(replayed.x, replayed.y)
        (found,) = program.run([native.x, native.y])
    assert 0 < float(found) < 2e-3
    assert float(found) == pytest.approx(float(expected.value), rel=0.05)


def test_the_learning_rate_is_read_at_every_run():
    training = Training(deep, 80, 10, 24, momentum)
    program = NativeProgram(flow_of(training.step, training.x, training.y))
    training.optimizer.learning_rate, training.optimizer.momentum = 0.0, 0.5
    parameters, velocities = training.variables()
    program.run([training.x, training.y])
    assert apart(training.variables()[1], np.float32(0.5) * velocities) <= 1
    assert apart(training.variables()[0], parameters + np.float32(0.5) * velocities) <= 1


LAYOUTS = {
    "transposed": lambda x: x.T.copy().T,
    "flipped": lambda x: x[::-1].copy()[::-1],
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "sealed": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
}


@pytest.mark.parametrize("rows", [3, 300])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_arguments_may_lie_in_memory_as_they_like(layout, rows):
    x = np.random.default_rng(0).standard_normal((rows, 40))
    program = NativeProgram(flow_of(lambda x: tg.exp(x) - tg.sum(x, axis=0), x))
    assert apart(program.run([layout(x)])[0], program.run([x.copy()])[0]) == 0


def test_an_argument_may_be_the_memory_of_a_variable_that_is_updated():
    variable = State(np.arange(20000.0))

    def step(x):
        variable.assign(variable + x)
        return x[::-1] * 1.5

    program = NativeProgram(flow_of(step, np.ones(20000)))
    before = variable.value.copy()
    (result,) = program.run([variable.value])
    assert apart(result, before[::-1] * 1.5) == 0
    assert apart(variable.value, 2 * before) == 0


def test_results_are_not_overwritten_by_later_runs():
    program = NativeProgram(flow_of(lambda x: (x, 2 * x, x.T), np.ones((2, 3))))
    first = program.run([np.ones((2, 3))])
    program.run([np.full((2, 3), 5.0)])
    assert [result.tolist() for result in first] == [[[1.0] * 3] * 2, [[2.0] * 3] * 2, [[1.0] * 2] * 3]


def test_variables_are_found_where_they_have_been_moved():
    variables = [State(np.full(5, float(number))) for number in range(2)]

    def step(x):
        for variable in variables:
            variable.assign(variable + x)

    program = NativeProgram(flow_of(lambda x: step(x) or x, np.ones(5)))
    side_by_side(variables)
    program.run([np.full(5, 10.0)])
    assert [variable.value.tolist() for variable in variables] == [[11.0] * 5, [12.0] * 5]


def test_whoever_remembers_a_variable_hears_of_its_update():
    variable = State(np.ones(3), name="average")

    def step(x):
        variable.assign(variable * x, "the step")
        return x

    program = NativeProgram(flow_of(step, np.ones(3)))
    before = variable.version.updated
    program.run([np.ones(3)])
    assert variable.version.updated > before
    assert variable.version.writer == "the step"
    with tg.frozen_state():
        program.run([np.full(3, 7.0)])
        assert variable.value.tolist() == [7.0] * 3
    assert variable.value.tolist() == [1.0] * 3


def test_updates_read_the_values_from_before_the_step():
    a, b = State(np.arange(4.0)), State(np.arange(4.0) + 10)

    def step(x):
        new_a, new_b = b[::-1] + x, a[::-1] + x
        a.assign(new_a)
        b.assign(new_b)
        return x

    program = NativeProgram(flow_of(step, np.zeros(4)))  # which has swapped them once
    program.run([np.ones(4)])
    assert a.value.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert b.value.tolist() == [11.0, 12.0, 13.0, 14.0]


class Guarded:
    """A step that may be refused, and an update that may be left out."""

    def __init__(self):
        self.total, self.count = State(np.zeros(3)), State(np.zeros(()))
        self.counter = np.array(0)

    def step(self, x):
        tg.mode.guard((x < 100).all(), lambda: FloatingPointError("too large"))
        self.count.assign(self.count + 1)
        self.update(x)
        return x.sum()

    def update(self, x):
        if tg.mode.guard((x > 0).all()):
            self.total.assign(self.total + x)
            tg.mode.count(self.counter)

    @property
    def actions(self):
        return int(self.counter)


def test_a_failed_check_raises_and_leaves_the_variables_alone():
    guarded = Guarded()
    program = NativeProgram(flow_of(guarded.step, np.ones(3)))
    with pytest.raises(FloatingPointError, match="too large"):
        program.run([np.array([1.0, 2.0, 300.0])])
    assert (guarded.total.value.tolist(), guarded.count.value, guarded.actions) == ([1.0] * 3, 1, 1)
    assert program.run([np.array([1.0, 2.0, 3.0])]) == [6.0]
    assert (guarded.total.value.tolist(), guarded.count.value, guarded.actions) == ([2.0, 3.0, 4.0], 2, 2)


def unconditional():
    return tg.Sequential([Dense(4, use_bias=False), BatchNormalization(), Dense(1)]), Adam(0.01)


def with_policy(policy):
    return unconditional()[0], Adam(0.01, clipnorm=0.1, nonfinite=policy)


INTERRUPTED = {
    "unconditional": unconditional,
    **{policy: partial(with_policy, policy) for policy in ("keep", "skip", "raise", "zero")},
}


def stepping(model, optimizer):
    """The flow of a step of learning, its argument, and the memory of all that it updates."""
    x = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    model(x)

    def step(x):
        tg.mean(tg.square(model(x, training=True) - 1)).backward()
        optimizer.step(model.parameters())
        model.zero_grad()

    flow = flow_of(step, x)
    assert flow.counters
    return flow, x, [*(store.variable.value for store in flow.stores), *(counter for counter, _ in flow.counters)]


@pytest.mark.parametrize("made", INTERRUPTED.values(), ids=INTERRUPTED)
def test_an_interrupt_at_any_moment_finds_all_updates_done_or_none(made):
    flow, x, memory = stepping(*made())
    program = NativeProgram(flow)
    before = [array.copy() for array in memory]
    assert not interrupted(partial(program.run, [x]), 0)
    after = [array.copy() for array in memory]
    found = set()
    for moment in count(1):
        for array, old in zip(memory, before, strict=True):
            array[...] = old
        came = interrupted(partial(program.run, [x]), moment)
        now = [array.tobytes() for array in memory]
        assert now in ([array.tobytes() for array in state] for state in (before, after)), moment
        found.add(now != [array.tobytes() for array in before])
        if not came:
            break
    assert found == {False, True}


def test_an_interrupted_search_for_moved_variables_is_made_again():
    variable = State(np.zeros(3))

    def step(x):
        variable.assign(variable + x)

    program = NativeProgram(flow_of(lambda x: step(x) or x, np.ones(3)))
    came, moment = True, 0
    while came:
        moment += 1
        variable.value = np.zeros(3)
        Variable.moves += 1
        came = interrupted(partial(program.run, [np.ones(3)]), moment)
        variable.value[...] = 0
        program.run([np.ones(3)])
        assert variable.value.tolist() == [1.0] * 3, moment


def test_counters_are_undone_with_the_variables():
    for made in INTERRUPTED.values():
        flow, x, memory = stepping(*made())
        program = NativeProgram(flow)
        before = [array.copy() for array in memory]
        with tg.frozen_state():
            program.run([x])
            assert [int(counter) for counter, _ in flow.counters] == [2]
        for array, old in zip(memory, before, strict=True):
            np.testing.assert_array_equal(array, old)


def test_updates_whose_condition_fails_are_left_out_and_others_are_not():
    guarded = Guarded()
    program = NativeProgram(flow_of(guarded.step, np.ones(3)))
    program.run([np.array([1.0, -2.0, 3.0])])
    assert (guarded.total.value.tolist(), guarded.count.value, guarded.actions) == ([1.0] * 3, 2, 1)


def test_an_early_result_that_becomes_a_new_value_does_not_disturb_who_reads_the_old_one():
    variable = State(np.arange(40.0).reshape(8, 5) / 40)

    def step(x):
        new = tg.tanh(variable + x)
        late = tg.sum(variable * tg.sum(new), axis=0)
        variable.assign(new)
        return late

    x = np.full((8, 5), 0.25)
    program = NativeProgram(flow_of(step, x))
    before = variable.value.copy()
    (found,) = program.run([x])
    new = np.tanh(before + x)
    assert apart(found, (before * new.sum()).sum(axis=0)) <= 4
    assert apart(variable.value, new) <= 4


def test_updates_are_counted_by_writer_as_eager_ones_are():
    variable = State(np.ones(3))

    def step(x):
        variable.assign(variable + x, "the step")
        return x

    program = NativeProgram(flow_of(step, np.ones(3)))
    variable.assign(np.zeros(3), "somebody else")
    with tg.frozen_state():
        program.run([np.ones(3)])
    assert variable.version.writers == {"the step": 1, "somebody else": 1}
    variable.version.writers.clear()  # as if none of it had happened
    for _ in range(2):
        program.run([np.ones(3)])
    assert variable.version.writers == {"the step": 2}


def test_a_fed_array_that_its_owner_writes_is_read_where_it_lies():
    fed = np.array(2.0)
    program = NativeProgram(flow_of(lambda x: x * tg.mode.feed(fed, lambda: None), np.ones(3)))
    fed[...] = 5.0
    assert program.run([np.ones(3)])[0].tolist() == [5.0] * 3


def test_arrays_come_from_another_build_of_numpy_or_python_by_copies(monkeypatch):
    monkeypatch.setattr(calling.Calling, "_finds_arrays", lambda self: False)
    program = NativeProgram(flow_of(lambda x, y: x - 2 * y, np.ones((2, 3)), np.ones(3)))
    assert program.run([np.full((2, 3), 5.0), np.arange(3.0)])[0].tolist() == [[5.0, 3.0, 1.0]] * 2
