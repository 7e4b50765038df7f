"""The conditions under which a network of SELUs normalizes itself, each judged from the model and the data.

Reference: Klambauer et al. (2017); as a list in Géron (2019), chapter 11.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from tinygrad_bn import layers as kinds
from tinygrad_bn.diagnostics.propagation import is_selu
from tinygrad_bn.diagnostics.structure import GraphLayer, Structure
from tinygrad_bn.module import Module
from tinygrad_bn.module.observing import named
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.tensors.graph import ancestors, made

if TYPE_CHECKING:
    from numpy.typing import NDArray

DOMAIN: Final[Mapping[str, tuple[float, float]]] = {
    "mean": (-0.1, 0.1),
    "omega": (-0.1, 0.1),
    "variance": (0.8, 1.5),
    "tau": (0.95, 1.1),
}
"""Where Theorem 1 of Klambauer et al. (2017) holds: the map takes mean and variance in it to others in it."""

_ERRORS: Final = 4.0  # so many standard errors off is no chance
_UNIFORM: Final = 2.08  # the kurtosis of a uniform law is 1.8, of a normal one truncated at 2 deviations 2.37, else 3
_ENOUGH: Final = 500  # weights to tell the one from the other
_KNOWN: Final = (
    kinds.Input, kinds.Dense, kinds.Flatten, kinds.Activation, kinds.Dropout, kinds.ReLU, kinds.LeakyReLU, kinds.PReLU,
    kinds.RReLU, kinds.ELU, kinds.SELU, kinds.Softmax,
)  # fmt: skip


class Condition(NamedTuple):
    """One of the conditions.

    Attributes:
        name: of what is asked for.
        held: whether it holds; None where that cannot be told.
        evidence: what was found.
    """

    name: str
    held: bool | None
    evidence: str


def conditions(
    model: Module, structure: Structure, hidden: Sequence[GraphLayer], makers: Mapping[Tensor, Module], given: bool
) -> tuple[Condition, ...]:
    """All of them, in the order of the signal's way.

    `makers` tells which module made which Tensor, and `given` whether the inputs are the user's.
    """
    return (
        _standardized(np.asarray(hidden[0].entering.value, np.float64), given),
        _activations(hidden),
        _weights(hidden),
        _sequential(structure),
        _dense(model, hidden, makers),
        _dropout(model),
    )


def _standardized(inputs: NDArray[Any], given: bool) -> Condition:
    name = "standardized inputs"
    if not given:
        return Condition(name, None, "no x was given; measured with standard normal inputs")
    features = inputs.reshape(-1, inputs.shape[-1])
    n = len(features)
    means, variances = features.mean(axis=0), features.var(axis=0)
    varying = variances > 0
    centred = features[:, varying] - means[varying]
    kurtosis = np.mean(centred**4, axis=0) / np.square(variances[varying])
    slack = _ERRORS * np.sqrt(variances[varying] / n), _ERRORS * variances[varying] * np.sqrt((kurtosis - 1) / n)
    off = ~_within("mean", means[varying], slack[0]) | ~_within("variance", variances[varying], slack[1])
    overall = bool(_within("mean", features.mean()) & _within("variance", features.var()))
    share = float(off.mean()) if off.size else 1.0
    evidence = (
        f"mean {features.mean():.3g}, variance {features.var():.3g}; of {off.size} varying features {off.sum()} are "
        "not near mean 0 and variance 1"
    )
    constant = int((~varying).sum())
    return Condition(name, overall and share <= 0.05, evidence + (f"; {constant} are constant" if constant else ""))


def _within(quantity: str, values: Any, slack: Any = 0.0) -> NDArray[Any]:
    low, high = DOMAIN[quantity]
    return np.asarray((values >= low - slack) & (values <= high + slack))


def _activations(hidden: Sequence[GraphLayer]) -> Condition:
    others = {layer.path: _called(layer) for layer in hidden if not is_selu(layer.nonlinearity)}
    evidence = f"after all {len(hidden)} hidden layers" if not others else _listed(others)
    return Condition("SELU in every hidden layer", not others, evidence)


def _called(layer: GraphLayer) -> str:
    return " ".join(named(step) for link in layer.nonlinearity for step in link.steps) or "nothing"


def _weights(hidden: Sequence[GraphLayer]) -> Condition:
    """Mean 0 and variance 1 / fan_in, as far as the number of weights can tell; and not uniform."""
    wrong, scales = {}, []
    for layer in hidden:
        weights = np.asarray(layer.kernel.value, np.float64)
        if not np.isfinite(weights).all():
            wrong[layer.path] = "weights that are not finite"
            continue
        fan_in, fan_out = weights.shape[0], weights.shape[-1]
        square = float(np.mean(np.square(weights)))
        kurtosis = float(np.mean(weights**4)) / square**2 if square else 0.0
        scales.append(fan_in * square)
        error = scales[-1] * math.sqrt(max(kurtosis - 1, 0) / weights.size)
        omega = fan_in * float(weights.mean())
        if abs(scales[-1] - 1) > 0.01 + _ERRORS * error:
            wrong[layer.path] = f"fan_in * variance {scales[-1]:.2g}"
        elif abs(omega) > 0.1 + _ERRORS * math.sqrt(scales[-1] / fan_out):
            wrong[layer.path] = f"fan_in * mean {omega:.2g}"
        elif weights.size >= _ENOUGH and kurtosis < _UNIFORM:
            wrong[layer.path] = f"uniform (kurtosis {kurtosis:.2g})"
    name = "LeCun normal weights"
    if wrong:
        return Condition(name, False, _listed(wrong))
    return Condition(name, True, f"fan_in * variance from {min(scales):.3g} to {max(scales):.3g}; LeCun's law is 1")


def _sequential(structure: Structure) -> Condition:
    around = [layer.path for layer in structure.bypassed]
    evidence = "every path passes every layer" if not around else f"a path goes around {_shortened(around)}"
    return Condition("sequential architecture", not around, evidence)


def _dense(model: Module, hidden: Sequence[GraphLayer], makers: Mapping[Tensor, Module]) -> Condition:
    """What stands before the first hidden layer and learns nothing maps the inputs, and these are judged as mapped."""
    before = ancestors(hidden[0].entering)
    behind = {maker for tensor, maker in makers.items() if tensor not in before}
    leaves = [(path, module) for path, module in model.named_modules() if len(list(module.modules())) == 1]
    strange = {
        path: type(module).__name__
        for path, module in leaves
        if isinstance(module, kinds.Layer) and not isinstance(module, _KNOWN)
        if module in behind or module.parameters()
    }
    for layer in hidden:
        mixing = [link for link in layer.links if link.kind == "mixing"]
        if mixing and not strange:
            strange[layer.path] = f"followed by {made(mixing[0].after).__name__}"
    return Condition("dense layers only", not strange, _listed(strange) if strange else f"{len(hidden)} hidden layers")


def _dropout(model: Module) -> Condition:
    dropouts = {path: module for path, module in model.named_modules() if isinstance(module, kinds.Dropout)}
    plain = {
        path: f"Dropout({module.rate:g})"
        for path, module in dropouts.items()
        if module.rate and not isinstance(module, kinds.AlphaDropout)
    }
    alpha = {path: f"AlphaDropout({module.rate:g})" for path, module in dropouts.items()}
    evidence = _listed(plain) if plain else _listed(alpha) if alpha else "there is no dropout"
    return Condition("AlphaDropout, not Dropout", not plain, evidence)


def _listed(found: Mapping[str, str]) -> str:
    """`what: where, where`, the most frequent first; only so many places are named."""
    places: dict[str, list[str]] = {}
    for path, what in found.items():
        places.setdefault(what, []).append(path)
    ranked = sorted(places.items(), key=lambda item: -len(item[1]))
    told = [f"{what} at {_shortened(paths)}" for what, paths in ranked[:2]]
    return "; ".join(told) + (f"; and {len(ranked) - 2} more kinds" if len(ranked) > 2 else "")


def _shortened(paths: Sequence[str]) -> str:
    return ", ".join(paths[:2]) + (f" and {len(paths) - 2} more" if len(paths) > 2 else "")
