"""What networks and their training are made of, each as a step that can be captured; nothing public is left out.

What is new gets its line here, in the list of its family, and with it every law of captured steps.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

import tinygrad_bn as tg
from tests.laws.trials import Trial, clipping_trial, layer_trial, loss_trial, real, rng, step_trial
from tests.layers.every_layer import LAYERS
from tinygrad_bn import activations, constraints, layers, losses, optimizers, regularizers, schedules


class Part(NamedTuple):
    """What `kind` is the name of, in one way of using it: `begin` makes it anew."""

    family: str
    kind: str
    way: str
    begin: Callable[[], Trial]

    def __str__(self) -> str:
        return f"{self.family}.{self.kind} {self.way}".strip().replace(" ", "-")


def public(module: ModuleType, base: type) -> set[str]:
    """The names of the public subclasses of `base` in a module."""
    return {
        name
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, base) and kind is not base and kind.__name__ == name
        if not name.startswith("_")
    }


# Layers and activations


def layer_parts() -> Iterator[Part]:
    for make, shape in LAYERS:
        for training in (True, False):
            way = f"{shape} {'training' if training else 'inference'} {repr(make())[:40]}"
            yield Part("layers", type(make()).__name__, way, partial(layer_trial, make, shape, training))


def activation_parts() -> Iterator[Part]:
    for name in sorted(set(activations.__all__) - {"get"}):
        yield Part("activations", name, "", partial(layer_trial, partial(layers.Dense, 3, name), (4, 5), True))


# Losses


def share(call: int) -> np.ndarray:
    return rng(call).random((4, 3)).astype(np.float32)


def label(call: int) -> np.ndarray:
    return rng(call).integers(0, 3, 4)


def one_hot(call: int) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[label(call)]


def forgotten(activation: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Probabilities that do not remember their logits."""
    return lambda x: activation(x) * 1.0


def own_loss(y_true: Any, y_pred: Any) -> Any:
    return tg.square(tg.square(y_pred - y_true)).mean(axis=-1)


LOSSES: list[tuple[str, Callable[[], losses.Loss], Callable[[int], np.ndarray], Callable[[Any], Any]]] = [
    ("", losses.MeanSquaredError, real, tg.tanh),
    ("", losses.MeanAbsoluteError, real, tg.tanh),
    ("", losses.Huber, real, tg.tanh),
    ("delta", lambda: losses.Huber(0.3), real, tg.tanh),
    ("of logits", lambda: losses.BinaryCrossentropy(from_logits=True), share, tg.tanh),
    ("remembered", losses.BinaryCrossentropy, share, tg.sigmoid),
    ("of probabilities", losses.BinaryCrossentropy, share, forgotten(tg.sigmoid)),
    ("of logits", lambda: losses.CategoricalCrossentropy(from_logits=True), one_hot, tg.tanh),
    ("remembered", losses.CategoricalCrossentropy, one_hot, tg.softmax),
    ("of probabilities", losses.CategoricalCrossentropy, one_hot, forgotten(tg.softmax)),
    ("of logits", lambda: losses.SparseCategoricalCrossentropy(from_logits=True), label, tg.tanh),
    ("remembered", losses.SparseCategoricalCrossentropy, label, tg.softmax),
    ("of probabilities", losses.SparseCategoricalCrossentropy, label, forgotten(tg.softmax)),
    ("column", losses.SparseCategoricalCrossentropy, lambda call: label(call)[:, None], tg.softmax),
    ("floats", losses.SparseCategoricalCrossentropy, lambda call: label(call).astype(np.float32), tg.softmax),
    ("", lambda: losses.get(own_loss), real, tg.tanh),
]


def loss_parts() -> Iterator[Part]:
    for way, make, truth, predict in LOSSES:
        yield Part("losses", type(make()).__name__, way, partial(loss_trial, make, truth, predict))


# Optimizers, schedules, and the rules of parameters

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "learning_rate": [{"learning_rate": schedules.ExponentialDecay(0.1, 2, 0.5)}],
    "momentum": [{"momentum": 0.9}],
    "nesterov": [{"momentum": 0.9, "nesterov": True}],
    "centered": [{"centered": True}, {"centered": True, "momentum": 0.9}],
    "amsgrad": [{"amsgrad": True}],
    "weight_decay": [{"weight_decay": 0.1}],
    "initial_accumulator_value": [{"initial_accumulator_value": 0.0}],
    "clipvalue": [{"clipvalue": 0.5}],
    "clipnorm": [{"clipnorm": 0.5}],
    "global_clipnorm": [{"global_clipnorm": 0.5}],
    "nonfinite": [{"nonfinite": policy} for policy in ("raise", "skip", "zero")],
}
"""For each argument of an optimizer that changes the text of a step: with what the step is tried."""
PLAIN = {"rho", "beta_1", "beta_2", "epsilon"}
"""Those that change its numbers alone."""


def arguments(kind: type) -> set[str]:
    """The names of what the constructor of an optimizer takes."""
    taken = [p for each in (optimizers.Optimizer, kind) for p in inspect.signature(each.__init__).parameters.values()]
    return {p.name for p in taken if p.name != "self" and p.kind is not p.VAR_KEYWORD}


OPTIMIZERS = [getattr(optimizers, name) for name in sorted(public(optimizers, optimizers.Optimizer))]
"""All kinds of them."""


def optimizer_parts() -> Iterator[Part]:
    for kind in OPTIMIZERS:
        ways = [{}, *(chosen for option in OPTIONS if option in arguments(kind) for chosen in OPTIONS[option])]
        for chosen in ways:
            way = ",".join(f"{option}={value!r:.20}" for option, value in chosen.items())
            bad = chosen.get("nonfinite", "raise") != "raise"
            yield Part("optimizers", kind.__name__, way, partial(step_trial, partial(kind, **chosen), nonfinite=bad))


SCHEDULES = {
    "": schedules.ExponentialDecay(0.1, 2, 0.5),
    "staircase": schedules.ExponentialDecay(0.1, 2, 0.5, staircase=True),
    "power": schedules.PowerDecay(0.1, 2, 0.5),
    "pieces": schedules.PiecewiseConstant([1, 3], [0.1, 0.05, 0.01]),
    "cosine": schedules.CosineDecay(0.1, 3, alpha=0.1),
    "warm-up": schedules.CosineDecay(0.1, 2, warmup_target=0.2, warmup_steps=2),
    "cycle": schedules.OneCycle(0.1, 5),
}

RULES: list[tuple[str, str, Any]] = [
    ("regularizers", "", regularizers.L1(0.1)),
    ("regularizers", "", regularizers.L2(0.1)),
    ("regularizers", "", regularizers.L1L2(0.1, 0.2)),
    ("regularizers", "l1 alone", regularizers.L1L2(l1=0.1)),
    ("regularizers", "l2 alone", regularizers.L1L2(l2=0.1)),
    ("constraints", "", constraints.MaxNorm(0.5)),
    ("constraints", "all axes", constraints.MaxNorm(0.5, axis=[0, 1])),
    ("constraints", "", constraints.NonNeg()),
    ("constraints", "", constraints.UnitNorm()),
    ("constraints", "axis 1", constraints.UnitNorm(axis=1)),
    ("constraints", "all axes", constraints.UnitNorm(axis=[0, 1])),
]


def schedule_parts() -> Iterator[Part]:
    for way, schedule in SCHEDULES.items():
        yield Part("schedules", type(schedule).__name__, way, partial(step_trial, partial(optimizers.SGD, schedule)))


def rule_parts() -> Iterator[Part]:
    for family, way, rule in RULES:
        rules = {family[:-1]: rule}
        yield Part(family, type(rule).__name__, way, partial(step_trial, partial(optimizers.SGD, 0.1), rules))


# Clipping


CLIPPING: list[tuple[str, str, Callable[[Any], Any]]] = [
    ("clip_grad_value", "", lambda parameters: tg.clip_grad_value(parameters, 0.5)),
    *(
        ("clip_grad_norm", f"{order}", partial(tg.clip_grad_norm, max_norm=0.5, norm_type=order))
        for order in (1, 2, 3, "inf")
    ),
    *(
        ("clip_grad_norm", policy, partial(tg.clip_grad_norm, max_norm=0.5, nonfinite=policy))
        for policy in ("keep", "zero")
    ),
    ("clip_by_global_norm", "", lambda parameters: tg.clip_by_global_norm([p.grad for p in parameters], 0.5)),
]


def clipping_parts() -> Iterator[Part]:
    for name, way, clip in CLIPPING:
        yield Part("clipping", name, way, partial(clipping_trial, clip, way in ("keep", "zero")))


# All of them

FAMILIES: dict[str, Callable[[], set[str]]] = {
    "activations": lambda: set(activations.__all__) - {"get"},
    "layers": lambda: set(layers.__all__) - {"Layer"},
    "losses": lambda: public(losses, losses.Loss),
    "regularizers": lambda: public(regularizers, regularizers.Regularizer),
    "constraints": lambda: public(constraints, constraints.Constraint),
    "schedules": lambda: public(schedules, schedules.Schedule),
    "optimizers": lambda: public(optimizers, optimizers.Optimizer),
    "clipping": lambda: {name for name in dir(tg) if name.startswith("clip_")},
}
"""The names of all there is in each family."""

PARTS = [
    *activation_parts(),
    *layer_parts(),
    *loss_parts(),
    *rule_parts(),
    *schedule_parts(),
    *optimizer_parts(),
    *clipping_parts(),
]
