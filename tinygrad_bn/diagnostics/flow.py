"""How far a signal gets through a model: forwards as activations, backwards as gradients."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import numpy as np

from tinygrad_bn import losses
from tinygrad_bn.autodiff.gradients import gradients
from tinygrad_bn.diagnostics.structure import GraphLayer, Structure
from tinygrad_bn.diagnostics.subjects import expect_module
from tinygrad_bn.diagnostics.tables import finite, number, table
from tinygrad_bn.diagnostics.trend import Trend, trend
from tinygrad_bn.diagnostics.units import count_units
from tinygrad_bn.mode import current, frozen_state, using
from tinygrad_bn.models.data import expect_result
from tinygrad_bn.module import Module
from tinygrad_bn.recorders import Relay
from tinygrad_bn.tensors import Tensor, as_array
from tinygrad_bn.tensors.graph import ancestors

VANISHING: Final = 1e-3
EXPLODING: Final = 70.0
"""The signal in the first hidden layer, relative to that in the last: below one it vanishes, above the other it
explodes. Reference: the figures of Zhang et al. (2021), AUTOTRAINER, for gradients of the first and the last layer."""
FADING: Final = 1e-2
"""Below this it vanishes too if it falls from layer to layer: such a model only has to become deeper."""


class LayerFlow(NamedTuple):
    """What passes through one layer, that is: one kernel.

    A root mean square is the Euclidean norm divided by the root of the number of elements, so that layers of different
    widths can be compared.

    Attributes:
        path: of the kernel, such as `layers.1.kernel`.
        activation: how much the layer's activations differ from sample to sample: the root mean square, over its
            units, of their standard deviation over the batch. Below some 1e-7 of their size it is mere rounding.
        signal: the back-propagated signal: the root mean square of d loss / d activation.
        gradient: the root mean square of d loss / d kernel; NaN for a kernel that is not trainable.
        mean: of all activations, over units and batch.
        deviation: their standard deviation.
        units: how many there are.
        dead: how many of them pass nothing back, whatever the sample; see `units.count_units`.
        saturated: how many others pass back less than 5% of what they could.
    """

    path: str
    activation: float
    signal: float
    gradient: float
    mean: float = math.nan
    deviation: float = math.nan
    units: int = 0
    dead: int = 0
    saturated: int = 0


_COLUMNS: Final = {
    "kernel": "path",
    "activation\nmean": "mean",
    "activation\nstd": "deviation",
    "std over\nbatch": "activation",
    "signal\nrms": "signal",
    "weight gradient\nrms": "gradient",
    "units": "units",
    "dead": "dead",
    "saturated": "saturated",
}


class GradientFlow:
    """What `gradient_flow` found; `str()` is a table.

    Attributes:
        layers: one row per kernel, from the input to the output.
        loss: of the batch.
        trend: of the signal in the hidden layers, from the last one back to the first: factor per layer with its
            interval, and the first relative to the last. Factors, so that the scale of the loss does not matter.
    """

    def __init__(self, layers: Iterable[LayerFlow], loss: float) -> None:
        self.layers = tuple(layers)
        self.loss = loss
        self.trend: Trend = trend([layer.signal for layer in reversed(self.hidden)])

    @property
    def hidden(self) -> tuple[LayerFlow, ...]:
        """All layers but the last, which is the output."""
        return self.layers[:-1]

    @property
    def verdict(self) -> str:
        """What becomes of the signal on its way back: "vanishing", "exploding", "healthy" or "not finite".

        It vanishes if in the first hidden layer it is below 1/1000 of what it is in the last, or below 1/100 and its
        factor per layer certainly below 1; it explodes if it is above 70 times that; a model with fewer than two hidden
        layers does neither. The scale of the loss is no part of it. That the signal arrives does not mean that the
        model learns.
        """
        if not all(map(math.isfinite, [self.loss, *(layer.signal for layer in self.layers)])):
            return "not finite"
        if any(layer.signal == 0 for layer in self.hidden):
            return "vanishing"
        total = self.trend.total
        if total < VANISHING or (total < FADING and self.trend.high < 1):
            return "vanishing"
        return "exploding" if total > EXPLODING else "healthy"

    def __repr__(self) -> str:
        return f"GradientFlow({self.verdict}, {len(self.layers)} layers, loss={self.loss:.4g})"

    def __str__(self) -> str:
        rows = [[_cell(getattr(layer, field)) for field in _COLUMNS.values()] for layer in self.layers]
        return f"{table(list(_COLUMNS), rows)}\nloss {self.loss:.4g}\n{self._conclusion()}"

    def _conclusion(self) -> str:
        factor, low, high, total = self.trend
        if not math.isfinite(factor):
            return self.verdict
        text = f"{self.verdict}: the signal changes by x"
        if self.verdict != "healthy" and not self.trend.is_steady:
            worst, path = self._largest_step()
            return f"{text}{number(total)} in all, x{number(worst)} at {path} alone"
        between = f" [{low:.3g}, {high:.3g}]" if high < math.inf else ""
        return f"{text}{factor:.3g}{between} per layer back, x{number(total)} in all"

    def _largest_step(self) -> tuple[float, str]:
        """The step back that takes the signal furthest in its direction, and the kernel that it passes."""
        steps = [(a.signal / b.signal, b.path) for a, b in zip(self.hidden, self.hidden[1:], strict=False)]
        return min(steps) if self.trend.total < 1 else max(steps)

    def to_dict(self) -> dict[str, Any]:
        """The fields, as JSON takes them: what is not finite is None."""
        rows = [{name: finite(value) for name, value in row._asdict().items()} for row in self.layers]
        found = {name: finite(value) for name, value in self.trend._asdict().items()}
        return {"verdict": self.verdict, "loss": finite(self.loss), "trend": found, "layers": rows}

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw activations, signal and weight gradients against depth as .svg, .png or .pdf. Needs matplotlib."""
        from tinygrad_bn.diagnostics.signal_plot import plot_signals

        plot_signals({"": self}, path, self._conclusion())


def gradient_flow(model: Module, x: Any, y: Any, loss: Any) -> GradientFlow:
    """Measure, on one batch in training mode, the activations, the back-propagated signal and the kernels' gradients.

    A layer is a kernel, made of parameters, that a matrix product takes. Its activations are the last numbers that all
    paths from that product pass before the next product: what the next product gets, if there is no branch between;
    with a skip connection, the sum, for the last layer that it goes around. Those of the last layer are what goes into
    the loss (logits, where the model ends in softmax or sigmoid and the loss looks for them). The model is as before
    afterwards, its moving statistics and the random generators included.

    Args:
        model: a Module.
        x: a batch of inputs, of shape (batch, ...).
        y: the truth, as the loss takes it.
        loss: a loss or its name; penalties of regularizers are not part of it.

    Raises:
        ValueError: no kernel leads from x to the loss; or the loss does not depend on the model's outputs.
        TypeError: it is no Module.

    Reference: Glorot & Bengio (2010), section 4.2.1: the signal may vanish while the kernels' gradients look even.
    """
    expect_module("gradient_flow", model)
    inputs = as_array(x)
    x = Tensor(inputs, requires_grad=inputs.dtype.kind == "f")
    model.build_on(x)
    with frozen_state(), using(gradients=True):
        with using(recorder=Relay(current().recorder)):  # so that integers are remembered too
            output = expect_result(model, model(x, training=True), x)
        error = losses.get(loss)(y, output)
        names = {parameter: path for path, parameter in model.named_parameters()}
        layers = Structure(error, _entering(error, output), names, x).layers
        if not layers:
            raise ValueError(f"gradient_flow expects a model with kernels; got none in {type(model).__name__}")
        inside = [layer.activation for layer in layers] + [layer.kernel for layer in layers]
        found = gradients(error, inside, allow_unused=True)
        signals, slopes = found[: len(layers)], found[len(layers) :]
        rows = [_row(*each) for each in zip(layers, signals, slopes, strict=True)]
    return GradientFlow(rows, error.item())


def _row(layer: GraphLayer, signal: Tensor | None, gradient: Tensor | None) -> LayerFlow:
    activations = layer.activation.value
    return LayerFlow(
        layer.path,
        float(np.sqrt(np.mean(np.var(activations, axis=0, dtype=np.float64)))),
        _rms(signal),
        _rms(gradient),
        float(np.mean(activations, dtype=np.float64)),
        float(np.std(activations, dtype=np.float64)),
        activations.shape[-1],
        *count_units(layer.nonlinearity),
    )


def _entering(error: Any, output: Any) -> Tensor:
    """What the loss was computed from: the output or, where it looked behind the activation, its logits."""
    if isinstance(output, Tensor) and isinstance(error, Tensor):
        behind = ancestors(error)
        for end in (output, output.logits):
            if end in behind:
                return end
    raise ValueError(
        "gradient_flow expects a loss of the model's outputs: the loss does not depend on the model's outputs"
    )


def _rms(gradient: Tensor | None) -> float:
    return float("nan") if gradient is None else float(np.sqrt(np.mean(np.square(gradient.value, dtype=np.float64))))


def _cell(value: str | float) -> str:
    return number(value) if isinstance(value, float) else str(value)
