"""What a Tensor remembers: long chains, memory, copies; and how that is read."""

import contextlib
import copy
import gc
import pickle
import sys
import weakref

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.mode import using
from tinygrad_bn.recorders import Recorder
from tinygrad_bn.tensors.graph import ancestors, arguments, consumers, made, moved, source


def chain(x, length):
    for _ in range(length):
        x = x * 1.0001
    return x


def curved(x, length):
    for _ in range(length):
        x = tg.sin(x)
    return x


def calls(function):
    """How many Python and C functions a call makes: a measure of its cost that no other process disturbs."""
    count = 0

    def note(frame, event, arg):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def test_a_chain_of_a_hundred_thousand_operations_goes_forward_backward_and_away():
    assert gc.isenabled()
    x = tg.tensor(np.array(1.0), requires_grad=True)
    y = chain(x, 100_000)
    y.backward()
    np.testing.assert_allclose(x.grad, 1.0001**100_000, rtol=1e-9)
    assert len(repr(y)) < 100 and copy.deepcopy(y).item() == pickle.loads(pickle.dumps(y)).item() == y.item()
    ends = weakref.ref(y)
    del y
    assert ends() is None  # at once: without recursion, and without waiting for the collector


def test_a_long_chain_can_be_differentiated_twice_and_pushed_forward():
    x = tg.tensor(np.array(1.0), requires_grad=True)
    (g,) = tg.gradients(curved(x, 5_000), [x], create_graph=True)
    (gg,) = tg.gradients(g, [x])
    _, pushed = tg.jvp(lambda x: curved(x, 5_000), (np.array(1.0),), (np.array(1.0),))
    np.testing.assert_allclose(pushed, g, rtol=1e-12)
    _, pushed = tg.jvp(tg.grad(lambda x: curved(x, 5_000)), (np.array(1.0),), (np.array(1.0),))
    np.testing.assert_allclose(pushed, gg, rtol=1e-9)


@pytest.mark.parametrize("create_graph", [False, True])
def test_the_sweep_is_linear_in_the_length_of_the_chain(create_graph):
    def cost(length):
        x = tg.tensor(np.array(1.0), requires_grad=True)
        return calls(lambda: tg.gradients(curved(x, length), x, create_graph=create_graph))

    base, once, twice = cost(0), cost(500), cost(1000)
    assert (twice - base) <= 2.001 * (once - base)


def test_a_diamond_of_diamonds_is_swept_once_per_vertex():
    def cost(depth):
        y = tg.tensor(np.array(1.0), requires_grad=True)
        for _ in range(depth):
            y = y * 0.5 + y * 0.5
        return calls(lambda: y.backward())

    assert abs((cost(300) - cost(200)) - (cost(200) - cost(100))) <= 2


def test_nothing_waits_for_the_collector():
    x = tg.tensor(np.ones(3), requires_grad=True)
    w = tg.Parameter(np.ones(3))

    def use_everything():
        y = (tg.softmax(x * w)[1:] ** 2).sum()
        y.backward()
        tg.gradients((y * y).sum(), [x, w], create_graph=True)
        tg.grad(lambda v: tg.grad(lambda u: (u * v * w).sum())(x).sum())(x)
        tg.hessian(lambda v: (v**3).sum())(np.ones(2))
        tg.jvp(tg.exp, (x,), (np.ones(3),))
        _, pull = tg.vjp(tg.exp, x)
        pull(np.ones(3))
        with contextlib.suppress(ValueError):
            tg.grad(tg.exp)(np.ones(3))
        copy.deepcopy(y)

    use_everything()
    gc.collect()
    gc.disable()
    try:
        use_everything()
        use_everything()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_holding_a_tensor_holds_its_graph_and_nothing_holds_it_from_below():
    x = tg.tensor([1.0], requires_grad=True)
    y = x * 2
    middle = weakref.ref(y)
    z = y * 3
    del y
    assert middle() is not None
    del z
    assert middle() is None


def test_what_needs_no_gradient_remembers_nothing():
    x, c = tg.tensor([1.0], requires_grad=True), tg.tensor([1.0])
    assert (c * 2).source is None
    with tg.no_grad():
        assert (x * 2).source is None
    assert (x.detach() * 2).source is None
    assert (x * 2).source[0] is tg.multiply


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_are_detached_leaves(duplicate):
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = tg.softmax(x * x)
    y.sum().backward()
    for original, wanted in ((x, True), (y, False), (x.detach(), False), (x > 1, False)):
        double = duplicate(original)
        np.testing.assert_array_equal(double, original)
        assert (double.requires_grad, double.source, double.grad, double.logits) == (wanted, None, None, None)
        assert not np.shares_memory(double.value, original.value)


def test_deep_copies_share_what_was_shared():
    x = tg.tensor([1.0])
    first, second = copy.deepcopy([x, x])
    assert first is second


def test_softmax_and_sigmoid_carry_their_logits_in_every_mode():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    with tg.no_grad():
        assert tg.softmax(x).logits is x
    assert tg.sigmoid(x.detach()).logits is not None
    assert (tg.softmax(x) * 1).logits is None


class Watcher(Recorder):
    def __init__(self):
        self.made, self.asked = [], []

    def note(self, tensor):
        self.made.append(tensor)

    def reveal(self, tensor, request):
        self.asked.append(request)


def test_a_recorder_sees_every_result_in_order_with_its_origin():
    x, watcher = tg.tensor([1.0]), Watcher()
    with using(recorder=watcher, gradients=False):
        y = (x + 1) * x.T
    assert [t.source[0].__name__ for t in watcher.made] == ["add", "transpose", "multiply"]
    assert watcher.made[-1] is y and not y.requires_grad
    assert [t.serial for t in watcher.made] == sorted(t.serial for t in watcher.made)


def test_a_recorder_is_asked_before_python_sees_a_value():
    x, watcher = tg.tensor([1.0], requires_grad=True), Watcher()
    questions = [
        float, int, bool, repr, np.asarray, np.argsort, lambda t: t.item(), lambda t: t.tolist(), lambda t: t.numpy(),
        lambda t: 1.0 in t, lambda t: x[t > 0], lambda t: [1][t.astype(int).reshape(()) * 0],
    ]  # fmt: skip
    with using(recorder=watcher):
        for position, question in enumerate(questions, 1):
            question(x)
            assert len(watcher.asked) >= position, question
        asked = len(watcher.asked)
        assert (len(x), x.shape, np.shape(x), np.zeros_like(x).dtype) == (1, (1,), (1,), np.float32)
        assert len(watcher.asked) == asked


# Reading it

LEAF = tg.Parameter(np.arange(6.0).reshape(2, 3))


def test_a_leaf_was_made_by_nothing_and_leads_only_to_itself():
    assert (made(LEAF), arguments(LEAF), ancestors(LEAF), moved(LEAF)) == (None, [], {LEAF}, LEAF)


def test_what_made_a_result_and_from_what():
    y = tg.clip(LEAF, 0.0, 4.0) * LEAF
    clipped = arguments(y)[0]
    assert (made(y), arguments(y), source(y)[1]) == (tg.multiply, [clipped, LEAF], (clipped, LEAF))
    assert arguments(LEAF * 2.0) == [LEAF]
    assert arguments(LEAF * LEAF) == [LEAF, LEAF]
    assert ancestors(y) >= {y, clipped, LEAF}
    assert y not in ancestors(clipped)


def test_those_that_were_computed_from_it():
    y = LEAF + 1.0
    z = y * y
    assert consumers([y, z]) == {LEAF: [y], y: [z, z]}


def test_numbers_that_only_change_places_stay_the_same_numbers():
    assert moved(LEAF.T.reshape(6).astype("float32")) is LEAF
    doubled = LEAF * 2.0
    assert moved(tg.broadcast_to(doubled, (4, 2, 3))) is doubled
