"""The demo's three files. Each function says in a line what it has written, or why not."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from tinygrad_bn import __version__, layers
from tinygrad_bn.checking import Certificate
from tinygrad_bn.cli.measuring import BATCH, LEARNING_RATE, MOMENTUM, PROBE, Outcome
from tinygrad_bn.cli.recipes import BN_MOMENTUM, DEPTH, WIDTH
from tinygrad_bn.diagnostics.signal_plot import plot_signals
from tinygrad_bn.diagnostics.tables import finite
from tinygrad_bn.drawing import draw
from tinygrad_bn.files import replacing
from tinygrad_bn.models import Sequential

FILES: Final = ("results.json", "signal.svg", "graph.svg")
_RESULTS, _SIGNALS, _GRAPH = FILES
_SETTINGS: Final = {
    "hidden_layers": DEPTH,
    "units": WIDTH,
    "optimizer": "SGD",
    "learning_rate": LEARNING_RATE,
    "momentum": MOMENTUM,
    "batch_size": BATCH,
    "batch_normalization_momentum": BN_MOMENTUM,
    "probe_samples": PROBE,
}


def write_results(
    folder: Path, settings: Mapping[str, Any], outcomes: Mapping[str, Outcome], certificate: Certificate
) -> str:
    """results.json: every number, and what is needed to get it again."""
    results = {
        "versions": {"tinygrad_bn": __version__, "numpy": np.__version__, "python": platform.python_version()},
        "platform": platform.platform(),
        "settings": {**_SETTINGS, **settings},
        "recipes": {name: outcome.to_dict() for name, outcome in outcomes.items()},
        "gradient_check": {"good": bool(certificate), **certificate.to_dict()},
    }
    path = folder / _RESULTS
    with replacing(path) as part:
        part.write_text(json.dumps(_plain(results), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return f"{path}: all numbers"


def write_signals(folder: Path, outcomes: Sequence[Outcome]) -> str:
    """signal.svg: signal and gradient against depth, for all recipes."""
    path = folder / _SIGNALS
    flows = {f"{outcome.recipe.name}: {outcome.accuracy:.0%}": outcome.before for outcome in outcomes}
    title = (
        f"{DEPTH} hidden layers of {WIDTH} units at initialization; behind each name its test accuracy after training"
    )
    try:
        plot_signals(flows, path, title)
    except ModuleNotFoundError as error:
        return f"{path}: not written. {error}"
    return f"{path}: activations, back-propagated signal and weight gradients against depth"


def notebook_network() -> Sequential:
    """784-300-100-10 with batch normalization before each ELU."""
    network = Sequential([layers.Flatten(input_shape=(28, 28)), layers.BatchNormalization()])
    for units in (300, 100):
        network.add(layers.Dense(units, use_bias=False, kernel_initializer="he_normal"))
        network.add(layers.BatchNormalization())
        network.add(layers.Activation("elu"))
    network.add(layers.Dense(10, activation="softmax"))
    return network


def write_graph(folder: Path) -> str:
    """graph.svg: the computation graph of the 784-300-100-10 network, in training mode."""
    path = folder / _GRAPH
    try:
        draw(notebook_network(), np.zeros((BATCH, 28, 28), np.float32)).save(path)
    except RuntimeError as error:
        return f"{path}: not written. {error}"
    return f"{path}: the computation graph of a 784-300-100-10 network with batch normalization"


def _plain(value: Any) -> Any:
    """The value as JSON has it: NumPy's numbers as Python's, and null for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return finite(value)
