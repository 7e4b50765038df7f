"""What is done to data before a network sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tinygrad_bn.errors import NotBuiltError, ShapeError
from tinygrad_bn.tensors import as_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROWS = 4096  # at a time, so that float64 copies stay small


class Standardizer:
    """(x - mean) / scale, feature by feature: mean 0 and standard deviation 1, the inputs that SELU needs.

    A feature is one position of a sample of any shape. One that is constant is only shifted to 0: its scale is 1.

    Attributes:
        mean: of each feature, float64, of the shape of a sample; None before `fit`.
        scale: the standard deviation (of the population, ddof 0) of each feature, likewise.
    """

    def __init__(self) -> None:
        self.mean: NDArray[np.float64] | None = None
        self.scale: NDArray[np.float64] | None = None

    def __repr__(self) -> str:
        return "Standardizer()" if self.mean is None else f"Standardizer(fitted to samples of shape {self.mean.shape})"

    def fit(self, x: Any) -> Self:
        """Learn mean and scale from x of shape (n, ...), in two passes in float64.

        Raises:
            ShapeError: there is no sample.
            DtypeError: x is not made of real numbers.
            ValueError: x is not finite.
        """
        x = _samples("fit", x)
        if x.dtype.kind == "f" and not (np.isfinite(x.min()) and np.isfinite(x.max())):
            bad = np.argwhere(~np.isfinite(x))
            first = ", ".join(map(str, bad[0]))
            raise ValueError(
                f"Standardizer.fit expects finite numbers; got {len(bad)} that are not, the first at x[{first}]"
            )
        varies = x.max(axis=0) > x.min(axis=0)  # exact, where a rounded mean would make a constant seem to vary
        mean = np.where(varies, x.mean(axis=0, dtype=np.float64), x[0])
        squares = np.zeros(x.shape[1:])
        for block in _blocks(x):
            squares += np.square(block - mean).sum(axis=0)
        self.mean, self.scale = mean, np.where(varies, np.sqrt(squares / len(x)), 1.0)
        return self

    def transform(self, x: Any) -> NDArray[Any]:
        """x of shape (n, ...), standardized: in its own dtype if that is floating, else float32.

        Raises:
            NotBuiltError: nothing has been fitted.
            ShapeError: samples have another shape than those of `fit`.
        """
        if self.mean is None or self.scale is None:
            raise NotBuiltError("Standardizer.transform expects to be fitted: call fit or fit_transform first")
        x = _samples("transform", x)
        if x.shape[1:] != self.mean.shape:
            raise ShapeError(f"Standardizer.transform expects samples of shape {self.mean.shape}; got {x.shape[1:]}")
        result = np.empty(x.shape, x.dtype if x.dtype.kind == "f" else np.float32)
        for block, out in zip(_blocks(x), _blocks(result), strict=True):
            np.divide(block - self.mean, self.scale, out=out, casting="same_kind")
        return result

    def fit_transform(self, x: Any) -> NDArray[Any]:
        """transform(x), with mean and scale learned from x itself."""
        return self.fit(x).transform(x)


def _samples(method: str, x: Any) -> NDArray[Any]:
    array: NDArray[Any] = as_array(x)
    if array.ndim == 0 or array.size == 0:
        raise ShapeError(f"Standardizer.{method} expects x of shape (n, ...) with n > 0; got {array.shape}")
    return array


def _blocks(x: NDArray[Any]) -> Iterator[NDArray[Any]]:
    return (x[start : start + _ROWS] for start in range(0, len(x), _ROWS))
