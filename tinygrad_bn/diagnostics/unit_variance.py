"""Layer-sequential unit-variance initialization: the results of every layer get variance 1, one after another."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_bn import initializers, ops
from tinygrad_bn.diagnostics.scales import logarithmic
from tinygrad_bn.diagnostics.subjects import expect_module
from tinygrad_bn.diagnostics.tables import finite, number, table
from tinygrad_bn.files import picture
from tinygrad_bn.mode import expect_outside, frozen_state, undone_on_error, using
from tinygrad_bn.models.data import samples
from tinygrad_bn.module import Module
from tinygrad_bn.module.settings import above_zero, flag, natural
from tinygrad_bn.names import checked
from tinygrad_bn.recorders import Recorder
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.tensors.graph import source
from tinygrad_bn.variables import Parameter

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LayerVariance(NamedTuple):
    """What became of one layer.

    Attributes:
        path: of its kernel.
        iterations: how often the kernel was divided.
        before: the variance of its results over units and samples, when its turn came.
        after: that variance in the end.
    """

    path: str
    iterations: int
    before: float
    after: float


class LSUV:
    """What `lsuv` did; `str()` is a table, `bool()` says whether every variance is within the tolerance of 1.

    Attributes:
        layers: one row for each kernel, in the order in which the model uses them.
        tolerance: how far from 1 a variance may stay.
    """

    def __init__(self, layers: Iterable[LayerVariance], tolerance: float) -> None:
        self.layers = tuple(layers)
        self.tolerance = tolerance

    def __bool__(self) -> bool:
        return all(abs(row.after - 1) <= self.tolerance for row in self.layers)

    def __repr__(self) -> str:
        return f"LSUV({len(self.layers)} layers: {'variance 1' if self else 'not all of variance 1'})"

    def __str__(self) -> str:
        header = ("kernel", "iterations", "variance before", "after")
        rows = [(row.path, str(row.iterations), number(row.before), number(row.after)) for row in self.layers]
        return table(header, rows)

    def to_dict(self) -> dict[str, Any]:
        """The fields, as JSON takes them."""
        rows = [{name: finite(value) for name, value in row._asdict().items()} for row in self.layers]
        return {"tolerance": self.tolerance, "layers": rows}

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the variances, layer by layer, as .svg, .png or .pdf. Needs matplotlib."""
        with picture(path, 7.6, 4.2) as figure:
            axes: Any = figure.subplots()
            places = range(1, len(self.layers) + 1)
            axes.plot(places, [row.before for row in self.layers], "o", color="#CC6677", label="before its turn")
            axes.plot(places, [row.after for row in self.layers], "o", color="#332288", label="after")
            logarithmic(axes)
            axes.set(xlabel="layer", title="Variance of the results of each layer")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend()


@checked
def lsuv(
    model: Module,
    x: Any,
    *,
    orthogonal: bool = True,
    tolerance: float = 0.02,
    iterations: int = 20,
    seed: int | None = None,
) -> LSUV:
    """Draw orthonormal kernels, and divide each by the standard deviation of its results until their variance is 1.

    The results are those of the product with the kernel, bias included, before the activation, over all units and the
    samples x; the layers take their turns in the order in which the model uses them. x passes in inference mode.
    Nothing but the kernels changes; after an error nothing does.

    Args:
        model: a Module with layers that multiply by a matrix.
        x: some hundred samples, of shape (n, ...), standardized: the law takes nothing off the mean.
        orthogonal: draw the kernels anew, orthonormal; otherwise they are only divided.
        tolerance: how far from 1 a variance may stay.
        iterations: how often a kernel is divided at most.
        seed: of the kernels that are drawn; without it they come from the shared stream.

    Raises:
        TypeError: it is no Module.
        ValueError: x is not finite, the model has no such layer, or the results of a layer do not vary.

    Reference: Mishkin and Matas (2016), Algorithm 1.
    """
    expect_outside("lsuv")
    expect_module("lsuv", model)
    tolerance, iterations = above_zero("lsuv", "tolerance", tolerance), natural("lsuv", "iterations", iterations)
    batch = Tensor(samples("lsuv: x", x, model))
    model.build_on(batch)
    paths = {variable: path for path, variable in model.named_variables() if isinstance(variable, Parameter)}
    kernels = [kernel for kernel in _results(model, batch) if kernel in paths]
    if not kernels:
        raise ValueError(f"lsuv expects a model that multiplies by kernels; got none in {type(model).__name__}")
    with undone_on_error():
        if flag("lsuv", "orthogonal", orthogonal):
            draw = initializers.Orthogonal(seed=seed)
            for kernel in kernels:
                kernel.assign(draw(kernel.shape, dtype=kernel.dtype), "lsuv")
        rows = [_scaled(model, batch, kernel, paths[kernel], tolerance, iterations) for kernel in kernels]
    return LSUV(rows, tolerance)


def _scaled(
    model: Module, batch: Tensor, kernel: Parameter, path: str, tolerance: float, iterations: int
) -> LayerVariance:
    """Divide one kernel until the variance of its results is 1, or as often as is allowed."""
    before = variance = _variance(model, batch, kernel, path)
    for done in range(iterations):
        if abs(variance - 1) <= tolerance:
            return LayerVariance(path, done, before, variance)
        kernel.assign(kernel.value / np.sqrt(variance), "lsuv")
        variance = _variance(model, batch, kernel, path)
    return LayerVariance(path, iterations, before, variance)


def _variance(model: Module, batch: Tensor, kernel: Parameter, path: str) -> float:
    variance = float(np.var(_results(model, batch)[kernel], dtype=np.float64))
    if not (np.isfinite(variance) and variance > 0):
        raise ValueError(f"lsuv expects the results of {path} to vary, by finite numbers; their variance is {variance}")
    return variance


def _results(model: Module, batch: Tensor) -> dict[Any, NDArray[Any]]:
    """What the first product with each matrix gives, in the order of use."""
    watcher = _Watcher()
    with frozen_state(), np.errstate(all="ignore"), using(recorder=watcher, training=False, gradients=False):
        model(batch)
    return watcher.results


class _Watcher(Recorder):
    """Keeps the results of products with matrices."""

    def __init__(self) -> None:
        self.results: dict[Any, NDArray[Any]] = {}

    def note(self, tensor: Any) -> None:
        primitive, arguments, _ = source(tensor)
        if primitive in (ops.matmul, ops.affine) and isinstance(arguments[1], Parameter) and arguments[1].ndim == 2:
            self.results.setdefault(arguments[1], tensor.value)
