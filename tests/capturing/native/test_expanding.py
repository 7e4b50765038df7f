"""What is said in other calls gives the numbers of the call itself, and refuses what that refuses."""

import math
import sys
import warnings
from functools import partial

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.capturing.native.flows import Training, apart, flow_of
from tests.capturing.native.test_program import pytestmark  # noqa: F401
from tests.ops.test_indexing import INDICES, X
from tinygrad_bn.capturing.captured import capture
from tinygrad_bn.capturing.flow import Constant
from tinygrad_bn.capturing.native import program as program_file
from tinygrad_bn.capturing.native.building import FLAGS, compiled
from tinygrad_bn.capturing.native.dialect import Inexpressible
from tinygrad_bn.capturing.native.emitting import Source
from tinygrad_bn.capturing.native.expanding import expanded
from tinygrad_bn.capturing.native.program import NativeProgram
from tinygrad_bn.capturing.replaying import Replay
from tinygrad_bn.layers import BatchNormalization, Dense
from tinygrad_bn.optimizers import SGD
from tinygrad_bn.variables import Parameter, State


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Small programs: it takes longer to compile them than to run them."""
    monkeypatch.setattr(program_file, "compiled", lambda source: compiled(source, flags=("-O1", *FLAGS[1:])))


def native(function, *arrays):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an array in the index is a constant
        return NativeProgram(expanded(flow_of(function, *arrays)))


def _is_mask(index):
    return any(getattr(part, "dtype", "") == "bool" for part in (index if isinstance(index, tuple) else (index,)))


INTEGERS = {name: index for name, index in INDICES.items() if not _is_mask(index)}


@pytest.mark.parametrize("index", INTEGERS.values(), ids=INTEGERS)
def test_an_index_takes_what_numpy_takes_and_gives_back_where_it_took(index):
    def step(x, g):
        x = tg.multiply(x, weight)
        taken = x[index]
        return taken, tg.gradients(taken, weight, grad_outputs=g)

    weight = Parameter(np.ones_like(X))
    g = np.random.default_rng(0).uniform(size=X[index].shape)
    given_back = np.zeros_like(X)
    np.add.at(given_back, index, g)
    taken, found = native(step, X, g).run([X, g])
    np.testing.assert_array_equal(taken, X[index])
    np.testing.assert_allclose(found, given_back * X, rtol=1e-15)


X5 = np.random.default_rng(1).standard_normal((5, 3))
LAYOUTS = {
    "plain": lambda x: x * 2,
    "transposed": lambda x: x.T,
    "flipped": lambda x: x[::-1],
    "a product": lambda x: x @ x.T,
    "an argument": lambda x: x,
    "sliced": lambda x: x[1:, ::2],
}


@pytest.mark.parametrize("change", LAYOUTS.values(), ids=LAYOUTS)
def test_the_array_may_lie_in_memory_as_it_likes_and_the_index_may_change(change):
    program = native(lambda x, i, j: change(x)[i, j] + change(x)[i[::-1], 0], X5, np.arange(3), np.zeros(3, int))
    for i, j in (([0, 1, 2], [1, 1, 0]), ([-1, 0, -3], [0, -2, 1])):
        i, j = np.array(i), np.array(j)
        (found,) = program.run([X5, i, j])
        assert apart(found, change(X5)[i, j] + change(X5)[i[::-1], 0]) <= 4


def test_a_table_of_constants_may_be_read_too():
    program = native(lambda i: tg.Tensor(X5)[i] * 1.0, np.arange(4))
    assert apart(program.run([np.array([4, -1, 0, 0])])[0], X5[[4, -1, 0, 0]]) == 0


@pytest.mark.parametrize("wrong", [5, -6, 2**40])
def test_an_index_outside_is_refused_before_anything_is_updated(wrong):
    total = State(np.zeros(3))

    def step(x, i):
        total.assign(total + tg.sum(x[i], axis=0))
        return tg.put(x[i], i, index=("array",), shape=x.shape)

    program = native(step, X5, np.arange(4))
    total.assign(np.ones(3))
    with pytest.raises(IndexError, match="getitem expects indices from -5 to 4"):
        program.run([X5, np.array([0, 1, wrong, 2])])
    assert total.value.tolist() == [1.0] * 3
    program.run([X5, np.array([0, 1, 4, -5])])
    np.testing.assert_allclose(total.value, 1 + X5[[0, 1, 4, -5]].sum(axis=0))


@pytest.mark.parametrize("calls", [1, 2])
def test_an_index_outside_is_named_with_the_users_line(calls):
    step = capture(lambda x, i: x[i], executor="native")
    line = sys._getframe().f_lineno - 1
    for _ in range(1 + calls):
        step(X5, np.array([0, 1]))
    with pytest.raises(IndexError) as raised:
        step(X5, np.array([0, 7]))
    assert str(raised.value) == f"getitem: index 7 is out of bounds for axis 0 with size 5, {__file__}:{line}"
    assert step(X5, np.array([0, -5])).value.tolist() == X5[[0, 0]].tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_erf_is_the_one_of_c_and_within_2_ulp(dtype):
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.uniform(-edge, edge, 20_000) for edge in (1e-6, 0.2, 1.1, 6.0)]).astype(dtype)
    x[:2] = 0.11116555, -7.818283849821625e-07
    flow = expanded(flow_of(tg.erf, x))
    assert [step.called for step in flow.steps] == ["erf"]
    (found,) = NativeProgram(flow).run([x])
    exact = np.vectorize(math.erf)(x.astype(float))  # itself within 1 ulp
    units = np.abs(found - exact) / np.spacing(np.abs(exact).astype(dtype))
    assert units.max() <= (2 if dtype == np.float32 else 3)


def test_what_is_called_erf_and_is_another_function_stays_that():
    @tg.primitive
    def erf(x, /):
        return np.tanh(np.minimum(np.maximum(x, -6), 6) * 2)

    erf.defvjp(None)
    called = [step.called for step in expanded(flow_of(erf, X5)).steps]
    assert called == ["maximum", "minimum", "multiply", "tanh"]


def test_masks_and_large_sums_at_an_index_stay_with_numpy():
    x = np.ones((2000, 3))
    with pytest.raises(Inexpressible, match="mask"):
        native(lambda x: x[np.arange(5) > 2], X5)
    with pytest.raises(Inexpressible, match="adding 1000 values up"):
        native(lambda v, i: tg.put(v, i, index=("array",), shape=x.shape), x[:1000], np.arange(1000))


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("function", [np.argmax, np.argmin])
def test_the_first_extremum_counts_and_nan_goes_before_all_numbers(function, axis):
    ours = {np.argmax: tg.argmax, np.argmin: tg.argmin}[function]
    rng = np.random.default_rng(2)
    ties, mixed = rng.integers(0, 2, (7, 9)).astype(float), rng.standard_normal((7, 9))
    mixed[2, 3:5], mixed[5, 5], mixed[6] = np.nan, -np.inf, np.inf
    program = native(lambda x: ours(x, axis=axis), ties)
    for x in (ties, mixed, -mixed, np.zeros((7, 9))):
        np.testing.assert_array_equal(program.run([x])[0], function(x, axis=axis))


@pytest.mark.parametrize("length", [1, 2, 7, 8, 100])
def test_a_running_sum_is_that_of_numpy(length):
    x = np.random.default_rng(3).standard_normal((length, 3))
    along, flat, of_integers = native(
        lambda x, n: (tg.cumsum(x, axis=0), tg.cumsum(x), tg.cumsum(n)), x, np.arange(5)
    ).run([x, np.arange(5)])
    assert apart(along, np.cumsum(x, axis=0)) <= 8
    assert apart(flat, np.cumsum(x)) <= 16
    assert apart(of_integers, np.cumsum(np.arange(5))) == 0


SUBSCRIPTS = [
    "ij,jk->ik",
    "ij,kj->ik",
    "bij,bjk->bki",
    "ij,ij->",
    "i,j->ji",
    "ij,ij->ij",
    "ij,k->i",
    "ii,i->i",
    "ij,jk,kl->li",
]


@pytest.mark.parametrize("subscripts", SUBSCRIPTS)
def test_a_sum_of_products_is_that_of_numpy(subscripts):
    rng, lengths = np.random.default_rng(4), dict(zip("bijkl", (2, 3, 4, 5, 6), strict=True))
    arrays = [
        rng.standard_normal([lengths[letter] for letter in term]) for term in subscripts.split("->")[0].split(",")
    ]
    program = native(lambda *arrays: tg.ops.einsum(subscripts, *arrays), *arrays)
    assert apart(program.run(arrays)[0], np.einsum(subscripts, *arrays)) <= 16


def test_borders_are_laid_round():
    program = native(lambda x: tg.pad(x, ((1, 0), (2, 3)), constant_values=1.5), X5)
    assert apart(program.run([X5])[0], np.pad(X5, ((1, 0), (2, 3)), constant_values=1.5)) == 0


def test_arrays_without_elements_are_known_beforehand():
    def step(x, e):
        return tg.sum(x[2:2]), x[:0] * 2, tg.concatenate([e, x]), tg.matmul(e.T, e), x + tg.sum(e, axis=0)

    empty = np.empty((0, 3))
    found = native(step, X5, empty).run([X5, empty])
    expected = [np.zeros(()), np.empty((0, 3)), X5, np.zeros((3, 3)), X5]
    assert [apart(ours, theirs) for ours, theirs in zip(found, expected, strict=True)] == [0] * 5


def test_what_is_made_of_constants_is_a_constant_and_the_flow_itself_stays_as_it_is():
    weight = State(X5)
    flow = flow_of(lambda x: x @ (tg.exp(weight) * 2).T + 1, X5)
    steps = [step.called for step in flow.steps]
    new = expanded(flow, constant=True)
    assert len(new.steps) == 2
    assert all(isinstance(value.origin, Constant) for value in new.sources() if value not in new.arguments)
    assert [step.called for step in flow.steps] == steps
    weight.assign(np.zeros_like(X5))
    assert apart(NativeProgram(new).run([X5])[0], X5 @ (np.exp(X5) * 2).T + 1) <= 4


def test_the_replay_of_a_flow_runs_whether_or_not_c_has_been_written_of_it():
    product = State(np.zeros((5, 5)))

    def step(x):
        product.assign(x @ x.T)
        return tg.sum(x)

    flow = flow_of(step, X5)
    Source(expanded(flow))
    product.assign(np.zeros((5, 5)))
    Replay(flow).run([X5])
    assert apart(product.value, X5 @ X5.T) == 0


def test_no_step_of_one_element_each_shows_the_memory_of_another():
    layers = [Dense(10, activation="elu"), BatchNormalization(), Dense(3)]
    training = Training(lambda: layers, 4, 3, 8, SGD)
    steps = expanded(flow_of(training.step, training.x, training.y)).steps
    assert [step for step in steps if step.view is not None and step.is_elementwise] == []


@pytest.mark.parametrize("function", [partial(tg.cumsum, axis=0), partial(tg.pad, pad_width=1)])
def test_expanding_reads_no_numbers_of_what_steps_make(function, monkeypatch):
    made = []
    monkeypatch.setattr(np, "empty_like", lambda x, like=np.empty_like: made.append(x.shape) or like(x))
    expanded(flow_of(lambda x: function(x * 2), np.ones((300, 20))))
    assert (300, 20) in made


def test_more_loops_within_each_other_than_there_are_names_give_way_to_the_replay():
    x = np.arange(2.0**16).reshape((2,) * 16)
    with pytest.warns(UserWarning, match="16 loops within each other"):
        found = capture(lambda x: x + x.transpose(), executor="native")(x)
    np.testing.assert_array_equal(found.value, x + x.transpose())
