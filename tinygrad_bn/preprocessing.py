"""What is done to data before a network sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tinygrad_bn.errors import NotBuiltError, ShapeError
from tinygrad_bn.streaming import blocks, pooled
from tinygrad_bn.tensors import as_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST_VARIANCE = np.finfo(np.float64).tiny  # below it squares lose their digits


class Standardizer:
    """(x - mean) / scale, feature by feature: mean 0 and standard deviation 1, the inputs that SELU needs.

    A feature is one position of a sample of any shape. One that is constant, or varies by less than 1.5e-154, is only
    shifted to 0: its scale is 1.

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
        """Learn mean and scale from x of shape (n, ...), in float64.

        Raises:
            ShapeError: there is no sample.
            DtypeError: x is not made of real numbers.
            ValueError: x is not finite, or varies too much for deviations to be squared in float64.
        """
        x = _samples("fit", x)
        moments = pooled(x)
        variance = moments.variance()[0]
        if not np.isfinite(variance).all():
            raise _unfit(x, variance)
        self.mean = np.asarray(moments.mean[0])
        self.scale = np.where(variance < _LEAST_VARIANCE, 1.0, np.sqrt(variance))
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
        for block, out in zip(blocks(x), blocks(result), strict=True):
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


def _unfit(x: NDArray[Any], variance: Any) -> ValueError:
    """The error that says which numbers have made a variance infinite, or no number."""
    bad, wide = (np.argwhere(~np.isfinite(array)) for array in (x, variance))
    said = "finite numbers" if len(bad) else "deviations that float64 can square"
    came = f"{len(bad)} that are not, the first at x[" if len(bad) else "some beyond 1e154, the first in x[:, "
    return ValueError(
        f"Standardizer.fit expects {said}; got {came}{', '.join(map(str, (bad if len(bad) else wide)[0]))}]"
    )
