"""Loops that threads share give the bits that one thread gives, whoever else is at work."""

import dataclasses
import os
import threading

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.capturing.native.flows import apart, flow_of
from tests.capturing.native.test_program import pytestmark  # noqa: F401
from tinygrad_bn.capturing.native import blas
from tinygrad_bn.capturing.native.emitting import Source
from tinygrad_bn.capturing.native.program import NativeProgram
from tinygrad_bn.capturing.native.sharing import cut
from tinygrad_bn.variables import State

LOOPS = {
    "elements": lambda x: tg.exp(x) * 2 + x,
    "rows": lambda x: tg.exp(x - tg.max(x, axis=1, keepdims=True)) * tg.sum(tg.exp(x), axis=1, keepdims=True),
    "columns": lambda x: (tg.sum(tg.tanh(x), axis=0), tg.tanh(x)),
    "all": lambda x: tg.sum(tg.exp(x)),
    "rows and columns": lambda x: (tg.sum(tg.exp(x), axis=1), tg.sum(tg.exp(x), axis=0)),
    "between": lambda x: tg.sum(tg.exp(x).reshape((-1, 3, x.shape[1])), axis=1),
    "a maximum of columns": lambda x: tg.max(tg.exp(x), axis=0),
}
SHAPES = {(603, 131): np.float32, (9, 9001): np.float64, (30003, 3): np.float32}


def lent():
    """The BLAS with threads that it lends."""
    found = blas.found()
    if found is None or not found.run_in_threads or found.threads < 2:
        pytest.skip("this BLAS does not lend threads")
    return found


def outcome(program, x):
    return [result.copy() for result in program.run([x])]


@pytest.mark.parametrize(("shape", "dtype"), SHAPES.items(), ids=str)
@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_any_number_of_threads_gives_the_same_bits_and_they_are_near_those_of_numpy(monkeypatch, loop, shape, dtype):
    found = lent()
    x = np.random.default_rng(0).uniform(0.1, 1, shape).astype(dtype)  # no sum cancels
    flow = flow_of(loop, x)
    shared = outcome(NativeProgram(flow), x)
    monkeypatch.setattr(blas, "found", lambda: dataclasses.replace(found, run_in_threads=0))
    alone = outcome(NativeProgram(flow), x)
    expected = loop(tg.Tensor(x.astype(float)))
    for one, other, near in zip(shared, alone, expected if isinstance(expected, tuple) else (expected,), strict=True):
        assert apart(one, other) == 0
        assert apart(one, near.value.astype(dtype)) <= 64


def test_small_loops_and_gathered_maxima_stay_with_one_thread():
    x = np.ones((603, 131))
    shared = {name: "share(" in NativeProgram(flow_of(loop, x)).source for name, loop in LOOPS.items()}
    assert shared == {name: name != "a maximum of columns" for name in LOOPS}
    assert not any("share(" in NativeProgram(flow_of(loop, x[:12])).source for loop in LOOPS.values())


def test_exported_c_knows_neither_threads_nor_pragmas():
    class Portable(Source):
        portable = True
        head = ()

    for loop in LOOPS.values():
        text = Portable(flow_of(loop, np.ones((603, 131)))).text
        assert "share(" not in text and "#" not in text and "last" not in text


@pytest.mark.parametrize(
    ("loops", "gathered"), [([99, 300], []), ([16, 300], [True]), ([40], [True]), ([1000, 2], [True])]
)
def test_the_blocks_of_a_cut_hold_every_pass_and_none_is_empty(loops, gathered):
    found = cut(loops, gathered, 2**20)
    assert found is not None
    assert found.blocks == bool(gathered) * -(-found.passes // found.grain)
    assert found.grain < found.passes == loops[0]
    assert len(loops) > 1 or found.grain % 16 == 0


def test_a_variable_is_updated_in_its_place_by_all_threads():
    variable = State(np.arange(600000.0))

    def step(x):
        variable.assign(tg.exp(-variable * x) + 1)
        return x

    program = NativeProgram(flow_of(step, np.float64(1e-6).reshape(1)))
    assert "share(" in program.source
    before = variable.value.copy()
    program.run([np.full(1, 2e-6)])
    assert apart(variable.value, np.exp(-before * 2e-6) + 1) <= 4


def test_programs_and_products_at_once_do_not_disturb_each_other():
    x = np.random.default_rng(0).standard_normal((603, 131))
    programs = [NativeProgram(flow_of(LOOPS[name], x)) for name in ("columns", "rows")]
    wanted = [outcome(program, x) for program in programs] + [[x.T @ x]]
    runs = [lambda program=program: outcome(program, x) for program in programs] + [lambda: [x.T @ x]]
    differences = []

    def work(run, expected):
        for _ in range(50):
            differences.append(max(apart(one, other) for one, other in zip(run(), expected, strict=True)))

    callers = [threading.Thread(target=work, args=pair) for pair in zip(runs, wanted, strict=True)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert differences == [0] * 150


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_parent_and_forked_child_go_on():
    x = np.random.default_rng(0).standard_normal((603, 131))
    program = NativeProgram(flow_of(LOOPS["columns"], x))
    wanted = outcome(program, x)

    def goes_on():
        return all(apart(one, other) == 0 for one, other in zip(outcome(program, x), wanted, strict=True))

    child = os.fork()
    if not child:
        os._exit(0 if goes_on() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert goes_on()
