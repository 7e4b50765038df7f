"""Indexing: NumPy's meaning for every kind of index, and its adjoint as the gradient."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_bn as tg

SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)


def assert_indexes_as_numpy(shape, index):
    """The values, the gradient (repeated indices accumulate), and the gradient's own gradient."""
    a = np.random.default_rng(0).standard_normal(shape)
    x = tg.tensor(a, requires_grad=True)
    picked = x[index]
    np.testing.assert_array_equal(picked, a[index])
    weights = np.random.default_rng(1).standard_normal(picked.shape)
    gradient = np.zeros(shape)
    np.add.at(gradient, index, weights)
    (found,) = tg.gradients(picked, [x], grad_outputs=weights)
    np.testing.assert_allclose(found, gradient, atol=1e-15)
    cotangent = tg.tensor(weights, requires_grad=True)
    (g,) = tg.gradients(x[index], [x], grad_outputs=cotangent, create_graph=True)
    (back,) = tg.gradients(g, [cotangent], grad_outputs=a)
    np.testing.assert_array_equal(back, a[index])


@given(st.data())
def test_integers_slices_ellipsis_and_new_axes(data):
    shape = data.draw(SHAPES)
    assert_indexes_as_numpy(shape, data.draw(hnp.basic_indices(shape, allow_newaxis=True)))


@given(st.data())
def test_integer_arrays(data):
    shape = data.draw(SHAPES)
    assert_indexes_as_numpy(shape, data.draw(hnp.integer_array_indices(shape)))


@given(st.data())
def test_masks(data):
    shape = data.draw(SHAPES)
    depth = data.draw(st.integers(1, len(shape)))
    assert_indexes_as_numpy(shape, data.draw(hnp.arrays(bool, shape[:depth])))


@pytest.mark.parametrize(
    "index",
    [
        [0, 2, 0],
        (slice(None), [1, 1], None),
        ([0, 1], slice(None), [2, 2]),
        (0, [1, 2]),
        ([[0], [1]], [1, 2]),
        np.array(1),
        np.int64(-1),
        True,
        np.False_,
        [],
        [True, False, True],
        ((0, 1),),
        range(2),
        (..., np.array([1, 1, 1])),
        (np.array([True, False, True]), 1),
    ],
    ids=repr,
)
def test_other_ways_to_say_an_index(index):
    assert_indexes_as_numpy((3, 4, 3), index)


def test_tensors_are_indices():
    a = np.arange(12.0).reshape(3, 4)
    x = tg.tensor(a, requires_grad=True)
    for index in (1, [2, 0], [[0], [1]], [True, False, True], a > 4):
        np.testing.assert_array_equal(x[tg.tensor(index)], a[np.array(index)])
    np.testing.assert_array_equal(x[tg.tensor(1) : tg.tensor(3), tg.tensor([0, 0])], a[1:3, [0, 0]])
    np.testing.assert_array_equal(x[x > 4], a[a > 4])


@pytest.mark.parametrize("index", [3, (0, 4), (0, 0, 0), [0, 3], (..., ...), [True, False]], ids=repr)
def test_outside_is_an_index_error(index):
    with pytest.raises(IndexError, match=r"getitem expects an index inside x; got float32 of shape \(3, 4\)"):
        tg.tensor(np.zeros((3, 4), np.float32))[index]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,)])
def test_empty_masks_are_masks(shape):
    assert_indexes_as_numpy(shape, np.zeros(shape, bool))


@pytest.mark.parametrize(
    "index",
    [1.0, "a", [0.5], {1}, tg.tensor([0.5]), np.ones(2), np.ones(0), [[0], [0, 1]], (0, [[0], [0, 1]])],
    ids=repr,
)
def test_what_is_no_index_is_an_index_error(index):
    with pytest.raises(IndexError, match="integers, slices, masks"):
        tg.tensor(np.zeros((3, 4)))[index]
