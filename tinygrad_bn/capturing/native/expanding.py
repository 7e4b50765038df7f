"""Expanding: calls that the dialect has no word for, said in calls that it has."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.capturing.flow import Constant, Flow, Step, Store, Value, replaced, values_in
from tinygrad_bn.capturing.lowering import key_of
from tinygrad_bn.capturing.native import indexing, rearranging
from tinygrad_bn.capturing.native.dialect import Inexpressible
from tinygrad_bn.capturing.passes import without_numbers, without_unused_steps
from tinygrad_bn.ops import erf, put
from tinygrad_bn.variables import Variable

if TYPE_CHECKING:
    from numpy.typing import NDArray


def expanded(flow: Flow, *, constant: bool = False) -> Flow:
    """The same flow, in calls that the dialect knows, as far as there are any; what is made of constants is a constant.

    An index that an array gives is checked before anything is updated, as NumPy would when it comes to it.

    Args:
        flow: stays as it is.
        constant: take the variables for constants too.
    """
    new = _Expanding(flow, constant).flow
    without_unused_steps(new)
    without_numbers(new)
    return new


class Weight(Constant):
    """A constant that has a name: that of a variable, or of where it was made."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Writer:
    """Writes calls in the place of one step, on its behalf.

    Attributes:
        step: that step.
        expect: takes a value that has to be all true, and what else to raise.
    """

    def __init__(
        self, step: Step, write: Callable[[Step], Value], expect: Callable[..., None], steps: list[Step]
    ) -> None:
        self.step, self._write, self.expect, self._steps = step, write, expect, steps

    def __call__(self, function: Callable[..., Any], *args: Any, **options: Any) -> Value:
        """The value of a call."""
        blank = {value: _blank(value) for value in values_in((*args, *options.values()))}
        sample = _evaluated(function, args, options, blank)
        view = next((value for value, array in blank.items() if np.may_share_memory(sample, array)), None)
        return self.made(function, args, sample, options, view)

    def made(
        self,
        function: Any,
        args: Sequence[Any],
        sample: NDArray[Any],
        options: Mapping[str, Any] = {},
        view: Value | None = None,
    ) -> Value:
        """The value of a call that gave `sample`."""
        step = self.step
        return self._write(Step(function, args, options, sample, view, step.scope, step.label, step.place))

    def shown(self, function: Callable[..., Any], x: Value) -> Value:
        """A view of x in the memory of x itself, even if that is a constant."""
        step = self.step
        new = Step(function, (x,), {}, function(x.sample), x, step.scope, step.label, step.place)
        self._steps.append(new)
        return new.result

    def constant(self, array: Any) -> Value:
        """An array that stays as it is."""
        return Value(np.asarray(array), Constant())


def _evaluated(
    function: Callable[..., Any], args: Any, options: Mapping[str, Any], arrays: Mapping[Value, Any]
) -> NDArray[Any]:
    """What a call gives on these arrays."""
    said = {name: replaced(option, arrays) for name, option in options.items()}
    return np.asarray(function(*replaced(args, arrays), **said))


def _blank(value: Value) -> NDArray[Any]:
    """An array to try a call on: a constant itself; of all others the samples have no numbers that could be read."""
    return value.sample if isinstance(value.origin, Constant) else np.empty_like(value.sample)


class _Expanding:
    """A flow on its way."""

    def __init__(self, old: Flow, constant: bool) -> None:
        self.flow = flow = Flow()
        self._new: dict[Value, Value] = {}
        self._known: dict[Any, Value] = {}
        self._expected: dict[Any, None] = {}
        for value in old.sources():
            fixed = constant and isinstance(value.origin, Variable)
            if fixed or (not value.sample.size and not isinstance(value.origin, (Variable, Constant))):
                name = old.names.get(value.origin) or value.origin.name if fixed else ""
                self._new[value] = Value(value.sample.copy(), Weight(name or ""))
        flow.arguments, flow.feeds, flow.names = list(old.arguments), list(old.feeds), dict(old.names)
        with np.errstate(all="ignore"):
            for step in old.steps:
                self._take(step)
        flow.results = [self._now(value) for value in old.results]
        flow.stores = [
            Store(store.variable, self._now(store.value), store.writer, self._all_now(store.conditions))
            for store in old.stores
            if store.variable.size
        ]
        flow.checks += [(self._now(good), explain) for good, explain in old.checks]
        flow.counters = [(counter, self._all_now(conditions)) for counter, conditions in old.counters]

    def _now(self, value: Value) -> Value:
        return self._new.get(value, value)

    def _all_now(self, values: Sequence[Value]) -> tuple[Value, ...]:
        return tuple(map(self._now, values))

    def _take(self, old: Step) -> None:
        args, sample = replaced(old.args, self._new), old.result.sample
        options = {name: replaced(option, self._new) for name, option in old.options.items()}
        step = Step(old.function, args, options, sample, None, old.scope, old.label, old.place)
        step.view = self._new.get(old.view, old.view) if old.view is not None else None
        if not sample.size:
            self._new[old.result] = Value(sample, Constant())
            return
        expand = _expansion(step)
        if expand is None or all(isinstance(value.origin, Constant) for value in step.inputs):
            self._new[old.result] = self._write(step)
            return
        made = expand(Writer(step, self._write, self._expect, self.flow.steps))
        if made.shape != sample.shape or made.dtype != sample.dtype:
            raise Inexpressible(f"{step.called} of this kind")
        self._new[old.result] = made

    def _write(self, step: Step) -> Value:
        """The value of a step: a constant if it is made of constants, an old one if such a step has been written."""
        inputs = step.inputs
        if inputs and all(isinstance(value.origin, Constant) for value in inputs):
            sample = _evaluated(step.function, step.args, step.options, {value: value.sample for value in inputs})
            return Value(sample, Weight(f"{step.scope}.{step.label}"))
        key = step.function, key_of(step.args), key_of(step.options)
        if key not in self._known:
            self.flow.steps.append(step)
            self._known[key] = step.result
        return self._known[key]

    def _expect(self, good: Value, explain: Callable[[], Exception], what: Any) -> None:
        if what not in self._expected:
            self._expected[what] = None
            self.flow.checks.append((good, explain))


def _expansion(step: Step) -> Callable[[Writer], Value] | None:
    """How a step is said in other calls; None if it can stay."""
    function = step.function
    if function is np.tanh and (x := _under_erf(step)) is not None:
        return lambda write: write.made(erf, (x,), step.result.sample)
    if isinstance(function, partial) and function.args and function.args[0] is put:
        return lambda write: indexing.put_back(write, *step.args, **function.args[1])
    if function == np.ndarray.__getitem__:
        return indexing.taking(step)
    known = _EXPANSIONS.get(function)
    return None if known is None else lambda write: known(write, *step.args, **step.options)


def _under_erf(step: Step) -> Value | None:
    """The x of which this tanh gives erf(x), as `ops.erf` writes it.

    That is tanh(b N(b^2) / D(b^2)), with b = min(max(x, -6), 6) and N(0) = 2 / sqrt(pi), the derivative of erf at 0.
    """
    product = _made_by(step.args[0], np.multiply)
    bounded = product and _made_by(product.args[0], np.minimum, 6)
    lowest = bounded and _made_by(bounded.args[0], np.maximum, -6)
    ratio = product and _made_by(product.args[1], np.divide)
    known = lowest and ratio and _made_by(ratio.args[0], np.add, 2 / math.sqrt(math.pi))
    return lowest.args[0] if lowest and known and step.label == erf.__name__ else None


def _made_by(value: Any, function: np.ufunc, number: float | None = None) -> Step | None:
    """The step that makes a value, if that is this function, with this number as its second argument."""
    step = value.origin if isinstance(value, Value) else None
    if not isinstance(step, Step) or step.function is not function:
        return None
    return step if number is None or step.args[1] == number else None


_EXPANSIONS: dict[Any, Callable[..., Value]] = {
    np.pad: rearranging.padded,
    np.cumsum: rearranging.running_sum,
    np.einsum: rearranging.contracted,
    np.argmax: partial(rearranging.first_extremum, np.maximum),
    np.argmin: partial(rearranging.first_extremum, np.minimum),
    np.ndarray.cumsum: rearranging.running_sum,
    np.ndarray.argmax: partial(rearranging.first_extremum, np.maximum),
    np.ndarray.argmin: partial(rearranging.first_extremum, np.minimum),
}
