"""What `tensor` makes of data, and what Python sees of a Tensor."""

import enum

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.errors import DtypeError, SettingError, ShapeError
from tinygrad_bn.variables import State


class Two(enum.IntEnum):
    TWO = 2


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, np.float32),
        (1, np.int64),
        (True, np.bool),
        (Two.TWO, np.int64),
        ([1.5, 2], np.float32),
        ([[1, 2], [3, 4]], np.int64),
        ((True, False), np.bool),
        ([], np.float32),
        ([[], []], np.float32),
        (range(3), np.int64),
        (np.float64(1), np.float64),
        (np.uint8(3), np.uint8),
        (np.arange(3), np.int64),
        (np.zeros(2, np.float16), np.float16),
        ([np.float64(1), 2.0], np.float64),
        ([2.0, np.float64(1)], np.float64),
        ([[1.0, 2.0], np.zeros(2)], np.float64),
        ([np.float32(1), 2.0], np.float32),
        ([np.int64(1), 2.0], np.float64),
        ([tg.tensor(1.0), 2.0], np.float32),
        (tg.tensor([1, 2]), np.int64),
    ],
    ids=repr,
)
def test_python_numbers_get_our_dtypes_and_numpy_keeps_its_own(data, dtype):
    made = tg.tensor(data)
    assert made.dtype == dtype
    np.testing.assert_array_equal(made, np.asarray(data))


def test_dtype_is_what_was_asked_for():
    assert tg.tensor([1, 2], dtype=np.float64).dtype == np.float64
    assert tg.tensor([1.7], dtype=int).tolist() == [1]
    assert tg.tensor(1.0, dtype="float16").dtype == np.float16


def test_it_copies():
    data = np.ones(3)
    made = tg.tensor(data)
    data[:] = 5
    assert made.tolist() == [1, 1, 1]
    again = tg.tensor(made)
    assert not np.shares_memory(again.value, made.value)


def test_a_copy_of_a_tensor_is_a_leaf():
    x = tg.tensor(2.0, requires_grad=True)
    assert tg.tensor(x * x).source is None
    assert not tg.tensor(x).requires_grad


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (1j, DtypeError),
        (np.ones(2, complex), DtypeError),
        (np.array([None]), DtypeError),
        (np.array(["a"]), DtypeError),
        (np.datetime64("2020"), DtypeError),
        ("a", DtypeError),
        (None, DtypeError),
        ({1, 2}, DtypeError),
        ({"a": 1}, DtypeError),
        ((x for x in range(3)), DtypeError),
        ([1, "a"], DtypeError),
        ([[1], [1, 2]], ShapeError),
    ],
)
def test_what_is_not_numbers_is_refused(data, error):
    with pytest.raises(error, match="tensor expects"):
        tg.tensor(data)


def test_a_dtype_that_is_not_real_is_refused():
    with pytest.raises(DtypeError, match="real numbers"):
        tg.tensor([1.0], dtype=complex)
    with pytest.raises(DtypeError, match="complex128"):
        tg.tensor([1.0]).astype(complex)
    for name, ask in (("tensor", lambda: tg.tensor([1], dtype="foo")), ("astype", lambda: tg.tensor(1).astype("foo"))):
        with pytest.raises(DtypeError, match=f"{name} expects a dtype of real numbers; got 'foo'"):
            ask()


def test_a_number_that_the_dtype_cannot_hold_is_refused():
    for number in (300, [-1], float("nan")):
        with pytest.raises(DtypeError, match="tensor expects numbers that uint8 can hold; got"):
            tg.tensor(number, dtype="uint8")
    with pytest.raises(DtypeError, match="real numbers; got 'a'"):
        tg.tensor("a", dtype="uint8")
    with pytest.raises(ShapeError, match="equal lengths"):
        tg.tensor([[1], [1, 2]], dtype="uint8")


@pytest.mark.parametrize("value", [[1.0, 2.0], 1.0, np.float64(1), None, tg.tensor(1.0)], ids=repr)
def test_the_constructor_takes_arrays_only(value):
    with pytest.raises(TypeError, match=r"Tensor expects an ndarray; got .* tg\.tensor"):
        tg.Tensor(value)
    assert tg.Tensor(np.ones(2).view(np.memmap)).shape == (2,)


def test_gradients_of_integers_and_truth_values_are_refused():
    for data in (1, [True], np.arange(3)):
        with pytest.raises(DtypeError, match="floating"):
            tg.tensor(data, requires_grad=True)
    with pytest.raises(DtypeError, match="floating"):
        tg.tensor([1]).requires_grad = True


def test_sequences_of_tensors_would_lose_gradients():
    x, y = tg.tensor(1.0, requires_grad=True), tg.tensor(2.0)
    assert tg.tensor([y, y]).tolist() == [2, 2]
    for lossy in ([x, y], [[y], [x]], (x * y, 1.0)):
        with pytest.raises(TypeError, match=r"tg\.stack"):
            tg.tensor(lossy)
    with pytest.raises(TypeError, match=r"add .* tg\.stack"):
        tg.add(tg.tensor([1.0, 2.0]), [x, y])


@pytest.mark.parametrize("wrong", ["no", "", 0, 1, None], ids=repr)
def test_requires_grad_is_a_bit_whenever_it_is_set(wrong):
    x = tg.tensor(1.0)
    for setting in (
        lambda: tg.tensor(1.0, requires_grad=wrong),
        lambda: tg.Tensor(np.ones(1), wrong),
        lambda: setattr(x, "requires_grad", wrong),
    ):
        with pytest.raises(SettingError, match="requires_grad, or trainable, expects True or False; got"):
            setting()
    assert x.requires_grad is False
    assert tg.tensor(1.0, requires_grad=np.True_).requires_grad is True


def test_requires_grad_belongs_to_leaves():
    x = tg.tensor([1.0], requires_grad=True)
    y = x * 2
    assert x.requires_grad and y.requires_grad and not x.detach().requires_grad
    with pytest.raises(RuntimeError, match=r"multiply.*detach"):
        y.requires_grad = False
    x.requires_grad = False
    assert not (x * 2).requires_grad
    assert y.requires_grad  # it was made before


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (lambda x: x, "Tensor([1., 2.], shape=(2,), dtype=float32, requires_grad=True)"),
        (lambda x: x * 2, "Tensor([2., 4.], shape=(2,), dtype=float32, made by multiply)"),
        (lambda x: x.sum(), "Tensor(3., shape=(), dtype=float32, made by sum)"),
        (lambda x: x > 1, "Tensor([False,  True], shape=(2,), dtype=bool)"),
        (lambda x: x.detach(), "Tensor([1., 2.], shape=(2,), dtype=float32)"),
        (lambda x: State([3]), "State([3], shape=(1,), dtype=int64)"),
        (lambda x: tg.Parameter([0.5]), "Parameter([0.5], shape=(1,), dtype=float32, requires_grad=True)"),
    ],
)
def test_repr_shows_values_shape_dtype_and_origin(made, text):
    assert repr(made(tg.tensor([1.0, 2.0], requires_grad=True))) == text


def test_repr_of_a_large_tensor_is_short():
    assert len(repr(tg.tensor(np.zeros((1000, 1000))))) < 1000


def test_one_element_is_a_number_to_python():
    x = tg.tensor([[2.5]], requires_grad=True)
    assert (float(x), int(x), x.item(), bool(x)) == (2.5, 2, 2.5, True)
    assert f"{x:.3f} {x:>6}" == "2.500    2.5"
    assert f"{x}" == repr(x) == str(x)
    assert type(tg.tensor(True).item()) is bool
    assert "abc"[tg.tensor(1)] == "b"
    assert list(range(tg.tensor(2))) == [0, 1]


def test_several_elements_are_no_number_to_python():
    x = tg.tensor([1.0, 2.0])
    for question in (float, int, lambda t: t.item(), lambda t: f"{t:.3f}"):
        with pytest.raises(ShapeError, match=r"one element; got shape \(2,\)"):
            question(x)
    for truth in (x, tg.tensor([])):
        with pytest.raises(ShapeError, match="any"):
            bool(truth)
    with pytest.raises(TypeError):
        "abc"[tg.tensor(1.0)]


def test_it_is_a_sequence_of_its_rows():
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    assert len(x) == 2
    first, second = x
    assert second.tolist() == [3, 4] and first.requires_grad
    assert [row.tolist() for row in reversed(x)] == [[3, 4], [1, 2]]
    assert 3.0 in x and 5.0 not in x and x[1, 1] in x
    for question in (len, iter, list):
        with pytest.raises(TypeError, match="at least one axis"):
            question(x.sum())


def test_attributes_are_those_of_the_array():
    a = np.zeros((2, 3), np.float16)
    x = tg.tensor(a)
    assert (x.shape, x.dtype, x.ndim, x.size, x.T.shape) == (a.shape, a.dtype, a.ndim, a.size, a.T.shape)
    with pytest.raises(AttributeError):
        x.require_grad = True  # a misspelling is no new attribute


@pytest.mark.parametrize(
    "method",
    [
        lambda a: a.sum(0),
        lambda a: a.mean(axis=1, keepdims=True),
        lambda a: a.max(),
        lambda a: a.min(1),
        lambda a: a.prod(axis=0),
        lambda a: a.var(0, ddof=1),
        lambda a: a.std(),
        lambda a: a.any(),
        lambda a: a.all(0),
        lambda a: a.argmax(1),
        lambda a: a.argmin(),
        lambda a: a.cumsum(1),
        lambda a: a.clip(0.2),
        lambda a: a.clip(min=0.2, max=0.5),
        lambda a: a.dot(a.T),
        lambda a: a.reshape(3, -1),
        lambda a: a.reshape((4, 3)),
        lambda a: a.transpose(),
        lambda a: a.transpose(1, 0),
        lambda a: a.transpose((1, 0)),
        lambda a: a.flatten(),
        lambda a: a.ravel(),
        lambda a: a[None].squeeze(0),
        lambda a: a.copy(),
        lambda a: a.astype(np.float32),
        lambda a: a.astype(int),
        lambda a: a.T,
    ],
)
def test_methods_mean_what_they_mean_in_numpy(method):
    a = np.random.default_rng(0).uniform(-1, 1, (3, 4))
    ours, numpys = method(tg.tensor(a)), np.asarray(method(a))
    np.testing.assert_allclose(ours, numpys, rtol=1e-14)
    assert ours.dtype == numpys.dtype


@pytest.mark.parametrize("axes", [(0,), ((),), ((0,),), (0, 1, 2)], ids=repr)
def test_transpose_refuses_what_is_no_order_of_the_axes(axes):
    for stack in (np.ones((2, 3)), tg.tensor(np.ones((2, 3)))):
        with pytest.raises(ValueError, match="axes"):
            stack.transpose(*axes)


@pytest.mark.parametrize("axes", [(), (None,), (0,), (-1,), (np.int64(0),), ((0,),), ([0],)], ids=repr)
def test_a_vector_has_one_order_of_its_axes(axes):
    np.testing.assert_array_equal(np.arange(2.0).transpose(*axes), [0, 1])
    np.testing.assert_array_equal(tg.grad(lambda x: tg.sum(x.transpose(*axes) ** 2))(np.arange(2.0)), [0, 2])


def test_dot_refuses_what_it_would_take_for_a_stack():
    stack = tg.tensor(np.ones((2, 3, 3)))
    np.testing.assert_array_equal(stack.dot(np.ones((3, 2))), stack.value.dot(np.ones((3, 2))))
    with pytest.raises(ShapeError, match="matmul"):
        stack.dot(stack)


def test_a_method_is_named_as_users_know_it():
    with pytest.raises(TypeError, match=r"^Tensor\.sum\(\) got an unexpected keyword argument 'axes'"):
        tg.tensor([1.0]).sum(axes=0)
