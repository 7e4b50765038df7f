"""Whether a network of SELUs normalizes itself: the conditions, and what its weights promise against what comes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from textwrap import fill
from typing import Any, Final, NamedTuple

import numpy as np

from tinygrad_bn.autodiff.gradients import gradients
from tinygrad_bn.diagnostics.conditions import DOMAIN, Condition, conditions
from tinygrad_bn.diagnostics.moments import selu_moments
from tinygrad_bn.diagnostics.propagation import Moments, Prediction, Propagation, is_selu
from tinygrad_bn.diagnostics.structure import GraphLayer, Structure
from tinygrad_bn.diagnostics.subjects import expect_module
from tinygrad_bn.diagnostics.tables import finite, table
from tinygrad_bn.errors import ShapeError
from tinygrad_bn.layers import Dropout
from tinygrad_bn.mode import current, frozen_state, using
from tinygrad_bn.models.data import expect_result, samples
from tinygrad_bn.module import Module
from tinygrad_bn.module.observing import example
from tinygrad_bn.names import checked
from tinygrad_bn.recorders import Following
from tinygrad_bn.tensors import Tensor

GRADIENT_GROWTH: Final = float(selu_moments(0.0, 1.0).slope)
"""1.0716: where activations keep mean 0 and variance 1, the variance of the gradient still grows by it in each layer.

It is E[selu'(z) ** 2] for standard normal z: x1005 in variance, x31.7 in norm, over 100 layers."""

_ERRORS: Final = 3.0
_PROBE: Final = 256


class LayerMoments(NamedTuple):
    """Mean and variance of a hidden layer's activations, over units and samples: predicted, and measured.

    Attributes:
        path: of the kernel.
        omega, tau: means over the units of the sum of the weights, and of the sum of their squares.
        within: the share of the units whose own omega and tau are in the domain of Theorem 1.
        mean, variance: as predicted; NaN where the layer does what has no prediction.
        mean_error, variance_error: the standard errors of these, because there are only so many units.
        measured_mean, measured_variance: of the batch.
        contraction: by what factor, at most, the layer takes an error of mean and variance on.
        growth: by what factor the variance of a gradient changes on its way back through the layer, as predicted.
        measured_growth: the same for random numbers that were propagated back.
    """

    path: str
    omega: float
    tau: float
    within: float
    mean: float
    variance: float
    mean_error: float
    variance_error: float
    measured_mean: float
    measured_variance: float
    contraction: float
    growth: float
    measured_growth: float

    @property
    def as_predicted(self) -> bool:
        """Whether what was measured is within 3 standard errors of the prediction."""
        return self._near(self.mean, self.mean_error, self.measured_mean) and self._near(
            self.variance, self.variance_error, self.measured_variance
        )

    @property
    def in_domain(self) -> bool:
        """Whether the measured mean and variance are in the domain of Theorem 1, but for 3 standard errors."""
        pairs = (
            ("mean", self.measured_mean, self.mean_error),
            ("variance", self.measured_variance, self.variance_error),
        )
        return all(
            DOMAIN[name][0] - _slack(error) <= value <= DOMAIN[name][1] + _slack(error) for name, value, error in pairs
        )

    @staticmethod
    def _near(predicted: float, error: float, measured: float) -> bool:
        return abs(measured - predicted) <= _ERRORS * error


class SelfNormalization:
    """What `self_normalization` found; `str()` is two tables.

    Attributes:
        conditions: those of the theory, each with what was found.
        layers: one row per hidden layer.
        input: mean and variance of what enters the first one.
    """

    def __init__(
        self, conditions: Iterable[Condition], layers: Iterable[LayerMoments], input: tuple[float, float]
    ) -> None:
        self.conditions, self.layers, self.input = tuple(conditions), tuple(layers), input

    @property
    def broken(self) -> tuple[Condition, ...]:
        """The conditions that do not hold."""
        return tuple(condition for condition in self.conditions if condition.held is False)

    @property
    def is_normalized(self) -> bool:
        """Whether mean and variance were near 0 and 1, as Theorem 1 has it, in every hidden layer."""
        return all(layer.in_domain for layer in self.layers)

    @property
    def contraction(self) -> float:
        """By what factor a layer takes an error of mean and variance on: the geometric mean over the layers."""
        return _geometric([layer.contraction for layer in self.layers])

    @property
    def growth(self) -> float:
        """By what factor a layer changes the variance of a gradient on its way back, as measured: likewise.

        The first layer, which hands it on to the inputs, does not count.
        """
        return _geometric([layer.measured_growth for layer in self.layers[1:]])

    @property
    def verdict(self) -> str:
        """In a few words."""
        names = ", ".join(condition.name for condition in self.broken)
        if not self.broken:
            outside = [layer.path for layer in self.layers if not layer.in_domain]
            if not outside:
                return "self-normalizing"
            return f"not self-normalizing, although every condition holds: see {outside[0]}"
        if self.is_normalized:
            return f"normalized here, but without the promise that it stays so; broken: {names}"
        return f"not self-normalizing; broken: {names}"

    def __bool__(self) -> bool:
        return not self.broken and self.is_normalized

    def __repr__(self) -> str:
        return f"SelfNormalization({self.verdict})"

    def __str__(self) -> str:
        held = {True: "yes", False: "NO", None: "?"}
        asked = [(each.name, f"{held[each.held]:3}  {each.evidence}") for each in self.conditions]
        width = max(len(name) for name, _ in asked)
        judged = "\n".join(f"{name:{width}}  {text}" for name, text in asked)
        return "\n\n".join([judged, self._moments(), "\n".join(fill(sentence, 100) for sentence in self._sentences())])

    def _moments(self) -> str:
        header = (
            "kernel", "mean\npredicted", "\n+-", "\nmeasured", "variance\npredicted", "\n+-", "\nmeasured",
            "mean of\nomega", "mean of\ntau", "contraction", "gradient variance\npredicted", "\nmeasured",
        )  # fmt: skip
        rows = [
            [layer.path, *(f"{value:.3f}" for value in (
                layer.mean, layer.mean_error, layer.measured_mean, layer.variance, layer.variance_error,
                layer.measured_variance, layer.omega, layer.tau, layer.contraction, layer.growth, layer.measured_growth,
            ))]
            for layer in self.layers
        ]  # fmt: skip
        return table(header, rows)

    def _sentences(self) -> list[str]:
        """What there is to say; what stands on a number that is not known is left out."""
        known = [layer for layer in self.layers if math.isfinite(layer.mean)]
        near = sum(layer.as_predicted for layer in known)
        handed_on = [layer.measured_growth for layer in self.layers[1:]]
        total = math.prod(handed_on) if handed_on else math.nan
        within = float(np.mean([layer.within for layer in self.layers]))
        told = [
            (0.0, f"As predicted, within 3 standard errors: {near} of {len(known)} layers."),
            (
                self.contraction,
                f"Contraction: an error of mean and variance becomes at most x{self.contraction:.3f} per layer "
                "(x0.788 at the fixed point of SELU).",
            ),
            (
                total,
                f"Gradient: its variance changes by x{self.growth:.4f} per layer on the way back, x{total:.3g} from "
                f"the last hidden layer to the first. At the fixed point that is x{GRADIENT_GROWTH:.4f} per layer: "
                "activations are normalized there, gradients are not.",
            ),
            (
                within,
                f"Theorem 1 speaks of units with omega in [-0.1, 0.1] and tau in [0.95, 1.1]: {within:.0%} of them "
                "here. Under LeCun's law omega varies by 1 from unit to unit; near the domain are the means over the "
                "units.",
            ),
            (0.0, f"Verdict: {self.verdict}."),
        ]
        return [sentence for number, sentence in told if math.isfinite(number)]

    def to_dict(self) -> dict[str, Any]:
        """The fields, as JSON takes them: what is not finite is None."""
        return {
            "verdict": self.verdict,
            "self_normalizing": bool(self),
            "conditions": [condition._asdict() for condition in self.conditions],
            "input": {"mean": finite(self.input[0]), "variance": finite(self.input[1])},
            "contraction": finite(self.contraction),
            "growth": finite(self.growth),
            "layers": [{name: finite(value) for name, value in layer._asdict().items()} for layer in self.layers],
        }

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw mean, variance and gradient against depth as .svg, .png or .pdf. Needs matplotlib."""
        from tinygrad_bn.diagnostics.moments_plot import plot_moments

        plot_moments(self, path)


@checked
def self_normalization(model: Module, x: Any = None) -> SelfNormalization:
    """Judge whether a model normalizes itself: the conditions of the theory, and the moments of each hidden layer.

    The moments are predicted from those of the input by the exact map of SELU (of other activations by quadrature), fed
    with the actual weights of every unit, and measured in training mode, dropout included. Where a layer does what has
    no prediction, such as batch normalization, the next one starts from what was measured. All this is about
    initialization: the prediction takes weights that do not depend on what they take in, and training makes them do so.
    It also takes the samples as alike: where their norms differ much, the variance comes out somewhat below it. The
    model and the generators are as before afterwards.

    Args:
        model: a Module.
        x: inputs, as in training, some hundreds; without them standard normal numbers are used.

    Raises:
        ShapeError: no x was given, and the model does not say what it takes; or there is no sample in it.
        ValueError: the model has no hidden layer; x is not finite.
        TypeError: it is no Module.

    Reference: Klambauer et al. (2017), Eq. 4 to 6 and Theorem 1.
    """
    expect_module("self_normalization", model)
    given, x = x is not None, example(model, _PROBE) if x is None else x
    if x is None:
        raise ShapeError(f"self_normalization expects x, because {type(model).__name__} does not say what it takes")
    inputs = samples("self_normalization: x", x, model)
    entering = Tensor(inputs, requires_grad=inputs.dtype.kind == "f")
    model.build_on(entering)
    watch = _Watch(current().recorder)
    with frozen_state(), using(gradients=True):
        with using(recorder=watch):
            output = expect_result(model, model(entering, training=True), entering)
        names = {parameter: path for path, parameter in model.named_parameters()}
        structure = Structure(output, output, names, entering)
        layers = structure.layers
        hidden = layers if layers and is_selu(layers[-1].nonlinearity) else layers[:-1]
        if not hidden:
            raise ValueError(
                f"self_normalization expects a model with a hidden layer; got none in {type(model).__name__}"
            )
        growths = _propagated_back(hidden)
        dropped = {tensor: maker for tensor, maker in watch.makers.items() if isinstance(maker, Dropout)}
        rows = _rows(hidden, growths, dropped)
        judged = conditions(model, structure, hidden, watch.makers, given)
    begun = Moments.measured(hidden[0].entering.value)
    return SelfNormalization(judged, rows, (begun.mean, begun.variance))


class _Watch(Following):
    """Remembers which module makes which Tensors."""

    def __init__(self, other: Any) -> None:
        super().__init__(other)
        self.makers: dict[Tensor, Module] = {}

    def note(self, tensor: Any) -> None:
        if self.open:
            self.makers[tensor] = self.open[-1]
        super().note(tensor)


def _rows(hidden: Sequence[GraphLayer], growths: Sequence[float], owners: Any) -> list[LayerMoments]:
    rows: list[LayerMoments] = []
    moments: Moments | None = None
    last: Tensor | None = None
    for layer, growth in zip(hidden, growths, strict=True):
        if moments is None or layer.entering is not last:
            moments = Moments.measured(layer.entering.value)
        propagation = Propagation(layer, owners)
        prediction = propagation(moments) if propagation.complete else None
        rows.append(_moments(layer, propagation, prediction, growth))
        moments, last = prediction and prediction.moments, layer.activation
    return rows


def _moments(
    layer: GraphLayer, propagation: Propagation, prediction: Prediction | None, measured_growth: float
) -> LayerMoments:
    found = Moments.measured(layer.activation.value)
    omega, tau = propagation.omega, propagation.tau
    inside = [(low <= each) & (each <= high) for each, (low, high) in ((omega, DOMAIN["omega"]), (tau, DOMAIN["tau"]))]
    moments = prediction.moments if prediction else Moments(math.nan, math.nan, np.full((2, 2), math.nan))
    mean_error, variance_error = np.sqrt(np.diagonal(moments.errors)).tolist()
    return LayerMoments(
        layer.path,
        float(omega.mean()),
        float(tau.mean()),
        float(np.mean(inside[0] & inside[1])),
        moments.mean,
        moments.variance,
        mean_error,
        variance_error,
        found.mean,
        found.variance,
        prediction.contraction if prediction else math.nan,
        prediction.growth if prediction else math.nan,
        measured_growth,
    )


def _propagated_back(hidden: Sequence[GraphLayer]) -> list[float]:
    """By what factor each layer changes the variance of a gradient: of random numbers, sent back from the last one."""
    last = hidden[-1].activation
    noise = np.random.default_rng(0).standard_normal(last.shape).astype(last.dtype)
    ends = [tensor for layer in hidden for tensor in (layer.entering, layer.activation)]
    found = gradients(last, ends, grad_outputs=noise, allow_unused=True)
    squares = [math.nan if each is None else float(np.mean(np.square(each.value, dtype=np.float64))) for each in found]
    pairs = zip(squares[::2], squares[1::2], strict=True)
    return [entering / activation if activation else math.nan for entering, activation in pairs]


def _slack(error: float) -> float:
    return _ERRORS * error if math.isfinite(error) else 0.0


def _geometric(factors: Sequence[float]) -> float:
    known = [factor for factor in factors if math.isfinite(factor)]
    if not known:
        return math.nan
    return math.exp(math.fsum(map(math.log, known)) / len(known)) if min(known) > 0 else 0.0
