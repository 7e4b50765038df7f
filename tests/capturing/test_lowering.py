"""Lowering: every operation as the NumPy calls of its own text, each made once."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.capturing.flows import calls, flow_of
from tinygrad_bn.capturing.flow import Constant
from tinygrad_bn.capturing.passes import simplified
from tinygrad_bn.errors import CaptureError
from tinygrad_bn.mode import guard

X = np.array([1.0, -2.0, 3.0], np.float32)


def test_a_call_that_was_made_before_is_not_made_again():
    assert calls(flow_of(lambda x: tg.exp(x) * tg.exp(x), X)) == ["exp", "multiply"]


def test_an_operation_and_the_same_call_in_the_text_of_another_are_one():
    def step(x):
        return tg.var(x, axis=0), x - tg.mean(x, axis=0, keepdims=True), tg.standardize(x, axis=0, epsilon=1e-3)

    assert calls(flow_of(step, np.stack([X, 2 * X]))).count("subtract") == 1


def test_what_a_rule_recomputes_is_shared_with_the_forward_pass():
    def step(x):
        leaf = w * x
        return tg.gradients(tg.softplus(leaf).sum(), w)

    w = tg.Parameter(X)
    assert calls(flow_of(step, X)).count("exp") < 3


def test_numbers_of_different_signs_of_zero_and_types_are_different():
    found = calls(flow_of(lambda x: (x * 0.0, x * -0.0, x * 2, x * 2.0), X))
    assert found.count("multiply") == 4


STRANGE = np.array([[1.0, -2.0, -0.0], [np.nan, np.inf, 3.0]], np.float32)


@pytest.mark.parametrize(
    "idle",
    [
        lambda x: x * 1.0,
        lambda x: 1 * x,
        lambda x: x / 1,
        lambda x: x.copy(),
        lambda x: x.astype(np.float32),
        lambda x: x.reshape((2, 3)),
        lambda x: tg.broadcast_to(x, (2, 3)),
    ],
)
def test_a_call_that_gives_back_what_it_is_given_is_not_made(idle):
    flow = flow_of(lambda x: tg.exp(idle(x)) + tg.exp(x), STRANGE)
    assert calls(flow) == ["exp", "add"]
    assert flow.steps[0].inputs == [flow.arguments[0]]


@pytest.mark.parametrize(
    "busy",
    [
        lambda x: x + 0.0,  # -0 becomes 0
        lambda x: 1 / x,
        lambda x: x.T,
        lambda x: x.astype(np.float64),
        lambda x: x.T.copy(),  # another layout
        lambda x: x * np.ones((2, 2, 3), np.float32),
    ],
)
@pytest.mark.filterwarnings("ignore:the array that")
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_call_that_changes_a_bit_a_shape_or_a_layout_is_made(busy):
    flow = flow_of(busy, STRANGE)
    assert calls(flow)
    assert flow.results[0] is flow.steps[-1].result


def test_calls_on_constants_are_made_at_once():
    (result,) = flow_of(lambda x: tg.exp(tg.tensor([0.0, 1.0])) + 1, X).results
    assert isinstance(result.origin, Constant)
    np.testing.assert_allclose(result.sample, np.exp([0.0, 1.0]) + 1, rtol=1e-6)


def test_an_updated_variable_is_a_new_value():
    w = tg.Parameter(X)

    def step(x):
        before = w * x
        w.assign(w + x)
        after = w * x
        w.assign(w + x)
        return before, after

    flow = flow_of(step, X)
    assert calls(flow) == ["multiply", "add", "multiply", "add"]
    (store,) = flow.stores
    assert store.value is flow.steps[-1].result
    np.testing.assert_array_equal(w, X)


@pytest.mark.parametrize("new", [lambda x: x.T, lambda x: x.T[:, ::-1], lambda x: x[0, 0] * 0.1])
def test_an_updated_variable_is_read_as_it_lies_in_memory(new):
    """Norms have other bits where the same numbers are added up in another order."""
    found = []
    for executor in ("eager", "numpy"):
        w = tg.Parameter(np.zeros((17, 19), np.float32))

        def step(x, w=w):
            w.assign(new(x))
            return tg.norm(w), tg.norm(w, axis=0), tg.norm(w, axis=1)

        step, rng = tg.capture(step, executor=executor), np.random.default_rng(0)
        drawn = [rng.normal(size=(19, 17)).astype(np.float32) for _ in range(4)]
        found.append([result.numpy().tobytes() for x in drawn for result in step(x)])
    assert found[0] == found[1]


def test_what_nobody_reads_is_not_brought_into_rows():
    w = tg.Parameter(np.zeros((2, 3), np.float32))
    flow = flow_of(lambda x: w.assign(tg.exp(x).T), np.ones((3, 2), np.float32))
    assert "copy" not in calls(simplified(flow))


@pytest.mark.parametrize(
    ("step", "variables"),
    [
        (lambda x, v, w: (w.assign(x * w), v.assign(v + 1.0)), ""),
        (lambda x, v, w: (w.assign(w * 2.0), v.assign(v + x)), "w"),
        (lambda x, v, w: (w.assign(w * 2.0), v.assign(v + x[::-1]), w.assign(w * 2.0)), "w"),
        (lambda x, v, w: (w.assign(w * 2.0), v.assign(v * 2.0), x), "wv"),
    ],
)
def test_an_argument_that_is_read_after_an_update_is_told_with_what_was_updated_by_then(step, variables):
    known = {name: tg.Parameter(X, name=name) for name in "vw"}

    def results(x):
        return tuple(result for result in step(x, **known) if result is not None)

    told = {place: "".join(v.name for v in found) for place, found in flow_of(results, X).reread.items()}
    assert told == ({0: variables} if variables else {})


def test_an_opaque_operation_is_one_step():
    @tg.primitive
    def odd(x):
        y = np.empty_like(x)
        y[...] = x * 2
        return y

    odd.defvjp(None)
    (step,) = flow_of(odd, X).steps
    np.testing.assert_array_equal(step.function(X), 2 * X)
    type(odd).registry.remove(odd)


def test_a_detached_tensor_is_the_same_value():
    flow = flow_of(lambda x: (x * 2).detach() + (x * 2), X)
    assert calls(flow) == ["multiply", "add"]
    assert len(set(flow.steps[1].inputs)) == 1


def test_what_a_condition_may_leave_out_is_not_read():
    w = tg.Parameter(X)

    def step(x):
        guard((x > 0).all())
        w.assign(w + x)
        return w * 2

    with pytest.raises(CaptureError, match="after an update that may be skipped"):
        flow_of(step, X)


def test_steps_know_their_module_and_the_users_line():
    net = tg.Sequential([tg.layers.Input(3), tg.layers.Dense(2)])
    flow = flow_of(lambda x: tg.gradients(net(x).sum(), net.parameters()), X[None])
    assert {step.scope for step in flow.steps} == {"layers.1", ""}
    assert all(step.place.startswith(__file__) for step in flow.steps)
    assert flow.names[net.layers[1].kernel] == "layers.1.kernel"
