"""Passes: from a flow to a smaller one that gives the same bits.

Each says what it takes out. They work on a flow in place.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_bn.capturing.flow import Constant, Flow, Step, Value, replaced


def simplified(flow: Flow) -> Flow:
    """The flow after all passes."""
    without_idle_steps(flow)
    without_unused_steps(flow)
    without_numbers(flow)
    return flow


def without_idle_steps(flow: Flow) -> None:
    """Takes out calls that give back what they were given, bit for bit: x * 1, x / 1, copies, casts to one dtype."""
    same: dict[Value, Value] = {}
    for step in flow.steps:
        step.args = replaced(step.args, same)
        step.options = {name: replaced(option, same) for name, option in step.options.items()}
        step.view = same.get(step.view, step.view) if step.view is not None else None
        kept = _given_back(step)
        if kept is not None:
            same[step.result] = kept
    flow.steps = [step for step in flow.steps if step.result not in same]
    flow.results = [same.get(value, value) for value in flow.results]
    flow.checks = [(same.get(good, good), explain) for good, explain in flow.checks]
    flow.actions = [(action, replaced(conditions, same)) for action, conditions in flow.actions]
    for store in flow.stores:
        store.value = same.get(store.value, store.value)
        store.conditions = replaced(store.conditions, same)


_COPIES = (np.ndarray.copy, np.copy, np.ndarray.astype, np.positive, np.ascontiguousarray)
_SHAPERS = (np.ndarray.reshape, np.reshape, np.broadcast_to, np.ndarray.transpose)


def _given_back(step: Step) -> Value | None:
    """The argument that has the very numbers, shape, dtype and layout of the result, if there is one."""
    x = step.args[0] if step.args else None
    if step.function in (np.multiply, np.divide):
        one = [_is_one(arg) for arg in step.args]
        if one[1]:
            x = step.args[0]
        elif one[0] and step.function is np.multiply:
            x = step.args[1]
        else:
            return None
    elif step.function not in _COPIES and not (step.function in _SHAPERS and step.view is x):
        return None
    if not isinstance(x, Value) or x.dtype != step.result.dtype or x.shape != step.result.shape:
        return None
    return x if x.sample.strides == step.result.sample.strides else None


def _is_one(arg: Any) -> bool:
    if isinstance(arg, Value):
        return isinstance(arg.origin, Constant) and bool((arg.sample == 1).all())
    return isinstance(arg, (int, float)) and arg == 1


def without_unused_steps(flow: Flow) -> None:
    """Takes out calls whose results nobody needs."""
    needed = set(flow.ends())
    steps = []
    for step in reversed(flow.steps):
        if step.result in needed:
            steps.append(step)
            needed.update(step.inputs())
            if step.view is not None:
                needed.add(step.view)
    flow.steps = steps[::-1]


def without_numbers(flow: Flow) -> None:
    """Takes out the numbers of the recorded run: of what steps make, only shape, dtype and strides stay."""
    for step in flow.steps:
        sample = step.result.sample
        nothing = np.zeros(1, sample.dtype)
        step.result.sample = np.lib.stride_tricks.as_strided(nothing, sample.shape, sample.strides, writeable=False)
