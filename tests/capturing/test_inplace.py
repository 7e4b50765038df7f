"""In place is pure, bit for bit, whatever the rule."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_bn.capturing import inplace
from tinygrad_bn.capturing.inplace import InPlace
from tinygrad_bn.errors import ShapeError

BINARY = (np.add, np.subtract, np.multiply, np.maximum, np.minimum, np.divide)
UNARY = (np.negative, np.square, np.abs, np.sign, lambda x: np.sqrt(np.abs(x)), lambda x: (x > 0) * x)


@st.composite
def rules(draw):
    """An elementwise rule `(*targets, *others) -> new targets`, as a list of steps, and arrays to run it on."""
    targets, others = draw(st.integers(1, 3)), draw(st.integers(0, 2))
    shape = draw(st.sampled_from([(3,), (2, 3), (1,), (4, 1), (0,), ()]))
    smaller = [shape, (), (1,) * len(shape)]
    shapes = [shape] * targets + [draw(st.sampled_from(smaller)) for _ in range(others)]
    steps = []
    for number in range(targets + others, targets + others + draw(st.integers(0, 8))):
        value = st.integers(0, number - 1)
        constant = st.sampled_from([0.5, -1.25, 2.0, np.float32(0.1)])
        binary = st.tuples(st.sampled_from(BINARY), value, value | constant)
        steps.append(draw(binary | st.tuples(st.sampled_from(UNARY), value)))
    results = [draw(st.integers(0, targets + others + len(steps) - 1)) for _ in range(targets)]

    def rule(*arrays):
        values = list(arrays)
        for function, *args in steps:
            values.append(function(*(values[arg] if type(arg) is int else arg for arg in args)))
        made = [values[result] for result in results]
        made = [value if value.shape == shape else value + values[0] for value in made]
        return tuple(made) if targets > 1 else made[0]

    return rule, targets, shapes


def run(rule, targets, shapes, dtype, seed=0):
    """Several steps of a rule, in place and purely."""
    rng = np.random.default_rng(seed)
    arrays = [np.array(rng.uniform(-1, 1, shape), dtype) for shape in shapes]
    program, pure = InPlace(rule), [array.copy() for array in arrays]
    memory = [array.ctypes.data for array in arrays]
    for _ in range(3):
        results = rule(*pure)
        pure[:targets] = [
            np.asarray(new).astype(dtype) for new in (results if isinstance(results, tuple) else (results,))
        ]
        program(arrays[:targets], arrays[targets:])
        assert [array.tobytes() for array in arrays] == [array.tobytes() for array in pure]
    assert [array.ctypes.data for array in arrays] == memory
    return program


@given(rules(), st.sampled_from([np.float32, np.float64]))
def test_any_elementwise_rule(drawn, dtype):
    with np.errstate(all="ignore"):
        run(*drawn, dtype)


def sgd(p, g, rate):
    return p - rate * g


def momentum(p, v, g, rate):
    v = 0.9 * v - rate * g
    return p + v, v


def nesterov(p, v, g, rate):
    v = 0.9 * v - rate * g
    return p + (0.9 * v - rate * g), v


def adam(p, m, v, g, rate):
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * np.square(g)
    return p - rate * m / (np.sqrt(np.abs(v)) + 1e-7), m, v


def decayed(p, v, g, rate):
    p = p - p * (rate * 0.01)
    return momentum(p, v, g, rate)


@pytest.fixture
def copies(monkeypatch):
    """How often a rule fell back on copying."""
    taken = []
    monkeypatch.setattr(
        InPlace, "_copying", lambda self, *args, right=InPlace._copying: (taken.append(1), right(self, *args))
    )
    return taken


@pytest.mark.parametrize(("rule", "targets"), [(sgd, 1), (momentum, 2), (nesterov, 2), (adam, 3), (decayed, 2)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_rules_of_optimizers_run_in_place(rule, targets, dtype, copies):
    for shape in ((5,), (2, 3), ()):
        run(rule, targets, [shape] * (targets + 1) + [()], dtype)
    assert not copies


def test_they_allocate_nothing(monkeypatch):
    texts = []
    planned = inplace._planned
    monkeypatch.setattr(inplace, "_planned", lambda *args: texts.append(planned(*args)) or texts[-1])
    run(momentum, 2, [(3,)] * 3 + [()], np.float32)
    source, _, scratch = texts[0]
    assert scratch <= 1
    steps = [line for line in source.splitlines()[1:] if "=" in line]
    results = [line.partition(" = ")[0].strip() for line in steps]
    assert len(steps) == 4 and all(line.endswith(f", {result})") for line, result in zip(steps, results, strict=True))


@pytest.mark.parametrize(
    "rule",
    [
        lambda a, b: (b, a),
        lambda a, b: (b, a + b),
        lambda a, b: (a + 1, a),
        lambda a, b: (a.copy() if float(a[0]) > 0 else -a, b),
        lambda a, b: (np.cumsum(a), b),
        lambda a, b: (np.where(a > 0, a, b), b * 2),
        lambda a, b: (a**2, b),
        lambda a, b: (np.add(a, b, dtype=np.float64), b),
        lambda a, b: [a - 1, b - a],
        lambda a, b: (a - a.mean(), b),
        lambda a, b: (np.add(a, [1, 2, 3]), b),
        lambda a, b: (np.add(a, [b[0], b[1], b[2]]), b),
        lambda a, b: (np.ones(3), a),
    ],
)
def test_what_cannot_run_in_place_runs_as_it_stands(rule, copies):
    run(lambda *arrays: tuple(rule(*arrays)), 2, [(3,)] * 2, np.float32)
    InPlace(rule)([np.ones(3), np.ones(3)], [])
    assert copies or rule(np.ones(3), np.ones(3))[0].tolist() in ([0, 0, 0], [2, 3, 4])


def test_arguments_may_come_back_as_they_are(copies):
    run(lambda a, b: (a, b), 2, [(3,)] * 2, np.float32)
    run(lambda a, b: (a, a + b), 2, [(3,)] * 2, np.float32)
    assert not copies


START = np.random.default_rng(0).standard_normal((2, 100))


def test_one_program_serves_arrays_of_one_kind_and_another_the_next():
    program = InPlace(sgd)
    for dtype, of_gradient, of_rate in itertools.product((np.float32, np.float64), repeat=3):
        p, g, rate = START[0].astype(dtype), START[1].astype(of_gradient), np.array(0.1, of_rate)
        right = sgd(p, g, rate).astype(dtype)
        program([p], [g, rate])
        assert p.tobytes() == right.tobytes()


def test_lists_of_arrays_are_arguments_too():
    run(lambda a, row: np.add(a, [row, row]), 1, [(2, 3), (3,)], np.float32)


def test_targets_of_any_layout():
    base = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    for turned in (lambda a: a.T, lambda a: a[::-1], lambda a: a[:, ::2], lambda a: a):
        p, g = turned(base.copy()), turned(base * 2)
        right = sgd(p, g, np.float32(0.1))
        InPlace(sgd)([p], [g, np.array(0.1, np.float32)])
        np.testing.assert_array_equal(p, right)


@pytest.mark.parametrize(
    "rule", [lambda p, v: p + 1, lambda p, v: (p, v, v), lambda p, v: (p.sum(), v), lambda p, v: (p[:2], v)]
)
@pytest.mark.parametrize("opaque", [False, True])
def test_results_that_do_not_fit_are_refused_and_nothing_is_written(rule, opaque):
    targets = [np.ones(3), np.ones(3)]
    with pytest.raises(ShapeError, match=r"2 of shape \(3,\)"):
        InPlace(lambda p, v: rule(p.copy() if opaque and p.tolist() else p, v))(targets, [])
    assert all(target.tolist() == [1, 1, 1] for target in targets)
