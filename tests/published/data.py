"""The data of the published experiments; a test that needs what is not there is skipped."""

import numpy as np
import pytest

import tinygrad_bn as tg


def digits():
    """The package's own digits with mean 0 and variance 1 over all pixels: x, y, x_test, y_test."""
    (x, y), (x_test, y_test) = tg.datasets.load_digits()
    mean, deviation = x.mean(), x.std()
    return ((x - mean) / deviation).astype(np.float32), y, ((x_test - mean) / deviation).astype(np.float32), y_test


def mnist(mean=0.0, deviation=1.0):
    """x, y, x_test, y_test: pixels from 0 to 1, less `mean`, over `deviation`."""
    return _scaled(tg.datasets.load_mnist, mean, deviation)


def fashion_mnist():
    """x, y, x_test, y_test: pixels from 0 to 1."""
    return _scaled(tg.datasets.load_fashion_mnist, 0.0, 1.0)


def _scaled(load, mean, deviation):
    try:
        (x, y), (x_test, y_test) = load()
    except FileNotFoundError as error:
        pytest.skip(f"no data here: {str(error).splitlines()[0]}")
    x, x_test = (((each / np.float32(255)) - np.float32(mean)) / np.float32(deviation) for each in (x, x_test))
    return x, y, x_test, y_test
