"""Layers that bring what passes them to mean 0 and variance 1: of the batch, of the sample, of the data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tinygrad_bn import initializers, ops
from tinygrad_bn.errors import NotBuiltError, SettingError, ShapeError
from tinygrad_bn.layers.base import Layer, positions
from tinygrad_bn.mode import current
from tinygrad_bn.module import Shape, called
from tinygrad_bn.module.settings import flag, number
from tinygrad_bn.ops import constants
from tinygrad_bn.ops.statistics import moments
from tinygrad_bn.streaming import pooled
from tinygrad_bn.tensors import Tensor, as_array
from tinygrad_bn.variables import State


class _Along(Layer):
    """A layer that keeps numbers of its own for each place along some axes of x.

    Args:
        axis: the axis or axes; not the batch.
        **options: of every `Layer`.
    """

    _settled: tuple[str, ...] = ("axis",)

    def __init__(self, axis: int | Sequence[int] | None, **options: Any) -> None:
        super().__init__(**options)
        self.axis = axis

    def _lay_out(self, input_shape: Shape, axis: Any) -> None:
        """One axis gives vectors; several keep the rank of x, with 1 for the axes left out."""
        self._axes = positions(self, "axis", axis, len(input_shape))
        self._others = tuple(a for a in range(len(input_shape)) if a not in self._axes)
        self._over = self._others[0] if len(self._others) == 1 else self._others  # one axis is read off faster
        self._lengths = tuple(input_shape[a] for a in self._axes)
        self._kept: tuple[Any, ...] = tuple(1 if a in self._others else length for a, length in enumerate(input_shape))
        self._shape: tuple[Any, ...] = self._lengths if len(self._axes) == 1 else self._kept

    def accept(self, x: Any) -> Any:
        x = super().accept(x)
        shape, known = x.shape, self.batch_shape
        alike = known is not None and shape and shape[1:] == known[1:]  # nearly always; else it may differ off the axes
        if not alike and (len(shape) != len(self._kept) or tuple([shape[a] for a in self._axes]) != self._lengths):
            raise self.misfit(x)
        return x

    def _spread(self, *vectors: Any) -> tuple[Any, ...]:
        """Parameters or states, or None, in a shape that broadcasts with x."""
        axes, shape = self._axes, self._kept
        if len(axes) != 1 or axes[0] == len(shape) - 1:
            return vectors
        return tuple([None if vector is None else ops.reshape(vector, shape=shape) for vector in vectors])


def _epsilon(layer: Any, name: str, value: Any) -> Any:
    return number(layer, name, value, "a number not below 0", lambda e: e >= 0)


def _momentum(layer: Any, name: str, value: Any) -> Any:
    return number(layer, name, value, "a number in [0, 1]", lambda m: 0 <= m <= 1)


class _Normalization(_Along):
    """gamma * x_hat + beta, where gamma and beta have the lengths of x along `axis`."""

    _checks: ClassVar = {"epsilon": _epsilon, "center": flag, "scale": flag}
    _settled = ("center", "scale", "beta_initializer", "gamma_initializer")

    def __init__(
        self,
        axis: int | Sequence[int],
        epsilon: float,
        center: bool,
        scale: bool,
        beta_initializer: Any,
        gamma_initializer: Any,
        **options: Any,
    ) -> None:
        super().__init__(axis, **options)
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.beta_initializer = beta_initializer
        self.gamma_initializer = gamma_initializer
        for initializer in (beta_initializer, gamma_initializer):
            initializers.get(initializer, type(self).__name__)

    def build(self, input_shape: Shape) -> None:
        self._lay_out(input_shape, self.axis)
        self.gamma = self.parameter("gamma", self._shape, self.gamma_initializer) if self.scale else None
        self.beta = self.parameter("beta", self._shape, self.beta_initializer) if self.center else None
        super().build(input_shape)

    def _scaled(self, x_hat: Any) -> Any:
        gamma, beta = self._spread(self.gamma, self.beta)
        if gamma is None or beta is None:
            y = x_hat if gamma is None else gamma * x_hat
            return y if beta is None else y + beta
        return ops.scale_and_shift(x_hat, gamma, beta)


class BatchNormalization(_Normalization):
    """gamma * x_hat + beta: in training x_hat has mean 0 and variance 1 over the batch, for each place along `axis`.

    In inference, and where it is not trainable, the moving averages of mean and variance stand for those of the batch.

    Args:
        axis: the axis, or several, that keep statistics of their own. On x of shape (batch, 28, 28) axis=-1 gives
            gamma, beta and the averages the shape (28,), and axis=[1, 2] gives them (1, 28, 28).
        momentum: the weight of the old average, when a new batch comes in.
        epsilon: is added to the variance.
        center: whether there is a beta.
        scale: whether there is a gamma.
        beta_initializer: a name or an initializer.
        gamma_initializer: a name or an initializer.
        unbiased: whether the moving variance takes in n / (n - 1) times the variance of n values, as in Algorithm 2 of
            the paper, instead of that variance itself.
        **options: of every `Layer`.

    Attributes:
        moving_mean: the average of the batches' means. A batch never enters where its statistics are not finite.
        moving_variance: the average of the batches' variances.
        statistics_frozen: whether the averages are used, and not updated, in training too.

    Raises:
        ValueError: a setting is not among what is allowed; at the first call, `axis` does not fit x.

    Reference: Ioffe and Szegedy (2015), Algorithms 1 and 2.
    """

    _checks: ClassVar = {"momentum": _momentum, "unbiased": flag, "statistics_frozen": flag}

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        unbiased: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(axis, epsilon, center, scale, beta_initializer, gamma_initializer, **options)
        self.momentum = momentum
        self.unbiased = unbiased
        self.statistics_frozen = False

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        self.moving_mean = State(np.zeros(self._shape, self.dtype), name="moving_mean")
        self.moving_variance = State(np.ones(self._shape, self.dtype), name="moving_variance")

    def freeze_statistics(self, frozen: bool = True) -> None:
        """Use the moving averages in training too, and do not update them; gamma and beta are still learned."""
        self.statistics_frozen = frozen

    def immature(self) -> str | None:
        """What is to be said where the averages are still more what they began as than what they have seen.

        That is while momentum ** updates > 1/2. Nothing is said of averages that were never updated, nor of those that
        somebody else wrote, such as `load_state_dict`.
        """
        writers = self.moving_mean.version.writers
        updates = writers.get(type(self).__name__, 0)
        if not updates or len(writers) > 1 or self.momentum**updates <= 0.5:
            return None
        return (
            f"has moving averages that are too young to be used: after {updates} updates with momentum={self.momentum} "
            f"{self.momentum**updates:.0%} of them is still what they began as. Train longer, or lower the momentum"
        )

    def forward(self, x: Any) -> Any:
        if self.statistics_frozen or not self.trainable or not self.in_training:
            return self._by_averages(x)
        x_hat = ops.standardize(x, axis=self._over, epsilon=self.epsilon)
        self._observe(x, x_hat)
        return self._scaled(x_hat)

    def _by_averages(self, x: Any) -> Any:
        """The same with the moving averages, gathered into one slope and one shift."""
        slope = 1 / ops.sqrt(self.moving_variance + self.epsilon)
        if self.gamma is not None:
            slope = slope * self.gamma
        shift = -self.moving_mean * slope
        if self.beta is not None:
            shift = shift + self.beta
        return ops.scale_and_shift(x, *self._spread(slope, shift))

    def _observe(self, x: Any, x_hat: Any) -> None:
        """Move the averages towards the statistics of this batch, except where those are not finite."""
        mean: Any = self.moving_mean
        variance: Any = self.moving_variance
        if isinstance(x, Tensor) and current().recorder is None:  # nobody watches: plain arrays take half the time
            x, x_hat, mean, variance = x.value, x_hat.value, mean.value, variance.value
        new_mean, new_variance = moments(x, x_hat, axis=self._over)
        if self.unbiased:
            n = x.size // variance.size
            new_variance = new_variance * (n / max(n - 1, 1))
        where: Any = np.isfinite(new_variance).reshape(self._shape)  # it is not where the mean is not
        if isinstance(where, np.ndarray) and np.count_nonzero(where) == where.size:
            where = True  # nearly always, and it is written faster without a mask
        share = constants.number(1 - self.momentum, mean.dtype)
        for average, old, new in ((self.moving_mean, mean, new_mean), (self.moving_variance, variance, new_variance)):
            average.assign(old + share * (new.reshape(self._shape) - old), type(self).__name__, where=where)


class LayerNormalization(_Normalization):
    """gamma * x_hat + beta: x_hat has mean 0 and variance 1 over `axis`, for each sample.

    gamma and beta have the shape that `BatchNormalization` gives them.  Reference: Ba et al. (2016).
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        **options: Any,
    ) -> None:
        super().__init__(axis, epsilon, center, scale, beta_initializer, gamma_initializer, **options)

    def forward(self, x: Any) -> Any:
        return self._scaled(ops.standardize(x, axis=self._axes, epsilon=self.epsilon))


class Normalization(_Along):
    """(x - mean) / max(sqrt(variance), 1e-7), with mean and variance of the data set: what is learned before training.

    Put it first, and call `adapt` with the training data; or give both numbers. As in Keras a place that does not vary
    is divided by 1e-7.

    Args:
        axis: the axis, or several, that keep a mean and a variance of their own; None has one of each for all.
        mean: what `adapt` would find: a number, or one for each place along `axis`.
        variance: likewise; the two are given together.
        invert: x * max(sqrt(variance), 1e-7) + mean instead: the way back.
        **options: of every `Layer`.

    Attributes:
        mean: of shape `axis`, as in `BatchNormalization`; a State, so it is saved with the weights.
        variance: likewise, not corrected for the mean (ddof 0); NaN until it is known.

    Raises:
        SettingError: only one of mean and variance, or a negative variance.
        NotBuiltError: at a call: neither has `adapt` been called, nor were the numbers given or loaded.
    """

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(axis, **options)
        if (mean is None) != (variance is None):
            raise SettingError(f"{called(self)} expects mean and variance together; got only one of them")
        self._given = None if mean is None else [as_array(given, floats=np.float64) for given in (mean, variance)]
        if self._given is not None and not (self._given[1] >= 0).all():
            raise SettingError(f"{called(self)} expects variance to be not below 0; got {variance!r}")
        self.invert = invert

    def build(self, input_shape: Shape) -> None:
        self._lay_out(input_shape, () if self.axis is None else self.axis)
        mean, variance = (self._filled(n) for n in self._given or (np.zeros(()), np.full((), np.nan)))
        self.mean, self.variance = State(mean, name="mean"), State(variance, name="variance")
        super().build(input_shape)

    def adapt(self, x: Any) -> None:
        """Learn mean and variance of the samples x, of shape (n, ...), anew: in two passes in float64.

        Raises:
            ShapeError: there is no sample, or samples do not fit.
            SettingError: mean and variance were given to the constructor.
            ValueError: x is not finite.
        """
        if self._given is not None:
            raise SettingError(f"{called(self)}.adapt expects mean and variance not to have been given to the layer")
        x = as_array(x)
        if not x.size:
            raise ShapeError(f"{called(self)}.adapt expects at least one sample; got shape {x.shape}")
        x = self.accept(x)
        found = pooled(x, self._others)
        mean, variance = found.mean, found.variance()
        if not np.isfinite(variance).all():
            raise ValueError(f"{called(self)}.adapt expects finite numbers; got {np.sum(~np.isfinite(x))} that are not")
        self.mean.assign(mean.reshape(self._shape), "adapt")
        self.variance.assign(variance.reshape(self._shape), "adapt")

    def forward(self, x: Any) -> Any:
        if np.isnan(self.variance.value).any():
            raise self.error(
                NotBuiltError, "knows no mean and variance yet: call adapt(x) with the training data first"
            )
        mean, scale = self._spread(self.mean, ops.maximum(ops.sqrt(self.variance), _LEAST_SCALE))
        return x * scale + mean if self.invert else (x - mean) / scale

    def _filled(self, numbers: Any) -> Any:
        try:
            return np.broadcast_to(numbers, self._shape).astype(self.dtype)
        except ValueError:
            raise self.error(
                ShapeError, f"expects mean and variance of shape {self._shape}; got {numbers.shape}"
            ) from None


_LEAST_SCALE = 1e-7
