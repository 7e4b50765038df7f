"""`backward`, `gradients` and `no_grad` on Tensors."""

import time
from threading import Barrier, Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_bn as tg
from tinygrad_bn.errors import DtypeError, GradientError, ShapeError
from tinygrad_bn.mode import current
from tinygrad_bn.primitives import Function

START = np.array([1.0, 2.0, 3.0])


@pytest.fixture
def x():
    return tg.tensor(START, requires_grad=True)


# backward


def test_a_gradient_accumulates_over_passes(x):
    y = (x * x).sum()
    y.backward()
    first = x.grad
    y.backward()
    (3 * x).sum().backward()
    np.testing.assert_array_equal(x.grad, 4 * START + 3)
    np.testing.assert_array_equal(first, 2 * START)  # what was handed out stays as it was
    assert isinstance(first, tg.Tensor) and not first.requires_grad


def test_who_reads_a_gradient_writes_nothing_that_another_thread_may_be_adding_to(x):
    (x * x).sum().backward()
    before = x._grad
    first = x.grad
    assert x.grad is first and x._grad is before
    (x * x).sum().backward()
    np.testing.assert_array_equal(x.grad, 4 * START)
    np.testing.assert_array_equal(first, 2 * START)


def test_every_leaf_and_nothing_else_gets_a_gradient(x):
    w, c = tg.Parameter(START), tg.tensor(START)
    y = x * w
    (y * c).sum().backward()
    np.testing.assert_array_equal(x.grad, START**2)
    np.testing.assert_array_equal(w.grad, START**2)
    assert y.grad is None and c.grad is None


def test_a_leaf_is_its_own_derivative():
    x = tg.tensor(3.0, requires_grad=True)
    x.backward()
    x.backward(np.array(2.0))
    assert (x.grad.item(), x.grad.dtype) == (3, np.float32)


def test_a_gradient_has_the_shape_and_dtype_of_its_primal():
    for dtype in (np.float16, np.float32, np.float64):
        x, scalar = (tg.tensor(np.ones(shape, dtype), requires_grad=True) for shape in ((3, 1), ()))
        ((x + np.ones((2, 1, 4))) * scalar).sum().backward()
        assert (x.grad.shape, x.grad.dtype, scalar.grad.shape, scalar.grad.dtype) == ((3, 1), dtype, (), dtype)


@pytest.mark.parametrize("gradient", [[1, 2, 3], (1.0, 2.0, 3.0), START, START.astype(np.float32), tg.tensor(START)])
def test_a_cotangent_is_whatever_makes_an_array_of_the_outputs_shape(x, gradient):
    (2 * x).backward(gradient)
    np.testing.assert_array_equal(x.grad, 2 * np.array([1, 2, 3]))
    assert x.grad.dtype == np.float64


def test_numbers_are_rounded_once_to_the_dtype_of_what_they_weigh():
    for dtype in (np.float16, np.float32, np.float64):
        x, tenths = tg.tensor(np.ones(2, dtype), requires_grad=True), np.full(2, 0.1).astype(dtype)
        (1 * x).backward([0.1, 0.1])
        (number,) = tg.gradients(x.sum(), [x], grad_outputs=0.1)
        (numbers,) = tg.gradients(1 * x, [x], grad_outputs=[0.1, 0.1])
        (mixed,) = tg.gradients(1 * x, [x], grad_outputs=[np.float64(0.1), 0.1])
        for found in (x.grad, number, numbers, mixed):
            np.testing.assert_array_equal(found, tenths)
        x.grad = [0.1, 0.1]
        np.testing.assert_array_equal(x.grad, tenths)


@pytest.mark.parametrize(
    ("cotangent", "error", "message"),
    [
        (None, ShapeError, r"one element; got shape \(3,\)"),
        (1.0, ShapeError, r"\(3,\); got \(\)"),
        (np.ones(2), ShapeError, r"\(3,\); got \(2,\)"),
        ("a", TypeError, "cotangent expects real numbers"),
        (1j * np.ones(3), TypeError, "cotangent expects real numbers"),
    ],
    ids=repr,
)
def test_other_cotangents_are_refused(x, cotangent, error, message):
    with pytest.raises(error, match=message):
        (2 * x).backward(cotangent)
    assert x.grad is None


def test_what_asks_for_no_gradient_has_none(x):
    with tg.no_grad():
        y = (x * x).sum()
    for unasked in (y, tg.tensor(1.0), (x > 0).any(), tg.argmax(x), x.astype(int).sum()):
        with pytest.raises(RuntimeError, match="requires_grad=True"):
            unasked.backward()


def test_what_asks_no_more_has_no_gradient(x):
    late, y = tg.tensor(START, requires_grad=True), (x * x).sum()
    both = (x * late).sum()
    x.requires_grad = False
    with pytest.raises(RuntimeError, match="requires_grad was set to False"):
        y.backward()
    both.backward()
    assert x.grad is None
    np.testing.assert_array_equal(late.grad, START)


def test_several_threads_add_to_one_gradient(monkeypatch):
    w, together = tg.Parameter(START), Barrier(4)
    addition = tg.Tensor.__add__

    def slowly(x, y):
        time.sleep(1e-4)  # between reading the gradient and writing it, for the others
        return addition(x, y)

    def passes():
        together.wait()
        for _ in range(20):
            w.sum().backward()

    monkeypatch.setattr(tg.Tensor, "__add__", slowly)
    threads = [Thread(target=passes) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(w.grad, np.full(3, 80.0))


def test_a_failed_backward_leaves_every_gradient_as_it_was(x):
    w, late = tg.Parameter(START), tg.Parameter(START)
    y = ((x + w) * tg.sin(late)).sum()
    (x * w).sum().backward()
    before = x.grad, w.grad
    late.assign(0.0)
    with pytest.raises(RuntimeError, match="sin"):
        y.backward()
    assert x.grad is before[0] and w.grad is before[1] and late.grad is None


def test_a_sweep_that_fails_leaves_every_gradient_as_it_was(x):
    w = tg.Parameter(START)
    y = (x * w).sum() + _with_rule(lambda g, y, x: None)(tg.stack([x, w])).sum()
    with pytest.raises(GradientError):
        y.backward()
    assert x.grad is None
    assert w.grad is None


def test_backward_with_a_graph_can_be_differentiated(x):
    (x**3).sum().backward(create_graph=True)
    (g,) = tg.gradients(x.grad.sum(), [x])
    np.testing.assert_allclose(g, 6 * START)
    x.grad = None


def test_the_derivative_of_a_rule_that_is_missing_says_how_to_give_one(x):
    halve = tg.primitive(lambda x: x / 2)
    type(halve).registry.remove(halve)
    with pytest.raises(NotImplementedError, match="defvjp"):
        halve(x).sum().backward()


# gradients


def test_one_input_gives_one_gradient_and_several_give_a_tuple(x):
    w = tg.Parameter(START)
    y = (x * x * w).sum()
    np.testing.assert_array_equal(tg.gradients(y, x), 2 * START**2)
    for inputs in ([x, w], (x, w), iter((x, w))):
        g_x, g_w = tg.gradients(y, inputs)
        np.testing.assert_array_equal(g_x, 2 * START**2)
        np.testing.assert_array_equal(g_w, START**2)
    assert x.grad is None and w.grad is None
    assert tg.gradients(y, []) == ()


def test_results_on_the_way_are_inputs_too(x):
    y = 2 * x
    z = (y * y * x).sum()
    g_y, g_x = tg.gradients(z, [y, x])
    np.testing.assert_array_equal(g_y, 2 * (2 * START) * START)
    np.testing.assert_array_equal(g_x, 12 * START**2)
    assert tg.gradients(z, z).item() == 1


def test_gradients_of_several_outputs_are_added(x):
    y = x * x
    outputs = [y.sum(), y, y.sum()]
    weights = [None, START, 3.0]
    np.testing.assert_array_equal(tg.gradients(outputs, x, grad_outputs=weights), 2 * START * (4 + START))
    np.testing.assert_array_equal(tg.gradients([y.sum(), y.sum()], x), 4 * START)


def test_every_sum_of_cotangents_is_an_array(x):
    scalar = tg.tensor(2.0, requires_grad=True)
    assert tg.gradients([scalar, scalar], scalar) == 2
    vector = tg.tensor(START)
    for result, g in ((scalar * scalar + scalar, 5), ((vector * scalar).sum(), START.sum())):
        scalar.grad = None
        result.backward()
        assert type(scalar._grad) is np.ndarray and scalar.grad == g


class Marked(np.ndarray):
    """A subclass of arrays."""


def test_gradients_of_and_by_subclasses_of_arrays_are_plain_arrays():
    @tg.primitive
    def triple(x):
        return 3 * x

    triple.defvjp(lambda g, y, x: (3 * g).view(Marked))
    plain, marked = tg.Parameter(START), tg.Tensor(START.view(Marked), requires_grad=True)
    (triple(plain) + tg.exp(marked)).sum().backward()
    for leaf in (plain, marked):
        assert type(leaf.grad.value) is np.ndarray
    marked.grad = None
    marked.backward(tg.Tensor(START.view(Marked)))
    assert type(marked.grad.value) is np.ndarray


def test_weights_can_be_differentiated(x):
    weight = tg.tensor(START, requires_grad=True)
    (g,) = tg.gradients(x * x, [x], grad_outputs=weight, create_graph=True)
    np.testing.assert_array_equal(tg.gradients(g.sum(), weight), 2 * START)


def test_gradients_nest_to_any_order():
    x = y = tg.tensor(np.array(2.0), requires_grad=True)
    y = y**5
    for order, value in enumerate((5 * 2**4, 20 * 2**3, 60 * 2**2, 120 * 2, 120), 1):
        (y,) = tg.gradients(y, [x], create_graph=True)
        np.testing.assert_allclose(y, value, err_msg=str(order))


def test_an_input_that_was_not_used(x):
    other, constant = tg.Parameter(START), tg.tensor(START)
    y = x.sum()
    for inputs, why in (([x, other], "input 1 .* do not depend"), ([constant], "input 0 .* does not require")):
        with pytest.raises(RuntimeError, match=why):
            tg.gradients(y, inputs)
    with pytest.raises(RuntimeError, match=r"input 0 .* does not require"):
        tg.gradients(constant, constant, grad_outputs=START)
    found = tg.gradients(y, [other, x, constant], allow_unused=True)
    assert (found[0], found[2]) == (None, None) and found[1] is not None
    assert tg.gradients(tg.tensor(1.0), x, allow_unused=True) is None


@pytest.mark.parametrize(
    ("outputs", "inputs"),
    [(np.ones(2), None), (None, np.ones(2)), (None, [np.ones(2)]), (None, {"x": 1}), (abs, None), (None, 3.0)],
)
def test_what_is_no_tensor_is_referred_to_grad(x, outputs, inputs):
    with pytest.raises(TypeError, match=r"gradients expects Tensors .* tg\.grad"):
        tg.gradients(x.sum() if outputs is None else outputs, x if inputs is None else inputs)


def test_weights_that_do_not_match_are_refused(x):
    y = x * x
    with pytest.raises(ShapeError, match="each of 2 outputs; got 1"):
        tg.gradients([y, y], x, grad_outputs=[START])
    with pytest.raises(ShapeError, match="one element"):
        tg.gradients(y, x)
    with pytest.raises(ShapeError, match=r"\(3,\); got \(2,\)"):
        tg.gradients(y, x, grad_outputs=[1.0, 2.0])


# Any graph

STEPS = (
    lambda a, b: (a + b) / 2,
    lambda a, b: a * b,
    lambda a, b: a - tg.sin(b),
    lambda a, b: tg.tanh(a),
    lambda a, b: (a * b).sum(),
    lambda a, b: tg.where(np.array([True, False, True]), a, b),
    lambda a, b: tg.concatenate([tg.broadcast_to(a, (3,)), tg.broadcast_to(b, (3,))])[1:4],
)


@given(st.lists(st.tuples(st.sampled_from(STEPS), *[st.integers(0, 1000)] * 2), max_size=12))
def test_on_any_graph_the_sweep_agrees_with_differences_and_with_itself_on_tensors(steps):
    def f(x):
        values = [x, x[0], x[1:2]]
        for step, i, j in steps:
            values.append(step(values[i % len(values)], values[j % len(values)]))
        return sum(value.sum() for value in values[-4:])

    start = np.array([0.3, -0.8, 0.5])
    x = tg.tensor(start, requires_grad=True)
    found = tg.gradients(f(x), x)
    differences = [(f(tg.tensor(start + h)) - f(tg.tensor(start - h))).item() / 2e-5 for h in 1e-5 * np.eye(3)]
    np.testing.assert_allclose(found, differences, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(tg.gradients(f(x), x, create_graph=True), found)
    np.testing.assert_array_equal(tg.grad(f)(start), found)


# no_grad


def test_no_grad_is_a_context_and_a_decorator(x):
    with tg.no_grad():
        assert not (x * x).requires_grad
        assert tg.tensor(1.0, requires_grad=True).requires_grad  # a leaf can be asked for
    assert not tg.no_grad(lambda: x * x)().requires_grad
    assert not tg.no_grad()(lambda: x * x)().requires_grad
    assert (x * x).requires_grad


def test_a_graph_made_before_can_be_swept_within(x):
    y = (x * x).sum()
    with tg.no_grad():
        y.backward()
        g = tg.gradients(y, x, create_graph=True)
    np.testing.assert_array_equal(x.grad, 2 * START)
    assert g.requires_grad  # it was asked for
    assert current().gradients


def test_a_gradient_is_never_a_parameters_own_memory():
    w = tg.Parameter([1.0, 2.0])
    c = tg.tensor([0.0, 0.0], requires_grad=True)
    (w + c).backward(w)
    w.assign([5.0, 5.0])
    assert c.grad.tolist() == [1.0, 2.0]
    c.grad = w
    w.assign([1.0, 1.0])
    assert c.grad.tolist() == [5.0, 5.0]


def _with_rule(rule):
    rowsum = tg.primitive(lambda x: x.sum(1))
    Function.registry.remove(rowsum)
    rowsum.defvjp(rule)
    return rowsum


@pytest.mark.parametrize(
    "rule",
    [
        lambda g, y, x: g,
        lambda g, y, x: np.ones(3),
        lambda g, y, x: (g[:, None] * x).sum(),
        lambda g, y, x: None,
        lambda g, y, x: [1.0, 2.0],
        lambda g, y, x: g[:, None] * (x + 0j),
    ],
)
def test_what_is_no_cotangent_of_the_argument_is_refused(rule):
    rowsum = _with_rule(rule)
    with pytest.raises(GradientError, match=r"a rule of <lambda> has to give the cotangent .* \(2, 3\); got "):
        tg.grad(lambda x: rowsum(x).sum())(np.ones((2, 3)))


def test_a_gradient_can_be_set_to_what_fits():
    p = tg.Parameter([1.0, 2.0])
    p.grad = np.ones(2)
    assert p.grad.dtype == np.float32
    with pytest.raises(ShapeError, match=r"grad expects the shape of its Tensor, \(2,\); got \(3,\)"):
        p.grad = tg.tensor([1.0, 2.0, 3.0])
    with pytest.raises(DtypeError, match="grad"):
        p.grad = "a"
    assert p.grad.tolist() == [1.0, 1.0]
    p.grad = None
    assert p.grad is None
