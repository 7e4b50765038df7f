"""Batch normalization after training: its statistics measured anew, and its work handed to the layer before."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_bn import ops
from tinygrad_bn.diagnostics.scales import logarithmic
from tinygrad_bn.diagnostics.subjects import expect_module
from tinygrad_bn.diagnostics.tables import finite, number, table
from tinygrad_bn.files import picture
from tinygrad_bn.layers import BatchNormalization
from tinygrad_bn.mode import expect_outside, frozen_state, using
from tinygrad_bn.models.data import samples
from tinygrad_bn.module import Module, called
from tinygrad_bn.module.settings import natural
from tinygrad_bn.names import checked
from tinygrad_bn.recorders import Following
from tinygrad_bn.streaming import PooledMoments
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.tensors.graph import source

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LayerRecalibration(NamedTuple):
    """How the statistics of one layer have changed, at the worst of its places along `axis`.

    Attributes:
        path: of the layer.
        values: how many values each mean and variance was taken of.
        mean_shift: the largest distance between the old and the new mean, in new standard deviations.
        variance_least: the least of the ratios of the new to the old variance.
        variance_most: the largest of them. All with epsilon added, as the layer adds it.
    """

    path: str
    values: int
    mean_shift: float
    variance_least: float
    variance_most: float


class Recalibration:
    """What `recalibrate_batch_normalization` changed; `str()` is a table.

    Attributes:
        layers: one row for each layer whose statistics were measured.
    """

    def __init__(self, layers: Iterable[LayerRecalibration]) -> None:
        self.layers = tuple(layers)

    def __repr__(self) -> str:
        return f"Recalibration({len(self.layers)} layers)"

    def __str__(self) -> str:
        header = ("layer", "values", "mean moved by\nstandard deviations", "variance times\nat least", "\nat most")
        return table(header, [(path, f"{values:,}", *map(number, rest)) for path, values, *rest in self.layers])

    def to_dict(self) -> dict[str, Any]:
        """The fields, as JSON takes them."""
        return {"layers": [{name: finite(value) for name, value in row._asdict().items()} for row in self.layers]}

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the changes, layer by layer, as .svg, .png or .pdf. Needs matplotlib."""
        places = range(len(self.layers))
        with picture(path, 7.6, 5.6) as figure:
            moved, times = figure.subplots(2, 1, sharex=True)
            moved.bar(places, [row.mean_shift for row in self.layers], width=0.4, color="#332288")
            moved.set_title("How far the mean moved, in standard deviations", loc="left")
            times.vlines(
                places,
                [row.variance_least for row in self.layers],
                [row.variance_most for row in self.layers],
                color="#CC6677",
                linewidth=6,
            )
            times.axhline(1, color="#777777", linewidth=1)
            logarithmic(times)
            times.set_title("New variance / old variance, from the least to the largest", loc="left")
            times.set_xticks(places, [row.path for row in self.layers], rotation=30, horizontalalignment="right")


@checked
def recalibrate_batch_normalization(model: Module, x: Any, *, batch_size: int = 32) -> Recalibration:
    """Give every BatchNormalization the mean and variance of all that it sees while x passes once.

    The law: x passes in batches; each BatchNormalization normalizes by the statistics of its batch, as in training,
    and everything else runs as in inference, so that dropout does not enter the variances. The statistics of each
    layer are those of all its values pooled, exactly, whatever the sizes of the batches:

        mean = sum(m_B * mean_B) / n,  variance = sum(m_B * (variance_B + (mean_B - mean) ** 2)) / n

    and n / (n - 1) times that variance where the layer is `unbiased`. Algorithm 2 of the paper averages
    m / (m - 1) * variance_B over batches of m. For the first layer that is an estimate of the same number, right on
    the average over all ways to form the batches, but without the spread of the batches' means in any one of them.

    Layers that are not trainable, or whose statistics are frozen, keep theirs. Generators, parameters and all other
    states are as before afterwards; after an error everything is.

    Args:
        model: a Module with BatchNormalization layers.
        x: the training data, of shape (n, ...), or an iterator of batches of it.
        batch_size: how many samples of an array pass at a time; the batches are made equal but for one sample.

    Raises:
        TypeError: it is no Module, or batches are not of x alone.
        ValueError: there is no such layer, or one that no call reaches; x is not finite, or the statistics of a layer
            are not, or are taken of one value only.

    Reference: Ioffe and Szegedy (2015), Algorithm 2; Wu and Johnson (2021), section 3, for the law.
    """
    expect_outside("recalibrate_batch_normalization")
    expect_module("recalibrate_batch_normalization", model)
    layers = {
        module: path
        for path, module in model.named_modules()
        if isinstance(module, BatchNormalization) and module.trainable and not module.statistics_frozen
    }
    if not layers:
        raise ValueError(
            "recalibrate_batch_normalization expects a model with a BatchNormalization that is trainable and not "
            f"frozen; got none in {type(model).__name__}"
        )
    batches = _batches(model, x, natural("recalibrate_batch_normalization", "batch_size", batch_size))
    first = next(batches)
    model.build_on(first)
    watcher = _Watcher(layers)
    with (
        np.errstate(invalid="ignore"),  # without epsilon a constant becomes NaN: the next layer's statistics tell
        frozen_state(),
        _normalizing_by_batches(model, layers),
        using(recorder=watcher, training=None, gradients=False),
    ):
        model(first)
        for batch in batches:
            model(batch)
    found = {layer: _statistics(layer, moments, layers[layer]) for layer, moments in watcher.moments.items()}
    rows = [_compared(layer, layers[layer], watcher.moments[layer].count, *found[layer]) for layer in found]
    for layer, (mean, variance) in found.items():
        layer.moving_mean.assign(mean, "recalibrate_batch_normalization")
        layer.moving_variance.assign(variance, "recalibrate_batch_normalization")
    return Recalibration(rows)


class _Watcher(Following):
    """Measures what each layer standardizes."""

    def __init__(self, layers: Iterable[BatchNormalization]) -> None:
        super().__init__()
        self.moments = {layer: PooledMoments() for layer in layers}

    def note(self, tensor: Any) -> None:
        primitive, arguments, settings = source(tensor)
        if primitive is ops.standardize and self.open[-1] in self.moments:
            self.moments[self.open[-1]].add(arguments[0].value, settings["axis"])


@contextmanager
def _normalizing_by_batches(model: Module, layers: Iterable[BatchNormalization]) -> Iterator[None]:
    """Within it these layers run as in training, all other modules as in inference."""
    before = [(module, vars(module).get("training")) for module in model.modules()]
    try:
        model.eval()
        for layer in layers:
            layer.training = True
        yield
    finally:
        for module, training in before:
            if training is None:
                del module.training
            else:
                module.training = training


def _batches(model: Module, x: Any, size: int) -> Iterator[Tensor]:
    """The samples as Tensors: a recorder does not see what is made of plain arrays alone."""
    name = "recalibrate_batch_normalization: x"
    if not isinstance(x, Iterator):
        for part in x if isinstance(x, (list, tuple)) else ():
            _expect_no_pair(name, part)
        array = samples(name, x, model)
        x = iter(np.array_split(array, -(-len(array) // size)))
    nothing = True
    for batch in x:
        nothing = False
        _expect_no_pair(name, batch)
        yield Tensor(samples(name, batch, model))
    if nothing:
        raise ValueError(f"{name} expects at least one batch; got an iterator that is at its end")


def _expect_no_pair(name: str, batch: Any) -> None:
    if isinstance(batch, (list, tuple)) and any(np.ndim(part) for part in batch if hasattr(part, "shape")):
        raise TypeError(f"{name} expects batches of x alone; got a {type(batch).__name__} of arrays: leave out y")


def _statistics(layer: BatchNormalization, moments: PooledMoments, path: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean and variance, in the shape in which the layer keeps them."""
    expected = f"recalibrate_batch_normalization expects {called(layer, path)}"
    if not moments.count:
        raise ValueError(f"{expected} to be called; no call reached it: freeze_statistics() of it, or remove it")
    if moments.count < 2:
        raise ValueError(f"{expected} to see several values for each mean and variance; got one")
    mean, variance = moments.mean, moments.variance(ddof=int(layer.unbiased))
    if not np.isfinite(variance).all():
        raise ValueError(f"{expected} to see finite values; got some that are not, or are too large to be squared")
    return mean.reshape(layer.moving_mean.shape), variance.reshape(layer.moving_mean.shape)


def _compared(
    layer: BatchNormalization, path: str, count: int, mean: NDArray[Any], variance: NDArray[Any]
) -> LayerRecalibration:
    moved, spread = np.abs(mean - layer.moving_mean.value), np.sqrt(variance + layer.epsilon)
    new, old = variance + layer.epsilon, layer.moving_variance.value + layer.epsilon
    with np.errstate(divide="ignore", invalid="ignore"):  # without epsilon, a constant has no deviation
        shift, ratio = np.where(moved == 0, 0.0, moved / spread), np.where(new == old, 1.0, new / old)
    return LayerRecalibration(path, count, float(shift.max()), float(ratio.min()), float(ratio.max()))
