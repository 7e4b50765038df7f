"""Accumulating: products that go straight into a velocity, so that the gradient never lies in memory.

velocity = momentum * velocity - rate * x.T @ g is one call of BLAS, where nobody else wants the product.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from tinygrad_bn.capturing.flow import Flow, Step, Store, Value
from tinygrad_bn.capturing.native.dialect import PRODUCTS

_MANY = 4096  # elements from which on that pays


class Accumulation:
    """`store` takes momentum * its variable - rate * product."""

    __slots__ = ("momentum", "rate", "store")

    def __init__(self, store: Store, momentum: Value, rate: Value) -> None:
        self.store, self.momentum, self.rate = store, momentum, rate


def accumulations(flow: Flow) -> dict[Value, Accumulation]:
    """The products that are wanted for nothing but a velocity's next step."""
    uses = Counter(value for step in flow.steps for value in step.inputs)
    uses.update(flow.ends())
    found: dict[Value, Accumulation] = {}
    if len({store.conditions for store in flow.stores}) > 1:
        return found
    for store in flow.stores:
        total = store.value.origin
        if not (isinstance(total, Step) and total.function is np.subtract and store.variable.size >= _MANY):
            continue
        kept, step = (_scaled(term) for term in total.args)
        if kept is None or step is None or kept[1].origin is not store.variable:
            continue
        product = step[1].origin
        alone = all(uses[value] == 1 for value in (*total.args, kept[1], step[1]))
        plain = store.variable.value.flags.c_contiguous and store.value not in flow.results
        if alone and plain and isinstance(product, Step) and _is_product(product):
            found[product.result] = Accumulation(store, kept[0], step[0])
    return found


def _scaled(term: Any) -> tuple[Value, Value] | None:
    """The number and the array of which a value is the product, if it is one."""
    step = term.origin if isinstance(term, Value) else None
    if not isinstance(step, Step) or step.function is not np.multiply:
        return None
    for number, array in (step.args, step.args[::-1]):
        if not (isinstance(number, Value) and isinstance(array, Value)) or isinstance(number.origin, Step):
            continue
        if number.sample.size == 1 and array.shape == term.shape:
            return number, array
    return None


def _is_product(step: Step) -> bool:
    matrices = step.function in PRODUCTS and all(arg.sample.ndim == 2 for arg in step.args)
    return matrices and step.result.sample.size >= _MANY
