"""Parameters and states: they copy, they are updated by `assign`, and stale gradients are noticed."""

import copy
import pickle

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn import ops
from tinygrad_bn.errors import DtypeError, SettingError, ShapeError, StaleGraphError
from tinygrad_bn.memory import LINE, address
from tinygrad_bn.mode import frozen_state, using
from tinygrad_bn.recorders import Recorder
from tinygrad_bn.variables import State, Variable, side_by_side

START = np.arange(1.0, 7.0).reshape(2, 3)


def parameter(trainable=True):
    return tg.Parameter(START, name="W", trainable=trainable)


def test_a_parameter_copies_what_it_is_made_of():
    data = np.ones(3)
    for source in (data, tg.tensor(data, requires_grad=True) * 1, tg.Parameter(data)):
        w = tg.Parameter(source)
        assert not np.shares_memory(w.value, np.asarray(source))
        assert w.source is None and w.requires_grad


def pickled(w):
    return pickle.loads(pickle.dumps(w))


@pytest.mark.parametrize("order", [lambda x: x, np.asfortranarray, lambda x: x[::-1, ::-1], lambda x: x[:, 1:].T])
@pytest.mark.parametrize("kind", [tg.Parameter, State])
def test_values_lie_in_rows_whatever_they_are_made_from(kind, order):
    made = kind(order(START))
    w = kind(np.zeros(made.shape))
    w.assign(order(START))
    for found in (made, w, copy.deepcopy(made), pickled(made)):
        assert found.value.flags.c_contiguous and found.value.flags.owndata
        np.testing.assert_array_equal(found.value, order(START))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
def test_copies_know_who_has_written_the_values(duplicate):
    w = parameter()
    assert duplicate(w).version.writers == {}
    w.assign(0.0, "somebody")
    other = duplicate(w)
    assert other.version.writers == {"somebody": 1}
    other.assign(1.0, "somebody")
    assert w.version.writers == {"somebody": 1}


def test_a_pickle_of_an_older_version_counts_as_written():
    remade, (*made_from, _), *_ = State(START).__reduce__()
    assert remade(*made_from).version.writers


def test_trainable_and_requires_grad_are_one_bit():
    w = parameter()
    for first, second in (("trainable", "requires_grad"), ("requires_grad", "trainable")):
        for wanted in (False, True):
            setattr(w, first, wanted)
            assert getattr(w, second) is wanted
            assert (w * 2).requires_grad is wanted
    assert not parameter(trainable=False).requires_grad
    with pytest.raises(DtypeError, match="floating"):
        tg.Parameter([1, 2])


@pytest.mark.parametrize("wrong", ["False", "no", "", 0, 1, None, 1.0, [True]], ids=repr)
def test_whether_it_is_learned_is_a_bit_whenever_it_is_set(wrong):
    w = parameter()
    for setting in (
        lambda: tg.Parameter(START, trainable=wrong),
        lambda: Variable(START, wrong),
        lambda: setattr(w, "trainable", wrong),
        lambda: setattr(w, "requires_grad", wrong),
    ):
        with pytest.raises(SettingError, match="requires_grad, or trainable, expects True or False; got"):
            setting()
    assert w.trainable is True
    w.trainable = np.False_
    assert w.trainable is False


def test_regularizer_and_constraint_are_functions():
    w = tg.Parameter(START, regularizer=tg.sum, constraint=tg.abs)
    assert (w.regularizer, w.constraint) == (tg.sum, tg.abs)
    w.regularizer = w.constraint = None
    for kind in ("regularizer", "constraint"):
        for wrong in ("l2", 0.1, tg.regularizers.L2):
            with pytest.raises(TypeError, match=f"a parameter expects as {kind} a function .*; got .*{kind}s.get"):
                setattr(w, kind, wrong)
    assert w.regularizer is w.constraint is None


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
def test_copies_keep_regularizer_and_constraint(duplicate):
    w = tg.Parameter(START, regularizer=tg.regularizers.L2(0.5), constraint=tg.constraints.MaxNorm(3))
    assert [repr(rule) for rule in (duplicate(w).regularizer, duplicate(w).constraint)] == [
        "L2(l2=0.5)",
        "MaxNorm(max_value=3.0, axis=0)",
    ]


def test_a_state_has_no_gradient_and_any_dtype():
    assert not State([1.0]).requires_grad and State([1]).dtype == np.int64


@pytest.mark.parametrize("show", [lambda w: w, lambda w: w.T, lambda w: w[0], lambda w: w.detach()])
@pytest.mark.parametrize("read", [lambda t: t.numpy(), np.asarray])
def test_what_was_read_does_not_change_with_the_next_update(show, read):
    w = parameter()
    seen = read(show(w))
    before = seen.copy()
    w.assign(0.0)
    np.testing.assert_array_equal(seen, before)
    np.testing.assert_array_equal(read(show(w)), 0)


@pytest.mark.parametrize("number", [float, int])
def test_a_primitive_of_a_variable_may_give_a_number(number):
    @tg.primitive
    def total(x):
        return number(x.sum())

    total.defvjp(lambda g, y, x: g * np.ones_like(x))
    y = total(parameter())
    assert (type(y), y.shape, y.item()) == (tg.Tensor, (), 21)


@pytest.mark.parametrize(("count", "chosen"), [(n, i) for n in range(1, 5) for i in range(n)])
def test_a_result_that_is_an_argument_itself_knows_of_its_updates(count, chosen):
    @tg.primitive
    def picked(*arrays, position):
        return arrays[position]

    picked.defvjp_each(lambda i, g, y, *arrays, position: g * (i == position))
    weights = [parameter() for _ in range(count)]
    y = tg.square(picked(*weights, position=chosen))
    assert y.source[1][0].value is weights[chosen].value
    weights[chosen].assign(0.0)
    with pytest.raises(StaleGraphError, match="assign"):
        y.sum().backward()


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
@pytest.mark.parametrize("original", [parameter(), parameter(trainable=False), State([1, 2], name="count")])
def test_copies_keep_name_and_bit_and_live_their_own_life(duplicate, original):
    double = duplicate(original)
    assert (type(double), double.name) == (type(original), original.name)
    assert double.requires_grad == original.requires_grad and double.dtype == original.dtype
    y = (original * 1.5 * original).sum()
    double.assign(np.zeros(double.shape, int))
    assert original.numpy().any()
    if original.requires_grad:
        y.backward()  # the versions are apart, too


@pytest.mark.parametrize(
    "data",
    [2 * START, START.astype(np.float32), START.astype(int), tg.tensor(START), 7, 0.5, START[:, ::-1], np.float64(3)],
)
def test_assign_replaces_the_values_in_place_and_in_the_dtype(data):
    w = parameter()
    memory = w.value
    w.assign(data)
    assert w.value is memory and w.dtype == np.float64
    np.testing.assert_array_equal(w, np.broadcast_to(np.asarray(data), (2, 3)))


@pytest.mark.parametrize(
    ("executor", "dtype"),
    [("eager", "float16"), ("numpy", "float16"), ("eager", "float64"), ("numpy", "float64"), ("native", "float64")],
)
@pytest.mark.parametrize("where", [True, np.ones((2, 3), bool)], ids=["everywhere", "where"])
@pytest.mark.parametrize("data", [0.1, [[0.1] * 3] * 2, np.float32(0.1), [[np.float32(0.1)] * 3] * 2], ids=repr)
def test_a_number_is_rounded_once_to_the_dtype_of_the_variable(executor, dtype, where, data):
    w = tg.Parameter(np.zeros((2, 3), dtype))
    assign = tg.capture(lambda: w.assign(data, where=where), executor=executor)
    for _ in range(3):
        w.assign(0)
        assign()
        np.testing.assert_array_equal(w, np.broadcast_to(np.array(data).astype(dtype), (2, 3)))


def test_assign_takes_views_of_the_variable_itself():
    w = parameter()
    w.assign(w[::-1])
    np.testing.assert_array_equal(w, START[::-1])


@pytest.mark.parametrize("executor", ["eager", "numpy", "native"])
def test_assign_leaves_what_is_not_true_in_where_as_it_was(executor):
    w, even = parameter(), START % 2 == 0

    @tg.capture(executor=executor)
    def update(x):
        w.assign(x, where=tg.remainder(x, 2.0) == 0)
        w.assign(w + 1.0, where=even)

    for _ in range(3):
        w.assign(-START)
        update(tg.tensor(START))
        np.testing.assert_array_equal(w, np.where(even, START + 1.0, -START))
    w.assign(tg.tensor(np.full((2, 3), np.nan)), where=tg.tensor(~even))
    np.testing.assert_array_equal(w, np.where(even, START + 1.0, np.nan))


def test_where_may_show_the_very_values_that_are_written():
    bits = np.array([True, False, False, True, False])
    s = State(bits)
    s.assign(~bits, where=s[::-1])
    np.testing.assert_array_equal(s, np.where(bits[::-1], ~bits, bits))


@pytest.mark.parametrize(
    ("where", "error", "message"),
    [
        (np.ones((2, 3)), DtypeError, "to be an array of truths; got float64"),
        (np.ones(3, int), DtypeError, "to be an array of truths; got int64"),
        (np.ones(3, bool), ShapeError, r"to have the shape \(2, 3\); got \(3,\)"),
        ([True], DtypeError, "to be an array of truths; got list"),
        (False, DtypeError, "to be an array of truths; got bool"),
        (None, DtypeError, "to be an array of truths; got NoneType"),
    ],
)
def test_assign_says_what_where_has_to_be(where, error, message):
    w = parameter()
    for assign in (w.assign, tg.capture(lambda data, where: w.assign(data, where=where))):
        with pytest.raises(error, match=f"W expects where {message}"):
            assign(2 * START, where=where)
        np.testing.assert_array_equal(w, START)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (np.array([1, 2**53 + 1]), np.array([5, 6], np.uint64)),
        (np.zeros(2, np.float32), np.array([2**60 + 2**36 + 1, 1])),
        (np.zeros(2, np.float16), 0.1),
    ],
)
def test_a_masked_assign_casts_as_any_and_touches_nothing_else(old, new):
    mask = np.array([True, False])
    eager, captured = State(old), State(old)
    step = tg.capture(lambda data, mask: captured.assign(data, where=mask), executor="numpy")
    for _ in range(2):
        eager.assign(new, where=mask)
        step(new, mask)
        assert eager.value.tobytes() == captured.value.tobytes()
    assert eager.value[1] == old[1]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (np.ones(3), ShapeError),
        (np.ones((2, 2)), ShapeError),
        ([1.0], ShapeError),
        ([[1], [1, 2]], ShapeError),
        (np.ones((2, 3), complex), DtypeError),
        (None, DtypeError),
        ("a", DtypeError),
    ],
    ids=repr,
)
def test_a_failed_assign_leaves_everything_as_it_was(data, error):
    w = parameter()
    y = (w * w).sum()
    with pytest.raises(error, match="W expects"):
        w.assign(data)
    np.testing.assert_array_equal(w, START)
    y.backward()  # no new version
    np.testing.assert_array_equal(w.grad, 2 * START)


def test_assigning_fractions_to_integers_is_refused():
    s = State([1, 2])
    with pytest.raises(DtypeError, match="int64; got float64"):
        s.assign([1.5, 2.5])
    assert s.tolist() == [1, 2]


def test_no_gradient_flows_through_an_update():
    w, x = parameter(), tg.tensor(2.0, requires_grad=True)
    w.assign(w * x)
    assert w.source is None
    (w.sum() * x).backward()
    np.testing.assert_allclose(x.grad, 2 * START.sum())


NEEDED = {
    "x @ W": lambda w, x: x @ w,
    "W.T @ x": lambda w, x: w.T @ x,
    "W[0] * x": lambda w, x: w[0] * x[0, 0],
    "reshape": lambda w, x: w.reshape(3, 2) @ x,
    "view of a view": lambda w, x: w.reshape(3, 2).T[1:] * x[0, 0] * w.T[0, 0],
    "split": lambda w, x: tg.split(w, 3, axis=1)[0] * x[0, 0],
    "flip": lambda w, x: tg.flip(w) * x[0, 0],
    "broadcast_to": lambda w, x: tg.broadcast_to(w, (1000, 2, 3)) * x[0, 0],
    "expand_dims": lambda w, x: tg.expand_dims(w, 0) * x[0, 0],
    "einsum as a transpose": lambda w, x: tg.einsum("ij->ji", w) * x[0, 0],
    "clip without bounds": lambda w, x: tg.clip(w) * x[0, 0],
    "detach": lambda w, x: w.detach() * x[0, 0],
    "row by row": lambda w, x: sum(row * x[0, 0] for row in w),
    "index": lambda w, x: x[INDEX],
    "mask": lambda w, x: tg.where(MASK, x[0, 0], 0.0),
}
INDEX, MASK = State([0, 1, 1]), State([True, False])

HARMLESS = {
    "w + x": lambda w, x: w + x[0, 0],
    "sum": lambda w, x: w.sum() + x.sum(),
    "mean of a view": lambda w, x: w[0].mean() + x.sum(),
    "copy": lambda w, x: w.copy() * x[0, 0],
    "astype": lambda w, x: w.astype(np.float32) * x[0, 0],
    "numpy": lambda w, x: w.numpy() * x[0, 0],
    "np.asarray": lambda w, x: np.asarray(w) * x[0, 0],
    "condition": lambda w, x: tg.where(w > 2, x[0, 0], 0.0),
    "concatenate": lambda w, x: tg.concatenate([w, w]) * x[0, 0],
    "result only": lambda w, x: (w - x[0, 0]) * 2,
    "a rule that reads its result": lambda w, x: tg.exp(w),
    "a rule that reads the other factor": lambda w, x: w.detach() * 2 + w * 3,
    "shapes": lambda w, x: tg.broadcast_to(w, (4, 2, 3)) + tg.concatenate([w[:1], w[1:]]),
}


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("build", NEEDED.values(), ids=NEEDED)
def test_an_update_that_would_make_a_gradient_wrong_is_noticed(build, trainable):
    w, x = parameter(trainable), tg.tensor(np.ones((2, 2)), requires_grad=True)
    y = build(w, x).sum()
    for variable in (w, INDEX, MASK):
        variable.assign(variable.numpy()[..., ::-1], "SGD")
    with pytest.raises(StaleGraphError, match=r"the derivative of .* SGD has written"):
        y.backward()
    assert w.grad is None and x.grad is None
    build(w, x).sum().backward()  # a new forward pass sees the new values


def test_an_update_directly_after_the_operation_is_noticed():
    w = parameter()
    y = w * w
    w.assign(0.0)
    with pytest.raises(StaleGraphError):
        y.backward(START)


@pytest.mark.parametrize("late", [0, 1])
def test_of_several_variables_only_those_are_refused_that_were_updated_since(late):
    pair = [parameter(), parameter()]
    pair[1 - late].assign(2 * START)  # before the forward pass: it is of no harm
    y = (pair[0] * pair[1]).sum()
    pair[late].assign(0.0)
    np.testing.assert_array_equal(tg.gradients(y, pair[late]), 2 * START)
    with pytest.raises(StaleGraphError, match="assign"):
        tg.gradients(y, pair[1 - late])


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("build", HARMLESS.values(), ids=HARMLESS)
def test_an_update_that_cannot_make_a_gradient_wrong_is_allowed(build, trainable):
    w, x = parameter(trainable), tg.tensor(np.ones((2, 2)), requires_grad=True)
    before, after = build(w, x).sum(), build(w, x).sum()
    expected = tg.gradients(before, [w, x], allow_unused=True)
    w.assign(-w.value)
    for found, right in zip(tg.gradients(after, [w, x], allow_unused=True), expected, strict=True):
        np.testing.assert_array_equal(found, right)


def test_the_message_names_operation_variable_and_writer():
    w = parameter()
    y = tg.sin(w).sum()
    w.assign(START, "Adam")
    with pytest.raises(StaleGraphError, match=r"derivative of sin .* W .* Adam"):
        y.backward()


def test_the_message_names_the_path_in_a_network():
    net = tg.Sequential([tg.layers.Dense(3, input_shape=(2,)), tg.layers.Dense(1)])
    y = net(np.ones((1, 2))).sum()
    for parameter in net.parameters():
        parameter.assign(0.0)
    with pytest.raises(StaleGraphError, match=r"needs the values that layers\.1\.kernel had"):
        y.backward()


VIEWS = {
    "detach": lambda w: w.detach(),
    "T": lambda w: w.T,
    "row": lambda w: w[1],
    "column": lambda w: w[:, 1:2],
    "backwards": lambda w: w[::-1, ::-2],
    "view of a view": lambda w: w.T.detach()[1:],
    "broadcast_to": lambda w: tg.broadcast_to(w, (10_000, 2, 3)),
    "all of it": lambda w: tg.clip(w),
}


@pytest.mark.parametrize("show", VIEWS.values(), ids=VIEWS)
def test_a_view_shows_the_present_values_from_before_the_first_step_on(show):
    variables = [parameter() for _ in range(3)]
    views, copies = [show(w) for w in variables], [show(w).copy() for w in variables]
    optimizer, moves = tg.optimizers.SGD(0.1, momentum=0.9), Variable.moves
    for _ in range(2):
        sum((w * w).sum() for w in variables).backward()
        optimizer.step(variables)
        for w, view, copy_of_old in zip(variables, views, copies, strict=True):
            assert np.shares_memory(view.value, w.value)
            np.testing.assert_array_equal(view, show(w))
            assert (copy_of_old != show(w)).any()
    assert Variable.moves > moves  # else this test is about nothing
    assert views[0].value.flags.writeable is show(variables[0]).value.flags.writeable


def test_updates_before_the_forward_pass_are_no_matter():
    w = parameter()
    view = w[0]
    w.assign(2 * START)
    (view * view).sum().backward()
    np.testing.assert_array_equal(w.grad[0], 4 * START[0])


def test_second_derivatives_notice_too():
    w = parameter()
    (g,) = tg.gradients((w**3).sum(), [w], create_graph=True)
    w.assign(0.0)
    with pytest.raises(StaleGraphError):
        tg.gradients(g.sum(), w)


def test_writing_gives_the_memory_and_tells_those_who_remember():
    w = parameter()
    y = (w * w).sum()
    w.writing("a hand")[...] = 0
    with pytest.raises(StaleGraphError, match="a hand"):
        y.backward()


def test_a_recorder_is_told_of_assignments_that_succeed():
    class Watcher(Recorder):
        told = ()

        def assigned(self, variable, data, writer):
            self.told += ((variable, data.dtype, data.tolist(), variable.numpy().tolist()),)
            return True

    w, watcher = State([1.0]), Watcher()
    with using(recorder=watcher):
        with pytest.raises(ShapeError):
            w.assign([1.0, 2.0])
        w.assign([0.1])
    assert watcher.told == ((w, np.float32, [float(np.float32(0.1))], [1.0]),)  # what it is going to hold


def test_frozen_state_brings_values_back_and_tells_those_who_remember():
    w = parameter()
    with frozen_state():
        w.assign(0.0)
        inside = (w * w).sum()
    np.testing.assert_array_equal(w, START)
    with pytest.raises(StaleGraphError, match="frozen_state"):
        inside.backward()


def test_ops_see_a_variable_as_any_tensor():
    w = parameter()
    assert ops.sum(w).requires_grad and ops.matmul(np.ones((1, 2)), w).requires_grad


def test_variables_side_by_side_begin_on_a_cache_line_and_are_found_again():
    a, b = Variable(np.arange(3.0)), Variable(np.arange(3.0, 7.0).reshape(2, 2))
    flat = side_by_side([a, b])
    assert address(flat) % LINE == 0 and np.shares_memory(flat, b.value)
    np.testing.assert_array_equal(flat, np.arange(7.0))
    assert address(side_by_side([a, b])) == address(flat)
    np.testing.assert_array_equal(side_by_side([b]), np.arange(3.0, 7.0))
    assert side_by_side([b, a]) is None and side_by_side([a, Variable(np.ones(2))]) is None


def test_a_graph_made_before_its_variables_were_moved_is_swept_as_if_they_had_stayed():
    a, b = tg.Parameter(np.arange(1.0, 4.0)), tg.Parameter(np.ones(2))
    y = (a * a).sum()
    side_by_side([a, b])
    y.backward()
    np.testing.assert_array_equal(a.grad, 2 * np.arange(1.0, 4.0))
    a.assign(0)
    with pytest.raises(StaleGraphError, match="assign"):
        y.backward()
