"""The images that the demo learns from."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygrad_bn import datasets
from tinygrad_bn.cli import Failure
from tinygrad_bn.cli.recipes import CLASSES
from tinygrad_bn.preprocessing import Standardizer


class Images(NamedTuple):
    """Images of shape (n, rows, columns), float32, and labels of shape (n,), to learn from and to test on."""

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]

    def first(self, count: int) -> Images:
        """The same with no more than `count` images to learn from."""
        return self._replace(x_train=self.x_train[:count], y_train=self.y_train[:count])

    def standardized(self) -> Images:
        """The same with mean 0 and standard deviation 1 in every pixel of the training images."""
        standardizer = Standardizer().fit(self.x_train)
        return self._replace(x_train=standardizer.transform(self.x_train), x_test=standardizer.transform(self.x_test))


class Source(NamedTuple):
    """Where images come from.

    Attributes:
        what: what they show.
        loader: of `tinygrad_bn.datasets`.
        largest: value that a pixel can have.
        epochs: that make about 1,400 training steps of 32.
    """

    what: str
    loader: str
    largest: int
    epochs: int


SOURCES: Final = {
    "digits": Source("handwritten digits", "load_digits", largest=16, epochs=30),
    "mnist": Source("handwritten digits", "load_mnist", largest=255, epochs=1),
    "fashion-mnist": Source("pictures of clothes", "load_fashion_mnist", largest=255, epochs=1),
}
"""By the name that --data takes."""


def load(name: str) -> Images:
    """The images of this name, scaled to [0, 1].

    Raises:
        Failure: their files are missing or broken, or nothing that the demo could learn; the message says what to do.
    """
    source = SOURCES[name]
    try:
        (x_train, y_train), (x_test, y_test) = getattr(datasets, source.loader)()
    except (OSError, ValueError) as error:
        raise Failure(str(error)) from error
    largest = np.float32(source.largest)
    images = Images(x_train / largest, y_train, x_test / largest, y_test)
    if unfit := _unfit(images):
        raise Failure(f"the files of {name} do not suit the demo: {unfit}")
    return images


def _unfit(images: Images) -> str:
    """What the demo cannot work with."""
    for what, x, y in (("to learn from", *images[:2]), ("to test on", *images[2:])):
        if not x.size:
            return f"it needs images {what}; got an array of shape {x.shape}"
        if y.max() >= CLASSES:
            return f"it needs labels from 0 to {CLASSES - 1}; got {y.max()} among those {what}"
    if images.x_train.shape[1:] != images.x_test.shape[1:]:
        shapes = f"{images.x_train.shape[1:]} and {images.x_test.shape[1:]}"
        return f"it needs images of one shape to learn from and to test on; got {shapes}"
    return ""
