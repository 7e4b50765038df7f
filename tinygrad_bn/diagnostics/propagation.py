"""Mean and variance from layer to layer: as the actual weights and the activation's moment map predict them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from tinygrad_bn import ops
from tinygrad_bn.autodiff.gradients import gradients
from tinygrad_bn.diagnostics.moments import Passed, gaussian_moments, selu_moments
from tinygrad_bn.diagnostics.structure import GraphLayer, Link
from tinygrad_bn.diagnostics.units import apply_again
from tinygrad_bn.layers import AlphaDropout, Dropout
from tinygrad_bn.mode import using
from tinygrad_bn.ops.random import alpha_dropout_settings
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.tensors.graph import made, source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Owners = Mapping[Tensor, Dropout]

_UNCHANGED = (ops.reshape, ops.astype, ops.copy)
_STEP: Final = 1e-4  # of the differences that stand for derivatives of the map


class Moments(NamedTuple):
    """Mean and variance of activations over units and samples, and the covariance of their errors."""

    mean: float
    variance: float
    errors: NDArray[Any]

    @classmethod
    def measured(cls, activations: NDArray[Any]) -> Moments:
        """Those of an array, without error."""
        values = np.asarray(activations, np.float64)
        return cls(float(values.mean()), float(values.var()), np.zeros((2, 2)))


class Prediction(NamedTuple):
    """What a layer makes of the moments of what enters it.

    Attributes:
        moments: of its activations.
        contraction: the spectral norm of d (mean, variance) / d (mean, variance before).
        growth: by which the variance of a gradient changes on its way back through the layer.
    """

    moments: Moments
    contraction: float
    growth: float


class Propagation:
    """The moment map of one layer, with a mean and a variance for each unit before the activation.

    Unit j takes inputs of mean m and variance v to m * omega_j + bias_j and v * tau_j, where omega_j is the sum of its
    weights and tau_j that of their squares; the activation is a map of these two (Klambauer et al. 2017, Eq. 4 and 5).
    The layer's mean and variance are those over all units and samples together.

    Args:
        layer: in the graph.
        owners: which Tensors were made by which dropout layer.

    Attributes:
        omega, tau: of each unit.
    """

    def __init__(self, layer: GraphLayer, owners: Owners) -> None:
        self._layer = layer
        weights = np.asarray(layer.kernel.value, np.float64)
        self.omega, self.tau = weights.sum(axis=0), np.square(weights).sum(axis=0)
        self._fans = weights.shape
        bias = source(layer.product)[1][2:]
        self._bias = np.asarray(bias[0].value if bias else 0.0, np.float64)
        self._dropouts: list[Dropout] = []
        self._activation = layer.nonlinearity
        self.complete = layer.kernel.ndim == 2 and source(layer.product)[1][1] is layer.kernel
        for link in layer.links:
            self._take_up(link, owners)
        if self.complete and self._activation:
            self.complete = (
                self._is_selu or apply_again(self._activation, Tensor(np.zeros((1, len(self.omega))))) is not None
            )

    @property
    def _is_selu(self) -> bool:
        return is_selu(self._activation)

    def _take_up(self, link: Link, owners: Owners) -> None:
        """Add a link to the map, or find that the map is not complete."""
        primitive, args, _ = source(link.after)
        if link.after in owners:
            if owners[link.after] not in self._dropouts:
                self._dropouts.append(owners[link.after])
        elif primitive is ops.add and link.kind == "linear" and not self._dropouts:
            other = next(arg for arg in args if arg is not link.before)
            self._bias = self._bias + np.asarray(getattr(other, "value", other), np.float64)
            self.complete = self.complete and self._bias.ndim < 2
        elif primitive not in _UNCHANGED and not any(link is each for each in self._activation):
            self.complete = False

    def __call__(self, before: Moments) -> Prediction:
        """What becomes of such moments; the band counts what finitely many units leave to chance.

        That is: each layer adds the errors of its two means over units, estimated from how the units scatter about
        their own predictions, to what it makes of the errors before.
        """
        passed = self._passed(before.mean, before.variance)
        mean, variance = _pooled(passed)
        steps = (_STEP, _STEP * max(before.variance, _STEP))
        columns = []
        for step, (in_mean, in_variance) in zip(steps, ((steps[0], 0.0), (0.0, steps[1])), strict=True):
            ahead = _pooled(self._passed(before.mean + in_mean, before.variance + in_variance))
            behind = _pooled(self._passed(before.mean - in_mean, before.variance - in_variance))
            columns.append([(a - b) / (2 * step) for a, b in zip(ahead, behind, strict=True)])
        jacobian = np.array(columns).T
        errors = jacobian @ before.errors @ jacobian.T + self._chance(passed, mean)
        growth = self._fans[1] / self._fans[0] * float(np.mean(self.tau * passed.slope))
        contraction = float(np.linalg.norm(jacobian, 2)) if np.isfinite(jacobian).all() else math.nan
        return Prediction(Moments(mean, variance, errors), contraction, growth)

    def _passed(self, mean: float, variance: float) -> Passed:
        """What each unit makes of inputs of this mean and variance."""
        means, variances = mean * self.omega + self._bias, np.maximum(variance * self.tau, 1e-30)
        if not self._activation:
            passed = Passed(means, np.square(means) + variances, np.ones_like(means))
        elif self._is_selu:
            passed = selu_moments(means, variances)
        else:
            passed = gaussian_moments(self._apply, means, variances, self._slope)
        for dropout in self._dropouts:
            passed = _dropped(passed, dropout)
        return passed

    def _apply(self, z: NDArray[Any]) -> NDArray[Any]:
        result = apply_again(self._activation, Tensor(z))
        assert result is not None  # it was tried in the beginning
        return result.value

    def _slope(self, z: NDArray[Any]) -> NDArray[Any]:
        with using(gradients=True, recorder=None):
            x = Tensor(z, requires_grad=True)
            result = apply_again(self._activation, x)
            assert result is not None
            found: NDArray[Any] = gradients(result, x, grad_outputs=np.ones_like(z)).value
        return found

    def _chance(self, passed: Passed, mean: float) -> NDArray[Any]:
        """The covariance of (mean, variance) of a layer, from how its units scatter about their predictions."""
        values = np.asarray(self._layer.activation.value, np.float64).reshape(-1, len(self.omega))
        scatter = np.stack([values.mean(axis=0) - passed.mean, np.square(values).mean(axis=0) - passed.square])
        if scatter.shape[1] < 2:
            return np.full((2, 2), math.inf)
        to_variance = np.array([[1.0, 0.0], [-2 * mean, 1.0]])  # variance = square - mean ** 2
        covariance: NDArray[Any] = to_variance @ np.cov(scatter) @ to_variance.T / scatter.shape[1]
        return covariance


def is_selu(links: Sequence[Link]) -> bool:
    """Whether an activation is SELU, and nothing else."""
    return len(links) == 1 and made(links[0].after) is ops.selu


def _pooled(passed: Passed) -> tuple[float, float]:
    """Mean and variance over all units."""
    mean = float(passed.mean.mean())
    return mean, float(passed.square.mean()) - mean * mean


def _dropped(passed: Passed, dropout: Dropout) -> Passed:
    """The moments after dropout, and the slope on the way back."""
    kept = 1 - dropout.rate
    if not dropout.rate:
        return passed
    if not isinstance(dropout, AlphaDropout):
        return Passed(passed.mean, passed.square / kept, passed.slope / kept)
    limit, a = alpha_dropout_settings(dropout.rate)
    b = -a * limit * dropout.rate
    mean = kept * passed.mean + dropout.rate * limit
    square = kept * passed.square + dropout.rate * limit * limit
    return Passed(a * mean + b, a * a * square + 2 * a * b * mean + b * b, a * a * kept * passed.slope)
