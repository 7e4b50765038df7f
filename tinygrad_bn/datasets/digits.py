"""The 1,797 handwritten digits that come with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tinygrad_bn.datasets.idx import Examples


def load_digits() -> tuple[Examples, Examples]:
    """(x_train, y_train), (x_test, y_test): 1,437 + 360 handwritten digits of 8 x 8 pixels, always the same.

    x: uint8 of shape (n, 8, 8), 0 (white) to **16** (black), so `x / 16` lies in 0..1;
    y: int64 of shape (n,), 0 to 9. Fresh arrays at every call: change them as you like.

    The split was made once and is stored as made: the images were shuffled by
    `numpy.random.default_rng(0).permutation(1797)`, the first 36 of every digit are the test set, the others,
    138 to 147 of every digit, the training set. The 13 writers occur in both, so the test measures new
    images, not new writers.

    The data are the test part of "Optical Recognition of Handwritten Digits" from the UCI Machine Learning
    Repository, as scikit-learn distributes it too; licence CC BY 4.0 (`digits.txt` beside this file).

    Reference: Alpaydin & Kaynak (1998), https://doi.org/10.24432/C50P49.
    """
    from importlib.resources import files  # works from a zip too, and is not cheap to import

    with (
        files("tinygrad_bn.datasets").joinpath("digits.npz").open("rb") as stream,
        np.load(stream, allow_pickle=False) as stored,
    ):
        return (
            (stored["x_train"], stored["y_train"].astype(np.int64)),
            (stored["x_test"], stored["y_test"].astype(np.int64)),
        )
