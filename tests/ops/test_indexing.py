"""Indexing means what it means in NumPy, and its gradient adds up what was taken more than once."""

import numpy as np
import pytest

import tinygrad_bn as tg

X = np.arange(24.0).reshape(2, 3, 4)
TWICE = np.array([1, 0, 1])
NEGATIVE = np.array([[-1], [0]])
MASK = X % 5 < 2
ROWS = np.array([True, False])

INDICES = {
    "number": np.s_[1],
    "negative number": np.s_[-1, 0],
    "NumPy number": np.s_[np.int64(1)],
    "slice": np.s_[:, 1:3],
    "step": np.s_[::-1, ::2, ::-3],
    "nothing": np.s_[2:1],
    "ellipsis": np.s_[..., 0],
    "whole": np.s_[...],
    "empty tuple": np.s_[()],
    "new axes": np.s_[None, 0, ..., None],
    "repeated": np.s_[TWICE],
    "list": np.s_[[1, 1, 0, 1]],
    "empty list": np.s_[[]],
    "two arrays": np.s_[TWICE, TWICE],
    "arrays that broadcast": np.s_[NEGATIVE, TWICE],
    "arrays apart": np.s_[TWICE, :, TWICE],
    "array after a slice": np.s_[:, TWICE, 1:],
    "array and number": np.s_[0, TWICE],
    "array and new axis": np.s_[None, TWICE, ..., 0],
    "arrays parted by an empty ellipsis": np.s_[:, TWICE, ..., TWICE],
    "mask": np.s_[MASK],
    "mask of rows": np.s_[ROWS],
    "mask and slice": np.s_[ROWS, 1:],
    "mask of two axes": np.s_[MASK[..., 0]],
    "mask that is all false": np.s_[MASK & False],
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_an_index_takes_what_numpy_takes_and_gives_back_where_it_took(index):
    t = tg.tensor(X, requires_grad=True)
    taken = t[index]
    np.testing.assert_array_equal(taken.numpy(), X[index])
    g = np.random.default_rng(0).uniform(size=taken.shape)
    expected = np.zeros_like(X)
    np.add.at(expected, index, g)
    np.testing.assert_allclose(tg.gradients(taken, t, grad_outputs=g).numpy(), expected, rtol=1e-15)


def test_an_index_may_be_a_tensor():
    t = tg.tensor(X, requires_grad=True)
    np.testing.assert_array_equal(t[tg.tensor(TWICE)].numpy(), X[TWICE])
    np.testing.assert_array_equal(t[t > 3.0].numpy(), X[X > 3])
    np.testing.assert_array_equal(t[:, tg.tensor(2)].numpy(), X[:, 2])


def test_the_gradient_of_indexing_can_be_differentiated():
    def cubed(x):
        return (x[TWICE] ** 3).sum()

    x = np.array([1.0, 2.0])
    np.testing.assert_allclose(tg.grad(cubed)(x), [3, 2 * 12])
    np.testing.assert_allclose(tg.hessian(cubed)(x), [[6, 0], [0, 2 * 12]])


def test_take_with_truth_values_is_a_mask():
    for truths in ([True, False], ROWS, tg.tensor(ROWS)):
        np.testing.assert_array_equal(tg.take(tg.tensor(X), truths, 0).numpy(), X[ROWS])
    with pytest.raises(IndexError, match="take expects an axis that x has, and indices inside it"):
        tg.take(X, [True, False, True], 0)


def test_take_and_put_are_adjoint():
    rng = np.random.default_rng(1)
    x, v, indices = rng.uniform(size=(4, 3)), rng.uniform(size=(5, 3)), rng.integers(-4, 4, 5)
    back = tg.put(v, indices, index=("array",), shape=x.shape)
    np.testing.assert_allclose((tg.take(x, indices, 0) * v).sum(), (x * back).sum(), rtol=1e-14)


def test_a_split_is_the_inverse_of_concatenate():
    t = tg.tensor(X, requires_grad=True)
    joined = tg.concatenate(tg.split(t, [1, 1, 3], axis=2), axis=2)
    np.testing.assert_array_equal(joined.numpy(), X)
    g = np.random.default_rng(2).uniform(size=X.shape)
    np.testing.assert_array_equal(tg.gradients(joined, t, grad_outputs=g).numpy(), g)


def test_arrays_join_tensors():
    t = tg.tensor(np.ones((1, 2)), requires_grad=True)
    joined = tg.concatenate([np.zeros((1, 2)), t, np.zeros((2, 2)), t])
    assert joined.shape == (5, 2)
    np.testing.assert_array_equal(tg.gradients(joined.sum(), t).numpy(), [[2, 2]])
    np.testing.assert_array_equal(tg.stack([t, np.zeros((1, 2))], axis=-1).numpy(), np.stack([[[1, 1]], [[0, 0]]], -1))


def test_a_list_of_tensors_is_stacked_by_nobody_in_secret():
    t = tg.tensor([1.0, 2.0], requires_grad=True)
    for function in (tg.exp, tg.sum, tg.silu, tg.var):
        with pytest.raises(TypeError, match="stack"):
            function([t, t])


def test_the_border_of_pad_has_no_part_in_the_gradient():
    t = tg.tensor(np.ones((2, 3)), requires_grad=True)
    padded = tg.pad(t, ((1, 0), (2, 1)), constant_values=7.0)
    g = np.arange(18.0).reshape(3, 6)
    np.testing.assert_array_equal(tg.gradients(padded, t, grad_outputs=g).numpy(), g[1:, 2:5])
