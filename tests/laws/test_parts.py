"""Whatever networks and their training are made of can be captured: a law for all of it, and a guard that it is all."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.capturing.native.test_program import _compiles
from tests.laws.parts import FAMILIES, OPTIONS, PARTS, PLAIN, Part, arguments
from tests.laws.replays import LAYOUTS
from tests.laws.trials import clipping_trial, layer_trial, loss_trial, real, step_trial, together
from tinygrad_bn import activations, constraints, layers, losses, optimizers, regularizers, schedules
from tinygrad_bn.capturing import running
from tinygrad_bn.tensors import Tensor

CALLS = 5
BATCH = 20
compiled = pytest.mark.skipif(not _compiles(), reason="there is no C compiler")


@pytest.fixture
def loud(monkeypatch):
    """A step that cannot be compiled says so, as if none had done it before; and a warning is an error."""
    monkeypatch.setattr(running, "_told", set())


def tensors(arrays):
    return [Tensor(array, requires_grad=array.dtype.kind == "f") for array in arrays]


def outcome(trial, result):
    """What a step gave, and what it left behind: arrays."""
    return [*_leaves(result), *trial.state()]


def _leaves(result):
    if isinstance(result, (list, tuple)):
        return [leaf for part in result for leaf in _leaves(part)]
    return [] if result is None else [np.array(result.value if isinstance(result, Tensor) else result)]


def assert_replayed(part, layout="as they come"):
    """A captured step gives, and leaves behind, the bits of the step itself, in each call on numbers of its own."""
    change = LAYOUTS[layout]
    eager, other = part.begin(), part.begin()
    captured = tg.capture(other.step, executor="numpy")
    for call in range(CALLS):
        expected = outcome(eager, eager.step(*tensors(map(change, eager.given(call)))))
        found = outcome(other, captured(*tensors(map(change, other.given(call)))))
        for ours, theirs in zip(found, expected, strict=True):
            assert (ours.dtype, ours.shape, ours.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes()), call
    assert len(captured.programs) == 1


def assert_compiled(parts):
    """The native executor does what the replay does, from the same state in each call, on numbers of its own.

    But for 4 units in the last place of a part's largest number. What the replay has done is undone before the compiled
    step does it.
    """
    trials = [part.begin() for part in parts]
    replayed, native = (tg.capture(together(trials), executor=executor) for executor in ("numpy", "native"))
    for call in range(CALLS):
        given = [array for trial in trials for array in trial.given(call)]
        with tg.frozen_state():
            expected = list(map(outcome, trials, replayed(*tensors(given))))
        found = list(map(outcome, trials, native(*tensors(given))))
        for part, *both in zip(parts, found, expected, strict=True):
            assert_near(*both, f"{part}, call {call}")


def assert_near(found, expected, where=""):
    """No farther apart than 4 units in the last place of the largest number of their dtype."""
    for dtype in {array.dtype for array in expected}:
        ours, theirs = (flat([array for array in arrays if array.dtype == dtype]) for arrays in (found, expected))
        largest = np.abs(theirs).max(initial=0, where=np.isfinite(theirs))
        apart = 4 * np.finfo(dtype).eps * float(largest) if dtype.kind == "f" else 0
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=apart, err_msg=where)


def flat(arrays):
    return np.concatenate([array.ravel() for array in arrays])


# What holds


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("part", PARTS, ids=str)
def test_a_replay_has_the_bits_of_eager_execution(part, layout):
    assert_replayed(part, layout)


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_under_frozen_state_a_replay_leaves_nothing_behind(part):
    trial = part.begin()
    captured = tg.capture(trial.step, executor="numpy")
    captured(*tensors(trial.given(0)))
    before = trial.state()
    with tg.frozen_state():
        captured(*tensors(trial.given(1)))
    assert [array.tobytes() for array in trial.state()] == [array.tobytes() for array in before]


def batches():
    """The parts, so many at a time as are compiled in one."""
    for family in FAMILIES:
        own = [part for part in PARTS if part.family == family]
        for start in range(0, len(own), BATCH):
            yield pytest.param(own[start : start + BATCH], id=f"{family}, from {start}")


@compiled
@pytest.mark.parametrize("parts", list(batches()))
def test_a_compiled_step_is_within_4_ulp_of_the_replay(parts, loud):
    assert_compiled(parts)


# That it is all


def missing(family):
    """Which of a family have no part."""
    return FAMILIES[family]() - {part.kind for part in PARTS if part.family == family}


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_left_out(family):
    assert missing(family) == set()
    assert FAMILIES[family]()


def unaccounted(kind):
    """The arguments of an optimizer that are neither tried nor known to change nothing but numbers."""
    return arguments(kind) - OPTIONS.keys() - PLAIN


@pytest.mark.parametrize("name", sorted(FAMILIES["optimizers"]()))
def test_no_argument_of_an_optimizer_is_left_out(name):
    assert unaccounted(getattr(optimizers, name)) == set()


def test_what_is_new_and_has_no_part_is_found(monkeypatch):
    class Novel(losses.Loss, schedules.Schedule, constraints.Constraint, regularizers.Regularizer):
        pass

    class Lion(optimizers.SGD):
        def __init__(self, learning_rate=0.1, *, lookahead=False, **settings):
            super().__init__(learning_rate, **settings)

    for module in (losses, schedules, constraints, regularizers):
        monkeypatch.setattr(module, "Novel", Novel, raising=False)
    monkeypatch.setattr(optimizers, "Lion", Lion, raising=False)
    monkeypatch.setattr(layers, "__all__", [*layers.__all__, "Conv"])
    monkeypatch.setattr(activations, "__all__", [*activations.__all__, "swish"])
    monkeypatch.setattr(tg, "clip_by_agc", None, raising=False)
    found = {family: missing(family) for family in FAMILIES}
    assert found == {
        "activations": {"swish"},
        "layers": {"Conv"},
        "losses": {"Novel"},
        "schedules": {"Novel"},
        "regularizers": {"Novel"},
        "constraints": {"Novel"},
        "optimizers": {"Lion"},
        "clipping": {"clip_by_agc"},
    }
    assert unaccounted(Lion) == {"lookahead"}


# That the laws bite: in each family, on what counts its calls in Python, and on what has no C text


class Counting:
    """x, 2 x, 3 x, ... at its calls, out of sight of whoever records."""

    def __init__(self):
        self.calls = 0

    def __call__(self, x):
        self.calls += 1
        return self.calls * x


@tg.primitive
def without_c(x, /):
    return np.sort(x, axis=None).reshape(x.shape)


without_c.defvjp(lambda g, y, x: g)


def twisted(family, making):
    """A part of a family that works with twist(x) in the place of x; `making` makes the twist."""

    class Twisting(layers.Layer):
        def __init__(self):
            super().__init__()
            self.twist = making()

        def forward(self, x):
            return self.twist(x)

    class Twisted(optimizers.SGD):
        def __init__(self, learning_rate):
            super().__init__(learning_rate)
            self.twist = making()

        def step(self, parameters):
            for parameter in parameters:
                parameter.grad = self.twist(parameter.grad)
            super().step(parameters)

    def loss():
        twist = making()
        return losses.get(lambda y_true, y_pred: twist(tg.square(y_pred - y_true)))

    def penalty():
        twist = making()
        return {"regularizer": lambda weights: tg.sum(twist(tg.square(weights)))}

    def clipping():
        twist = making()
        return clipping_trial(lambda parameters: [twist(parameter.grad) for parameter in parameters], False)

    begin = {
        "activations": lambda: layer_trial(lambda: layers.Dense(3, making()), (4, 5), True),
        "layers": lambda: layer_trial(Twisting, (4, 5), True),
        "losses": lambda: loss_trial(loss, real, tg.tanh),
        "regularizers": lambda: step_trial(optimizers.SGD, penalty()),
        "constraints": lambda: step_trial(optimizers.SGD, {"constraint": making()}),
        "schedules": lambda: step_trial(lambda: Twisted(schedules.PowerDecay(0.1, 2))),
        "optimizers": lambda: step_trial(lambda: Twisted(0.1)),
        "clipping": clipping,
    }
    return Part(family, "twisted", "", begin[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_replay_that_repeats_the_first_call_is_caught(family):
    assert_replayed(twisted(family, lambda: lambda x: 2 * x))
    with pytest.raises(AssertionError):
        assert_replayed(twisted(family, Counting))


@compiled
@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_that_is_not_compiled_is_caught(family, loud):
    with pytest.warns(UserWarning, match="runs as a NumPy replay instead of native code: sort"):
        assert_compiled([twisted(family, lambda: without_c)])


def test_numbers_that_are_5_ulp_off_are_caught():
    x = np.array([0.25, 1.0], np.float32)
    for ulps, index in ((4, 0), (4, 1)):
        assert_near([x + ulps * np.spacing(x) * (np.arange(2) == index)], [x])
    with pytest.raises(AssertionError):
        assert_near([x + 5 * np.spacing(x)], [x])
