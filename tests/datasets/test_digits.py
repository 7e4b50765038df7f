import numpy as np
import pytest

from tinygrad_bn.datasets import load_digits


def test_shapes_dtypes_and_range():
    (x_train, y_train), (x_test, y_test) = load_digits()
    assert x_train.shape == (1437, 8, 8)
    assert y_train.shape == (1437,)
    assert x_test.shape == (360, 8, 8)
    assert y_test.shape == (360,)
    for x, y in ((x_train, y_train), (x_test, y_test)):
        assert x.dtype == np.uint8
        assert y.dtype == np.int64
        assert (x.min(), x.max()) == (0, 16)
        assert np.unique(y).tolist() == list(range(10))


def test_the_split_is_balanced_and_shuffled():
    (_, y_train), (_, y_test) = load_digits()
    assert np.bincount(y_test).tolist() == [36] * 10
    # 1,797 images less the test set, by digit, as UCI counts them.
    assert np.bincount(y_train).tolist() == [142, 146, 141, 147, 145, 146, 145, 143, 138, 144]
    # In shuffled order about one label in ten equals its neighbour.
    assert 0.05 < np.mean(y_train[1:] == y_train[:-1]) < 0.15


def test_it_is_the_published_data():
    (x_train, y_train), (x_test, y_test) = load_digits()
    x, y = np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test])
    assert x.astype(int).sum() == 561718  # sum of sklearn.datasets.load_digits().data
    first = [
        [0, 0, 5, 13, 9, 1, 0, 0],
        [0, 0, 13, 15, 10, 15, 5, 0],
        [0, 3, 15, 2, 0, 11, 8, 0],
        [0, 4, 12, 0, 0, 8, 8, 0],
        [0, 5, 8, 0, 0, 9, 8, 0],
        [0, 4, 11, 0, 1, 12, 7, 0],
        [0, 2, 14, 5, 10, 12, 0, 0],
        [0, 0, 6, 13, 10, 0, 0, 0],
    ]
    (place,) = np.flatnonzero((x == first).all(axis=(1, 2)))
    assert y[place] == 0


def test_no_image_is_in_both_parts():
    (x_train, _), (x_test, _) = load_digits()
    assert not {image.tobytes() for image in x_train} & {image.tobytes() for image in x_test}


@pytest.mark.parametrize("part", [0, 1])
def test_every_call_gives_fresh_writable_arrays(part):
    x, y = load_digits()[part]
    x[:] = 0
    y[:] = 0
    again_x, again_y = load_digits()[part]
    assert again_x.any()
    assert again_y.any()
