"""The two sections of a step: first everything is computed, then the variables are written.

What only the variables need, and only element by element, is left to the second section, where it can be computed in
their own memory. Nothing can go wrong there: it consists of calls that neither fail nor let Python in between.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tinygrad_bn.capturing.flow import Argument, Feed, Flow, Step, Store, Value

Conditions = tuple[Value, ...]


class Sections:
    """A flow in two parts.

    Attributes:
        compute: the steps of the first section.
        commit: for each set of conditions the steps of the second section that depend on them, and the stores.
    """

    def __init__(self, flow: Flow) -> None:
        _own_memory(flow)
        late = _late(flow)
        self.compute = [step for step in flow.steps if step not in late]
        self.commit: dict[Conditions, tuple[list[Step], list[Store]]] = {}
        for store in flow.stores:
            self.commit.setdefault(store.conditions, ([], []))[1].append(store)
        for step in flow.steps:
            if step in late:
                self.commit[late[step]][0].append(step)

    def in_order(self) -> Iterable[Step]:
        """All steps, in the order in which they run."""
        yield from self.compute
        for steps, _ in self.commit.values():
            yield from steps


def _own_memory(flow: Flow) -> None:
    """Lets every stored value be made by a step: what shows a variable or an argument is copied first."""
    for store in flow.stores:
        root = shown(store.value)
        if not isinstance(root.origin, Step):
            step = Step(np.copy, (store.value,), {}, np.empty_like(store.value.sample), label=store.writer)
            flow.steps.append(step)
            store.value = step.result


def shown(value: Value) -> Value:
    """The value whose memory `value` shows: itself, where it is no view."""
    while isinstance(value.origin, Step) and value.origin.view is not None:
        value = value.origin.view
    return value


def _late(flow: Flow) -> dict[Step, Conditions]:
    """The steps of the second section, each with the conditions of the stores that need it."""
    late: dict[Step, Conditions] = {}
    wanted: dict[Value, set[Conditions]] = {}
    early = {*flow.results, *flow.asked()}
    shapes = {}
    for store in flow.stores:
        wanted.setdefault(store.value, set()).add(store.conditions)
        shapes[store.value] = store.variable.shape, store.variable.dtype
    for step in reversed(flow.steps):
        result = step.result
        asking = wanted.get(result, set())
        fits = shapes.get(result) == (result.shape, result.dtype)
        if result not in early and len(asking) == 1 and fits and step.is_elementwise and _lies_ready(step):
            late[step] = next(iter(asking))
            for value in step.inputs:
                wanted.setdefault(value, set()).update(asking)
                shapes.setdefault(value, shapes[result])
        else:
            early.update(step.inputs)
    return late


def _lies_ready(step: Step) -> bool:
    """Whether its arrays lie ready: no argument of the call, and no draw, is among them."""
    return not any(_comes_anew(shown(value).origin) for value in step.inputs)


def _comes_anew(origin: object) -> bool:
    return isinstance(origin, Argument) or (isinstance(origin, Feed) and origin.array is None)
