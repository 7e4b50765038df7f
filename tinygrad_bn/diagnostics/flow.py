"""How far a signal gets through a model: forwards as activations, backwards as gradients."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygrad_bn import losses, ops
from tinygrad_bn.autodiff.gradients import gradients
from tinygrad_bn.diagnostics.tables import finite, number, table
from tinygrad_bn.mode import frozen_state, using
from tinygrad_bn.module import Module
from tinygrad_bn.tensors import Tensor, as_array
from tinygrad_bn.variables import Parameter


class LayerFlow(NamedTuple):
    """What passes through one layer, that is: one kernel.

    Attributes:
        path: of the kernel, such as `layers.1.kernel`.
        activation: how much the layer's activations differ from sample to sample: the root mean square, over its
            units, of their standard deviation over the batch. Below some 1e-7 of their size it is mere rounding.
        signal: the back-propagated signal: the root mean square of d loss / d activation.
        gradient: the root mean square of d loss / d kernel; NaN for a kernel that is not trainable.
    """

    path: str
    activation: float
    signal: float
    gradient: float


class GradientFlow:
    """What `gradient_flow` found; `str()` is a table.

    Attributes:
        layers: one row per kernel, from the input to the output.
        loss: of the batch.
    """

    def __init__(self, layers: Iterable[LayerFlow], loss: float) -> None:
        self.layers = tuple(layers)
        self.loss = loss

    @property
    def hidden(self) -> tuple[LayerFlow, ...]:
        """All layers but the last, which is the output."""
        return self.layers[:-1]

    def __repr__(self) -> str:
        return f"GradientFlow({len(self.layers)} layers, loss={self.loss:.4g})"

    def __str__(self) -> str:
        rows = [(path, *map(number, measured)) for path, *measured in self.layers]
        header = ("kernel", "activation\nstd over batch", "d loss / d activation\nrms", "d loss / d kernel\nrms")
        return f"{table(header, rows)}\nloss {self.loss:.4g}"

    def to_dict(self) -> dict[str, Any]:
        """The fields, as JSON takes them: what is not finite is None."""
        rows = [{name: finite(value) for name, value in row._asdict().items()} for row in self.layers]
        return {"loss": finite(self.loss), "layers": rows}

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the three columns against depth, on a logarithmic scale, as .svg, .png or .pdf. Needs matplotlib."""
        from tinygrad_bn.diagnostics.signal_plot import plot_signals

        plot_signals({"": self}, path)


def gradient_flow(model: Module, x: Any, y: Any, loss: Any) -> GradientFlow:
    """Measure, on one batch in training mode, the activations, the back-propagated signal and the kernels' gradients.

    A layer is a kernel, a parameter that a matrix product takes; its activations are what the next such product gets,
    those of the last one what goes into the loss (logits, where the model ends in softmax or sigmoid and the loss
    looks for them). The model is as before afterwards, its moving statistics and the random generators included.

    Args:
        model: a Module of layers one after another.
        x: a batch of inputs, of shape (batch, ...).
        y: the truth, as the loss takes it.
        loss: a loss or its name.

    Raises:
        ValueError: no kernel leads from x to the loss.

    Reference: Glorot & Bengio (2010), section 4.2.1: the signal may vanish while the kernels' gradients look even.
    """
    inputs = as_array(x)
    x = Tensor(inputs, requires_grad=inputs.dtype.kind == "f")
    model.build_on(x)
    with frozen_state(), using(gradients=True):
        output = model(x, training=True)
        error = losses.get(loss)(y, output)
        names = {parameter: path for path, parameter in model.named_parameters()}
        products = _products(error, names)
        if not products:
            raise ValueError(f"gradient_flow expects a model with kernels; got none in {type(model).__name__}")
        kernels = [kernel for _, kernel in products]
        activations = [x for x, _ in products[1:]] + [_entering(error, output)]
        found = gradients(error, [*activations, *kernels], allow_unused=True)
    signals, slopes = found[: len(activations)], found[len(activations) :]
    rows = zip(kernels, activations, signals, slopes, strict=True)
    return GradientFlow(
        [LayerFlow(names[k], _deviation(a.value), _rms(s), _rms(g)) for k, a, s, g in rows], error.item()
    )


def _products(result: Tensor, parameters: Mapping[Parameter, str]) -> list[tuple[Tensor, Parameter]]:
    """(x, kernel) of every matrix product of a parameter that led to `result`, in the order of computation."""
    seen, pending = {result}, [result]
    while pending:
        source = pending.pop().source
        above = {arg for arg in source[1] if isinstance(arg, Tensor)} if source else set()
        pending += above - seen
        seen |= above
    made = sorted((tensor for tensor in seen if tensor.source), key=lambda tensor: tensor.serial)
    factors = [
        tensor.source[1][:2] for tensor in made if tensor.source and tensor.source[0] in (ops.matmul, ops.affine)
    ]
    return [(x, kernel) for x, kernel in factors if isinstance(kernel, Parameter) and kernel in parameters]


def _entering(error: Tensor, output: Tensor) -> Tensor:
    """What the loss was computed from: the output or, where it looked behind the activation, its logits."""
    through = gradients(error, [output], allow_unused=True)[0]
    return output if through is not None or output.logits is None else output.logits


def _deviation(activations: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.var(activations, axis=0, dtype=np.float64))))


def _rms(gradient: Tensor | None) -> float:
    return float("nan") if gradient is None else float(np.sqrt(np.mean(np.square(gradient.value, dtype=np.float64))))
