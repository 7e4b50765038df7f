"""Steps that can be captured, and what they are given: those of layers, losses, optimizers, functions that clip."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

import tinygrad_bn as tg
from tests.layers.every_layer import sample
from tinygrad_bn import layers, losses, optimizers, regularizers

Arrays = list[np.ndarray]


class Trial(NamedTuple):
    """A step, what it is given in its call of each number, and whatever else it changes."""

    step: Callable[..., Any]
    given: Callable[[int], Arrays]
    state: Callable[[], Arrays]


def rng(call: int) -> np.random.Generator:
    return np.random.default_rng(call + 1)


def real(call: int) -> np.ndarray:
    return rng(call).normal(size=(4, 3)).astype(np.float32)


def layer_trial(make: Callable[[], layers.Layer], shape: tuple[int, ...], training: bool) -> Trial:
    """A forward and a backward of an uneven cotangent, after which the parameters go down their gradients."""
    tg.set_random_seed(0)
    layer = make().train(training)
    result = layer(sample(shape, np.float32))
    parameters = layer.parameters()

    def step(x: Any, g: Any) -> Any:
        y = layer(x)
        found = tg.gradients(y, [x, *parameters], grad_outputs=g, allow_unused=True)
        for parameter, gradient in zip(parameters, found[1:], strict=True):
            if gradient is not None:
                parameter.assign(parameter - 0.1 * gradient)
        return y, [gradient for gradient in found if gradient is not None]

    def given(call: int) -> Arrays:
        drawn = rng(call)
        return [drawn.normal(size=like).astype(np.float32) for like in (shape, result.shape)]

    return Trial(step, given, lambda: list(layer.state_dict().values()))


def loss_trial(
    make: Callable[[], losses.Loss], truth: Callable[[int], np.ndarray], predict: Callable[[Any], Any]
) -> Trial:
    """The loss, and what it makes of a cotangent that is not 1."""
    loss = make()

    def step(y_true: Any, x: Any, g: Any) -> Any:
        value = loss(y_true, predict(x))
        return value, tg.gradients(value, x, grad_outputs=g)

    def given(call: int) -> Arrays:
        return [truth(call), 2 * real(call + 9), np.array(np.cos(call), np.float32)]

    return Trial(step, given, list)


KEPT = {"kernel": ((17, 19), "float32"), "bias": ((2,), "float32"), "gamma": ((), "float32"), "wide": ((4,), "float64")}


def step_trial(
    make: Callable[[], optimizers.Optimizer], rules: dict[str, Any] | None = None, nonfinite: bool = False
) -> Trial:
    """Steps with gradients that are given, those of calls 0 and 2 not finite if that is asked for.

    The kernel has `rules`, and is made of values that lie in columns, as `Orthogonal` makes wide ones.
    """
    tg.set_random_seed(0)
    start = np.random.default_rng(0)
    parameters = {
        name: tg.Parameter(start.normal(size=shape[::-1]).astype(dtype).T, name=name)
        for name, (shape, dtype) in KEPT.items()
    }
    for which, rule in (rules or {}).items():
        setattr(parameters["kernel"], which, rule)
    optimizer = make()

    def step(*gradients: Any) -> Any:
        for parameter, gradient in zip(parameters.values(), gradients, strict=True):
            parameter.grad = gradient
        told = regularizers.penalty(parameters.values())
        optimizer.step(parameters.values())
        optimizer.zero_grad()
        return told

    def given(call: int) -> Arrays:
        drawn = rng(call)
        found = [drawn.normal(size=parameter.shape).astype(parameter.dtype) for parameter in parameters.values()]
        if nonfinite and call in (0, 2):
            found[1][0] = np.nan
        return found

    def state() -> Arrays:
        found = [*(parameter.numpy() for parameter in parameters.values()), *optimizer.state_dict().values()]
        clipping = optimizer.clipping
        figures = [] if clipping is None else [clipping.norm, clipping.factor, clipping.acted, clipping.alarms]
        return [*found, *map(np.asarray, figures)]

    return Trial(step, given, state)


def clipping_trial(clip: Callable[[Any], Any], nonfinite: bool) -> Trial:
    """What a function that clips gives back, and the gradients afterwards."""
    steps = step_trial(optimizers.SGD, nonfinite=nonfinite)
    parameters = [tg.Parameter(np.zeros(shape, dtype)) for shape, dtype in KEPT.values()]

    def step(*gradients: Any) -> Any:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        told, clipped = clip(parameters), [parameter.grad for parameter in parameters]
        for parameter in parameters:
            parameter.grad = None
        return told, clipped

    return Trial(step, steps.given, list)


def together(trials: list[Trial]) -> Callable[..., Any]:
    """Their steps in one, so that there is one thing to compile: it takes their arrays, and gives a list of results."""
    counts = [len(trial.given(0)) for trial in trials]

    def step(*arrays: Any) -> Any:
        waiting = iter(arrays)
        return [trial.step(*islice(waiting, count)) for trial, count in zip(trials, counts, strict=True)]

    return step
