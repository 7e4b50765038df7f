"""Sections, joining and placing: what comes last, what is done at once, and where it all lives."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.capturing.flows import flow_of
from tinygrad_bn.capturing.joining import Together, joined
from tinygrad_bn.capturing.passes import simplified
from tinygrad_bn.capturing.placing import Places
from tinygrad_bn.capturing.replaying import Replay
from tinygrad_bn.capturing.sections import Sections
from tinygrad_bn.mode import guard
from tinygrad_bn.variables import side_by_side

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def variables(count=3, packed=True):
    made = [tg.Parameter(np.full((2, 3), number, np.float32), name=f"w{number}") for number in range(count)]
    if packed:
        side_by_side(made)
    return made


def decay(*weights):
    def step(x):
        for number, w in enumerate(weights):
            w.assign(w - 0.5 * (x @ np.eye(3, dtype=np.float32) * number))
        return x.sum()

    return step


@pytest.mark.filterwarnings("ignore:the array that")
def test_updates_come_last_and_nothing_else_does():
    weights = variables()
    flow = simplified(flow_of(decay(*weights), X))
    sections = Sections(flow)
    ((steps, stores),) = sections.commit.values()
    assert {step.called for step in steps} == {"multiply", "subtract"}
    assert {step.called for step in sections.compute} == {"dot", "add.reduce"}
    assert len(stores) == 3


def test_conditions_part_the_updates():
    a, b = variables(2)

    def step(x):
        b.assign(b + 2.0)
        careful(x)

    def careful(x):
        if guard((x < 100).all()):
            a.assign(a + 1.0)

    flow = simplified(flow_of(step, X))
    assert sorted(len(conditions) for conditions in Sections(flow).commit) == [0, 1]
    replay = Replay(flow)
    replay.run([X])
    assert (a.numpy()[0, 0], b.numpy()[0, 0]) == (1.0, 3.0)
    replay.run([X + 100])
    assert (a.numpy()[0, 0], b.numpy()[0, 0]) == (1.0, 5.0)


@pytest.mark.filterwarnings("ignore:the array that")
@pytest.mark.parametrize("packed", [True, False])
def test_neighbours_are_updated_at_once_with_the_same_bits(packed):
    weights, alone = variables(packed=packed), variables(packed=False)
    flow = simplified(flow_of(lambda x: [w.assign(w - 0.5 * (x * w)) for w in weights] and None, X))
    stores = joined(flow).stores
    assert len(stores) == (1 if packed else 3)
    assert isinstance(stores[0].variable, Together) is packed
    Replay(flow).run([X])
    for w in alone:
        w.assign(w - 0.5 * (tg.tensor(X) * w))
    for w, expected in zip(weights, alone, strict=True):
        assert w.numpy().tobytes() == expected.numpy().tobytes()


def test_a_neighbour_with_another_rule_is_left_alone():
    a, b, c = variables()

    def step(x):
        a.assign(a + x)
        b.assign(b + x)
        c.assign(c * x)

    flow = simplified(flow_of(step, X))
    assert sorted(type(store.variable).__name__ for store in joined(flow).stores) == ["Parameter", "Together"]
    Replay(flow).run([X])
    np.testing.assert_array_equal(b, 1 + X)
    np.testing.assert_array_equal(c, 2 * X)


def test_a_variable_is_not_overwritten_while_another_update_reads_it():
    a, b = variables(2, packed=False)

    def step(x):
        old = a.copy()
        a.assign(a + x)
        b.assign(old * 2.0 + b)

    Replay(simplified(flow_of(step, X))).run([X])
    np.testing.assert_array_equal(a, X)
    np.testing.assert_array_equal(b, np.ones((2, 3)))


def test_memory_is_used_again_along_a_chain():
    def chain(x):
        for _ in range(50):
            x = tg.tanh(x * 1.5)
        return x

    flow = simplified(flow_of(chain, X))
    places = Places(flow, Sections(flow))
    assert len(places.blocks) == 1
    (result,) = Replay(flow).run([X])
    np.testing.assert_array_equal(result, chain(tg.tensor(X)))


def test_an_operand_that_is_also_read_transposed_is_not_overwritten():
    square = np.arange(9, dtype=np.float32).reshape(3, 3)
    flow = simplified(flow_of(lambda x: (lambda y: y + y.T)(x * 2.0), square))
    (result,) = Replay(flow).run([square])
    np.testing.assert_array_equal(result, 2 * square + 2 * square.T)
