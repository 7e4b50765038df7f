"""Flows of small functions, as capturing makes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_bn.capturing.flow import Flow
from tinygrad_bn.capturing.lowering import lowered
from tinygrad_bn.capturing.recording import Recording
from tinygrad_bn.mode import Journal, using
from tinygrad_bn.tensors import Tensor


def flow_of(function: Callable[..., Any], *arrays: Any) -> Flow:
    """What the function does with these arrays, before any pass; variables are afterwards as before."""
    recording, journal, tensors = Recording(), Journal(), [Tensor(array) for array in arrays]
    with using(recorder=recording, journal=journal):
        result = function(*tensors)
    results = result if isinstance(result, tuple) else () if result is None else (result,)
    flow = lowered(recording, tensors, results)
    journal.undo()
    return flow


def calls(flow: Flow) -> list[str]:
    """The names of the functions that are called."""
    return [step.called for step in flow.steps]
