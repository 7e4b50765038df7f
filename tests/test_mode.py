"""The ambient mode: it nests, it decorates, it does not leak, and frozen_state undoes."""

import asyncio
import threading
from contextvars import copy_context
from itertools import count

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.interrupts import interrupted
from tinygrad_bn import ops
from tinygrad_bn.mode import Mode, advance, current, frozen_state, using
from tinygrad_bn.ops.random import generator, random_state, set_random_state
from tinygrad_bn.recorders import Following, Recorder
from tinygrad_bn.variables import State


def test_changes_nest_and_end():
    with using(training=True):
        with using(gradients=False):
            assert (current().gradients, current().training) == (False, True)
        assert (current().gradients, current().training) == (True, True)
    assert (current().gradients, current().training) == (True, None)


def test_an_exception_ends_a_mode():
    before = current()
    with pytest.raises(ZeroDivisionError), using(gradients=False), using(training=True):
        _ = 1 / 0
    assert current() is before


def test_unknown_parts_are_refused():
    with pytest.raises(TypeError, match="gradint"), using(gradint=False):
        pass
    assert current().gradients


def test_the_same_object_can_be_entered_again():
    off = tg.no_grad()
    with off:
        with off:
            assert not current().gradients
        assert not current().gradients
    assert current().gradients


def test_it_decorates_functions_that_recurse():
    @tg.no_grad
    def depth(n):
        """How deep it went."""
        assert not current().gradients
        return 0 if n == 0 else 1 + depth(n - 1)

    assert depth(5) == 5 and depth.__doc__ == "How deep it went." and depth.__name__ == "depth"
    assert current().gradients

    @tg.no_grad()
    def fails():
        _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        fails()
    assert current().gradients


def test_a_decorated_function_runs_in_several_threads_at_once():
    barrier, seen = threading.Barrier(2, timeout=5), []

    @tg.no_grad()
    def meet():
        barrier.wait()
        seen.append(current().gradients)
        barrier.wait()

    def work():
        for _ in range(20):
            meet()
            seen.append(not current().gradients)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [False] * 80


def test_the_same_object_is_at_work_in_several_threads_at_once():
    off, first, second = tg.no_grad(), threading.Event(), threading.Event()
    seen = []

    def work():
        with off:
            first.set()
            assert second.wait(5)
        seen.append(current().gradients)

    thread = threading.Thread(target=work)
    thread.start()
    assert first.wait(5)
    with off:
        second.set()
        thread.join()
        assert not current().gradients
    assert current().gradients and seen == [True]


def test_generators_that_end_in_another_order_leave_the_mode_as_it_was():
    def within(mode):
        with mode:
            yield

    before = current()
    first, second = within(tg.no_grad()), within(using(training=True))
    next(first), next(second)
    first.close(), second.close()
    assert current() is before


def test_what_runs_later_cannot_be_decorated():
    def generator():
        yield 1

    async def coroutine():
        return 1

    async def both():
        yield 1

    for function in (generator, coroutine, both):
        with pytest.raises(TypeError, match="`with` inside"):
            tg.no_grad(function)


def test_threads_do_not_see_each_others_modes():
    barrier, seen = threading.Barrier(2, timeout=5), {}

    def work(gradients):
        with using(gradients=gradients, training=gradients):
            for _ in range(50):
                barrier.wait()
                seen.setdefault(gradients, set()).add((current().gradients, current().training))

    with tg.no_grad():
        threads = [threading.Thread(target=work, args=(gradients,)) for gradients in (True, False)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not current().gradients
    assert seen == {True: {(True, True)}, False: {(False, False)}}


def test_a_new_thread_starts_in_the_default_mode():
    seen = []
    with tg.no_grad():
        thread = threading.Thread(target=lambda: seen.append(current().gradients))
        thread.start()
        thread.join()
    assert seen == [True]


def test_asynchronous_tasks_do_not_see_each_others_modes():
    async def work(gradients, seen):
        with using(gradients=gradients):
            for _ in range(5):
                await asyncio.sleep(0)
                seen.add((gradients, current().gradients))

    async def everything():
        seen = set()
        await asyncio.gather(*(work(gradients, seen) for gradients in (True, False, True)))
        return seen

    assert asyncio.run(everything()) == {(True, True), (False, False)}
    assert current().gradients


def test_a_generator_that_stays_outside_its_modes_when_it_yields_leaks_none():
    def norms(rows):
        for row in rows:
            with tg.no_grad():
                norm = tg.norm(row)
            yield norm

    for norm in norms([tg.Parameter([3.0, 4.0])] * 2):
        assert current().gradients and not norm.requires_grad


def test_a_mode_and_a_recorder_do_nothing_by_default():
    assert (Mode().gradients, Mode().recorder, Mode().training, Mode().journal) == (True, None, None, None)
    with using(recorder=Recorder()):
        y = tg.tensor([1.0]) * 2
        assert y.tolist() == [2.0]
        State([1.0]).assign([2.0])
    assert y.source[0] is tg.multiply


def test_it_is_known_which_modules_are_at_work_and_the_recorder_around_hears_of_them_too():
    class Diary(Following):
        def __init__(self, other=None):
            super().__init__(other)
            self.homes = []

        def note(self, tensor):
            self.homes.append([type(module).__name__ for module in self.open])
            super().note(tensor)

    class Outer(tg.Module):
        def __init__(self):
            self.inner = tg.layers.Activation("relu")

        def forward(self, x):
            return self.inner(x * 2) + 1

    outer = Diary()
    inner = Diary(outer)
    with using(recorder=inner):
        Outer()(tg.tensor([1.0]))
        with pytest.raises(tg.errors.ShapeError):
            tg.Sequential([tg.layers.Dense(2, input_shape=(3,))])(tg.tensor([1.0]))
    assert inner.homes == outer.homes == [["Outer"], ["Outer", "Activation"], ["Outer"]]
    assert inner.open == outer.open == []


def draw():
    return tg.dropout(np.ones(100), 0.5)


def test_frozen_state_brings_variables_and_generators_back():
    tg.set_random_seed(0)
    s, own = State([1.0]), np.random.default_rng(1)
    with frozen_state():
        s.assign([2.0])
        s.assign([3.0])
        inside = draw(), tg.dropout(np.ones(100), 0.5, rng=own)
    assert s.tolist() == [1.0]
    np.testing.assert_array_equal((draw(), tg.dropout(np.ones(100), 0.5, rng=own)), inside)


def test_frozen_state_brings_back_after_an_exception():
    s = State([1.0])

    @frozen_state()
    def fails():
        s.assign([2.0])
        _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        fails()
    assert s.tolist() == [1.0]


def test_frozen_states_nest():
    tg.set_random_seed(0)
    s = State([1.0])
    with frozen_state():
        with frozen_state():
            s.assign([2.0])
            innermost = draw()
        assert s.tolist() == [1.0]
        s.assign([3.0])
        np.testing.assert_array_equal(draw(), innermost)
        with frozen_state():
            s.assign([4.0])
            assert not np.array_equal(draw(), innermost)
        assert s.tolist() == [3.0]
    assert s.tolist() == [1.0]
    np.testing.assert_array_equal(draw(), innermost)


def test_an_interrupt_at_any_moment_finds_all_brought_back_or_nothing():
    def attempt(moment):
        variables, counter, rng = [State(np.zeros(3)), State(np.ones(2))], np.array(1), np.random.default_rng(0)

        def change():
            for variable in variables:
                variable.assign(variable.value + 1)
            advance(counter)
            generator(rng).standard_normal(2)
            tg.set_random_seed(7)

        came = copy_context().run(interrupted, frozen_state()(change), moment)
        values = [variable.value.tolist() for variable in variables]
        return came, (*values, int(counter), rng.bit_generator.state, random_state()["seed"])

    before, found = random_state(), []
    try:
        for moment in count(1):
            tg.set_random_seed(0)
            came, state = attempt(moment)
            found += [state] if state not in found else []
            if not came:
                break
    finally:
        set_random_state(before)
    old, new = sorted(found, key=lambda state: state[2])
    assert (old[:3], old[4]) == (([0.0] * 3, [1.0] * 2, 1), 0)
    assert (new[:3], new[4]) == (([1.0] * 3, [2.0] * 2, 2), 7)
    assert old[3] != new[3]


def test_frozen_state_can_be_left_and_entered_again():
    s = State([1.0])
    for _ in range(3):
        with frozen_state():
            s.assign(s * 2)
        assert s.tolist() == [1.0]


def test_frozen_state_freezes_no_gradients():
    w = tg.Parameter([2.0])
    with frozen_state():
        (w * w).backward()
    assert w.grad.tolist() == [4.0]


def test_generators_say_what_they_expect():
    with pytest.raises(TypeError, match=r"numpy\.random\.Generator"):
        ops.generator(rng=np.random.RandomState(0))
