"""Recording: what a step does, written down while it runs once for real.

While it runs everything is remembered, the backward pass runs on Tensors too, and nobody may look at a value. If
anything fails, variables and generators are brought back to what they were.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, NoReturn

import numpy as np

from tinygrad_bn import mode, recorders
from tinygrad_bn.callers import frame_outside, is_ours, users_line, warn
from tinygrad_bn.capturing.flow import Feed
from tinygrad_bn.capturing.keys import FEW, told
from tinygrad_bn.errors import CaptureError
from tinygrad_bn.names import TAKES_ANY_NAME, TAKES_ANY_NUMBER
from tinygrad_bn.nests import leaves
from tinygrad_bn.ops.random import origin
from tinygrad_bn.recorders import Following
from tinygrad_bn.tensors import Tensor, next_serial
from tinygrad_bn.variables import Variable


def _shown(value: Any) -> str:
    """A value as messages show it: no number of a Tensor is looked at."""
    if isinstance(value, (Tensor, np.ndarray)):
        return f"a {type(value).__name__} of shape {value.shape}"
    with mode.using(recorder=None):  # there may be some in it
        return f"{value!r:.40}"


class Made:
    """An operation gave `tensor`, in `module` under `root`, at the user's line `place`."""

    __slots__ = ("module", "place", "root", "tensor")

    def __init__(self, tensor: Tensor, root: Any, module: Any, place: str) -> None:
        self.tensor, self.root, self.module, self.place = tensor, root, module, place


class Assigned:
    """`variable` was given the values `data`, which happens only where all `conditions` hold."""

    __slots__ = ("conditions", "data", "variable", "writer")

    def __init__(self, variable: Variable, data: Any, writer: str, conditions: tuple[Tensor, ...]) -> None:
        self.variable, self.data, self.writer, self.conditions = variable, data, writer, conditions


class Recording(Following):
    """What has happened, in order.

    Attributes:
        events: what operations gave, and what was assigned.
        origins: for Tensors that no operation made: the Tensor whose values they show, or the feed they come from.
        checks: the Tensors that have to be true, with the exception for when one is not.
        counters: the arrays that grow by 1 with the updates, and on which conditions.
        met: all modules, optimizers and losses that ran, and the variables that were asked for.
        facts: what has to be as it was, as functions with their answers.
        arguments: the Tensors that stand for the arrays of the call.
        gradients: for the leaves whose gradient mattered, the one that was there before, and whether it was looked at.
        refusal: why it cannot be captured, if it cannot.
    """

    def __init__(self, arguments: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.arguments = dict.fromkeys(arguments)
        self.events: list[Made | Assigned] = []
        self.origins: dict[Tensor, Tensor | Feed] = {}
        self.checks: list[tuple[Tensor, Callable[[], Exception]]] = []
        self.counters: list[tuple[Any, tuple[Tensor, ...]]] = []
        self.met: dict[Any, None] = {}
        self.facts: list[tuple[Callable[[], Any], Any]] = []
        self.gradients: dict[Tensor, tuple[Tensor | None, bool]] = {}
        self.refusal: CaptureError | None = None
        self._homes: dict[Tensor, tuple[Any, Any]] = {}
        self._pulled: tuple[Any, Any] = (None, None)
        self._fixed: list[Any] = []
        self._met_gradients: set[Tensor] = set()
        self._drawn_from: dict[int, tuple[Any, str]] = {}
        self._fed: dict[int, Tensor] = {}
        self._warned: set[str] = set()
        self._conditions: list[tuple[FrameType, Tensor]] = []
        self._begun = next_serial()

    def note(self, tensor: Tensor) -> None:
        assert tensor.source is not None  # whatever a recorder is shown remembers how it was made
        for arg in tensor.source[1]:
            if isinstance(arg, Tensor) and arg.version is not None and not isinstance(arg, Variable):
                self._refuse_if_overwritten(arg)
        root, module = (self.open[0], self.open[-1]) if self.open else self._pulled
        self._homes[tensor] = root, module
        self.events.append(Made(tensor, root, module, users_line()))
        self._warn_of_constants(tensor.source[0].__name__, tensor.source[1])

    def _is_frozen(self, arg: Any) -> bool:
        """Whether an argument is an array, or was made from one in the step, and nobody will look into it again."""
        if not isinstance(arg, Tensor):
            return type(arg) is np.ndarray and arg.size > FEW
        begun_here = arg.source is None and self.is_own(arg)
        return begun_here and arg.size > FEW and arg not in self.origins

    def is_own(self, tensor: Tensor) -> bool:
        """Whether it was made in the step, and is gone afterwards."""
        return tensor.serial > self._begun and not isinstance(tensor, Variable)

    def _warn_of_constants(self, operation: str, args: Iterable[Any]) -> None:
        """Say so if one of these is an array that the user's text, and not ours, has brought into the step."""
        if not any(map(self._is_frozen, args)):
            return
        place = users_line()
        if place not in self._warned and self._is_handed_an_array():
            self._warned.add(place)
            warn(
                f"the array that {operation} meets in {place} was not given to the captured step as an argument: "
                "it stays as it is now in all later calls. Pass it as an argument if it changes"
            )

    def _is_handed_an_array(self) -> bool:
        """Whether the user's text has given one to the function of ours that is at work, however deep within it.

        What such a function makes of other arguments, a layer of its settings, say, is ours.
        """
        frame = sys._getframe(1)
        while frame.f_back is not None and is_ours(frame.f_back):
            frame = frame.f_back
            if frame.f_globals["__name__"] == f"{__package__}.making":
                return False  # farther out than the step
        code = frame.f_code
        count = code.co_argcount + code.co_kwonlyargcount
        count += bool(code.co_flags & TAKES_ANY_NUMBER) + bool(code.co_flags & TAKES_ANY_NAME)
        given = list(leaves([frame.f_locals.get(name) for name in code.co_varnames[:count]]))
        # And an optimizer meets the gradients that were set.
        given += [leaf._gradient() for leaf in given if isinstance(leaf, Tensor)]
        return any(map(self._is_frozen, given)) or sum(isinstance(leaf, (int, float)) for leaf in given) > FEW

    def _refuse_if_overwritten(self, view: Tensor) -> None:
        assert view.version is not None
        if view.version.updated > view.serial:
            self._refuse(
                f"a captured step cannot read a view of a variable after {view.version.writer} has written to it, "
                f"{users_line()}: take the view again, or .copy() it before the update"
            )

    def expect_present(self, results: Iterable[Tensor]) -> None:
        """Raise if one of these shows a variable that has been written since."""
        for tensor in results:
            if tensor.version is not None and not isinstance(tensor, Variable):
                self._refuse_if_overwritten(tensor)

    def detached(self, new: Tensor, tensor: Tensor) -> None:
        self.origins[new] = tensor

    def reveal(self, tensor: Tensor, request: str) -> None:
        self._refuse(
            f"a captured step cannot look at the value of a Tensor: {request}, {users_line()}. Compute with it instead "
            "(tg.where for a choice, a weight of 0 or 1 for a mask), or return it and look afterwards"
        )

    def assigned(self, variable: Variable, data: Any, writer: str) -> bool:
        self._warn_of_constants(writer, (data,))
        conditions = self._holding()
        self.events.append(Assigned(variable, data, writer, conditions))
        return all(condition.value.all() for condition in conditions)

    def draw(self, primitive: Any, settings: Any) -> Any:
        value = primitive.evaluate((), settings)
        others = dict(settings)
        rng = others.pop("rng")
        if any(rng is fixed for fixed in self._fixed):
            return value
        if id(rng) not in self._drawn_from:
            self._drawn_from[id(rng)] = origin(rng), users_line()
        where, _ = self._drawn_from[id(rng)]
        drawn = Tensor(value)
        self.origins[drawn] = Feed(lambda: primitive.evaluate((), {**others, "rng": where()}))
        return drawn

    def expect_generators_kept(self, journal: mode.Journal) -> None:
        """Raise if a generator that was drawn from is gone with the step: it was made there, and would be each time.

        Then nobody holds it but `origin`, once, and the journal.
        """
        for where, place in self._drawn_from.values():
            if not where.args:  # a shared one
                continue
            ours = 2 + journal.noted(where.args[0])  # one of them is the argument of getrefcount
            if sys.getrefcount(where.args[0]) <= ours and sys.getrefcount(where.args[0].bit_generator) <= ours:
                self._refuse(
                    f"a captured step cannot draw from a generator that it makes itself, {place}: a replay would draw "
                    "on. Make it before the call, or give seed= for the same numbers in each call"
                )

    def seeded(self, generator: Any) -> None:
        self._fixed.append(generator)

    def feed(self, array: Any, refresh: Callable[[], object] | None) -> Any:
        if id(array) not in self._fed:
            fed = self._fed[id(array)] = Tensor(array)
            self.origins[fed] = Feed(refresh, array)
        return self._fed[id(array)]

    def guard(self, good: Any, explain: Callable[[], Exception] | None) -> bool:
        if not isinstance(good, Tensor):
            return super().guard(good, explain)
        if explain is None:
            frame = sys._getframe(1)  # of who has asked, past `mode.guard` and recorders before this one
            while frame.f_globals.get("__name__") in (mode.__name__, recorders.__name__):
                frame = frame.f_back  # type: ignore[assignment]
            self._conditions.append((frame, good))
        else:
            self.checks.append((good, explain))
            if not good.value.all():
                raise explain()
        return True

    def _holding(self) -> tuple[Tensor, ...]:
        """The conditions set by the functions that are running."""
        if not self._conditions:
            return ()
        running, frame = set(), sys._getframe(1)
        while frame is not None:
            running.add(id(frame))
            frame = frame.f_back  # type: ignore[assignment]
        return tuple(good for frame, good in self._conditions if id(frame) in running)

    def sets(self, module: Any, name: str, value: Any) -> None:
        held = vars(module).get(name, value)
        frame = frame_outside("module", "mode", "recorders", "capturing", "callers")
        if told(held) != told(value) and name not in getattr(module, "counters", ()) and frame and not is_ours(frame):
            self.outside(f"setting {name} of {type(module).__name__} from {_shown(held)} to {_shown(value)}")

    def outside(self, what: str) -> None:
        self._refuse(f"a captured step cannot do what no replay would: {what}, {users_line()}. Do it before a call")

    def gradient(self, leaf: Tensor, read: bool) -> None:
        if leaf in self.gradients:
            return
        before = leaf._gradient()
        if before is not None and before.source is None:
            if before in self._met_gradients:  # another leaf has the same, and need not in a later call
                leaf._grad = before = Tensor(before.value)
            self._met_gradients.add(before)
            if read and leaf not in self.arguments:
                self.origins[before] = Feed(lambda: leaf._gradient().value)  # type: ignore[union-attr]
        self.gradients[leaf] = before, read

    def count(self, counter: Any) -> None:
        conditions = self._holding()
        self.counters.append((counter, conditions))
        if all(condition.value.all() for condition in conditions):
            super().count(counter)

    def _refuse(self, reason: str) -> NoReturn:
        """Give up; for good, even if the step catches the exception."""
        self.refusal = self.refusal or CaptureError(reason)
        raise self.refusal

    def pull(self, vertex: Tensor | None) -> None:
        self._pulled = (None, None) if vertex is None else self._homes.get(vertex, (None, None))

    def use(self, thing: Any) -> None:
        super().use(thing)
        self.met[thing] = None

    def depends(self, fact: Callable[[], Any]) -> None:
        super().depends(fact)
        self.facts.append((fact, fact()))

    def enter(self, module: Any) -> None:
        super().enter(module)
        self.met[module] = None

    def variables(self) -> Iterable[Variable]:
        """All variables that were read or written, each once."""
        found: dict[Variable, None] = {}
        for event in self.events:
            for tensor in (event.variable,) if isinstance(event, Assigned) else event.tensor.source[1]:  # type: ignore[index]
                if isinstance(tensor, Variable):
                    found[tensor] = None
        return found
