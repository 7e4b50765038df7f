"""Images to train on: (x_train, y_train), (x_test, y_test) from each loader, x uint8 and y int64.

Nothing is ever downloaded. `load_digits` is part of the package; the others read files that you have.
"""

from tinygrad_bn import names
from tinygrad_bn.datasets.digits import load_digits
from tinygrad_bn.datasets.idx import load_fashion_mnist, load_mnist

__all__ = ["load_digits", "load_fashion_mnist", "load_mnist"]

names.answer_for(__name__)
