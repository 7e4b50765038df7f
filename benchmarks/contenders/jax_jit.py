"""JAX: the whole training step as one pure function, compiled by jax.jit, that gives its old weights away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.workloads import Workload

_ACTIVATIONS = {"elu": jax.nn.elu, "selu": jax.nn.selu, "relu": jax.nn.relu}


def prepare(workload: Workload) -> Callable[[], float]:
    """The training step, returning its loss."""
    compiled = jax.jit(_step(workload), donate_argnums=0)
    state = _first(workload)
    x, labels = map(jnp.asarray, workload.data())

    def step() -> float:
        nonlocal state
        state, loss = compiled(state, x, labels)
        return float(loss)

    return step


def anew(workload: Workload) -> Callable[[], float]:
    """Compile the step again, and run it once."""
    state = _first(workload)
    x, labels = map(jnp.asarray, workload.data())
    return lambda: float(jax.jit(_step(workload))(state, x, labels)[1])


def _first(workload: Workload) -> Any:
    """Parameters, moving averages, the optimizer's memory, and how many steps there were."""
    parameters, averages = [], []
    kernels = workload.kernels()
    for kernel in kernels:
        units = kernel.shape[1]
        normalized = workload.normalized and kernel is not kernels[-1]
        scale = [jnp.ones(units)] if normalized else []
        parameters.append([jnp.asarray(kernel), *scale, jnp.zeros(units)])
        averages.append([jnp.zeros(units), jnp.ones(units)] if normalized else [])
    slots = 2 if workload.optimizer == "adam" else 1
    memory = [jax.tree.map(jnp.zeros_like, parameters) for _ in range(slots)]
    return parameters, averages, memory, jnp.zeros((), jnp.int32)


def _step(workload: Workload) -> Callable[[Any, Any, Any], Any]:
    activation = _ACTIVATIONS[workload.activation]

    def measured(parameters: Any, averages: Any, x: Any, labels: Any) -> Any:
        moved = []
        for (kernel, *scale, shift), average in zip(parameters, averages, strict=True):
            x = x @ kernel
            if scale:
                mean, variance = x.mean(0), x.var(0)
                x = (x - mean) * jax.lax.rsqrt(variance + 1e-3) * scale[0] + shift
                moved.append([0.99 * average[0] + 0.01 * mean, 0.99 * average[1] + 0.01 * variance])
            else:
                x = x + shift
                moved.append([])
            if len(moved) < len(parameters):
                x = activation(x)
        likelihoods = jnp.take_along_axis(jax.nn.log_softmax(x), labels[:, None], axis=1)
        return -likelihoods.mean(), moved

    def step(state: Any, x: Any, labels: Any) -> Any:
        parameters, averages, memory, steps = state
        slope = jax.value_and_grad(measured, has_aux=True)
        (loss, averages), gradients = slope(parameters, averages, x, labels)
        update = _adam if workload.optimizer == "adam" else _sgd
        parameters, memory = update(workload, parameters, gradients, memory, steps + 1)
        return (parameters, averages, memory, steps + 1), loss

    return step


def _sgd(workload: Workload, parameters: Any, gradients: Any, memory: Any, steps: Any) -> Any:
    rate, momentum = workload.learning_rate, workload.momentum
    velocity = jax.tree.map(lambda v, g: momentum * v - rate * g, memory[0], gradients)
    return jax.tree.map(jnp.add, parameters, velocity), [velocity]


def _adam(workload: Workload, parameters: Any, gradients: Any, memory: Any, steps: Any) -> Any:
    rate = workload.learning_rate * jnp.sqrt(1 - 0.999**steps) / (1 - 0.9**steps)
    mean = jax.tree.map(lambda m, g: m + 0.1 * (g - m), memory[0], gradients)
    square = jax.tree.map(lambda v, g: v + 0.001 * (g * g - v), memory[1], gradients)
    moved = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-7), parameters, mean, square)
    return moved, [mean, square]
