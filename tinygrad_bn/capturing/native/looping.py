"""Looping: the body of the C function that carries out a loop nest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_bn.capturing.flow import Value
from tinygrad_bn.capturing.native.dialect import REDUCTIONS, Reduction, Text, c_type, cast, literal
from tinygrad_bn.capturing.native.fusing import Plan
from tinygrad_bn.capturing.native.groups import Nest
from tinygrad_bn.capturing.native.places import Strides, merged, packed
from tinygrad_bn.capturing.native.sharing import Cut, cut
from tinygrad_bn.capturing.native.wording import VARIABLES, indented, passes, unique

_LONG = 2048  # terms from which on a sum of floats is taken in double
_FEW = 4  # elements in a row, up to which several rows are computed at once
_SHORT = 60  # characters of an expression that may stand inside another

Name = Callable[[Value], str]
Pointer = tuple[Any, int]
"""What tells memory apart, and the element at which to begin."""


class Loop:
    """A loop nest as a C function.

    Args:
        nest: what is computed.
        plan: where it belongs.
        writes: the values that go to memory, each with the root of that memory.
        location: what tells the memory of a root from that of others.
        called: a name for a value.
        portable: for any compiler, and one thread.

    Attributes:
        cut: where threads share the loop, whose passes are then those from `first` to `last`; None if they do not.
        parameters: the pointers that the function takes: its C type, its name, a root that lies there, and the offset.
        body: the lines of the function.
    """

    def __init__(
        self,
        nest: Nest,
        plan: Plan,
        writes: Sequence[tuple[Value, Value]],
        location: Callable[[Value], Any],
        called: Name,
        portable: bool = False,
    ) -> None:
        self.nest, self.plan = nest, plan
        self._location, self._called, self._writes = location, called, writes
        self._names: set[str] = set()
        self._strides: dict[Any, Strides] = {}
        self._uses: Counter[Value] = Counter()
        self._locals: dict[Value, Text] = {}
        self._pointers: dict[Pointer, str] = {}
        self._targets: dict[Pointer, None] = {}
        self._roots: dict[Pointer, Value] = {}
        self._held: dict[Pointer, dict[str, None]] = {}
        self._collect()
        for pointer, names in self._held.items():
            self._pointers[pointer] = self._numbered("_then_".join(names))
        self._axes = merged(nest.shape, [packed(nest.shape), *self._strides.values()])
        self.cut = None if portable else self._cut()
        self._portable = portable
        self.body = self._lines()
        self.parameters = [
            (
                ("" if pointer in self._targets else "const ") + c_type(root.dtype),
                self._pointers[pointer],
                root,
                pointer[1],
            )
            for pointer, root in self._roots.items()
        ]

    def _collect(self) -> None:
        """What is read and written, and with which strides."""
        for value in self.nest.values:
            for operand in self._formula(value).operands:
                self._touch(operand, value.shape)
        for result, gathering in self.nest.reductions.items():
            self._touch(gathering.operand, gathering.operand.shape)
            self._strides[result] = _gathered(gathering)
            self._goes_through(result, target=True)
        for value, root in self._writes:
            self._touch(value, value.shape)
            self._goes_through(root, target=True)

    def _cut(self) -> Cut | None:
        kinds = [(self.nest.reductions[result].kind, result.dtype.kind) for result in self.blocked]
        work = len(self._roots) + sum(int(self._formula(value).cost) for value in self.nest.values)
        return cut([length for length, _ in self._axes], [kind == (np.add, "f") for kind in kinds], work)

    @property
    def blocked(self) -> list[Value]:
        """The results that are gathered over the outermost loop."""
        outermost = [axis for _, axis in self._axes[:1]]
        return [
            result for result in self.nest.reductions if any(self._strides[result][axis] is None for axis in outermost)
        ]

    def _formula(self, value: Value) -> Any:
        return self.plan.formula(value)

    def _touch(self, operand: Any, shape: tuple[int, ...]) -> None:
        if self.plan.uniform(operand) is not None:
            return
        self._uses[operand] += 1
        if operand not in self.nest.values:
            place = self.plan.place(operand)
            steps = zip(place.along(shape), shape, strict=True)
            self._strides[operand, shape] = tuple(step for step, length in steps if length != 1)
            self._goes_through(place.root, place.offset)

    def _goes_through(self, root: Value, offset: int = 0, target: bool = False) -> None:
        pointer = self._location(root), offset
        if target:
            self._targets[pointer] = None
        self._roots.setdefault(pointer, root)
        self._held.setdefault(pointer, {})[self._called(root)] = None

    def _pointer(self, root: Value, offset: int = 0) -> str:
        return self._pointers[self._location(root), offset]

    def _numbered(self, name: str) -> str:
        return unique(name, self._names)

    def _lines(self) -> list[str]:
        gathering = _Gathering(len(self._axes))
        values = self._values()
        for result, reduction in self.nest.reductions.items():
            self._gather(gathering, result, reduction)
        writes = [self._write(value, root) for value, root in self._writes]  # last: they may lie where others are read
        depth = len(self._axes)
        lines = list(gathering.first)
        for level, (length, _) in enumerate(self._axes):
            lines += indented(gathering.before[level], level)
            lines += indented(self._pragma(gathering, level), level)
            span = ("first", "last") if self.cut and not level else (0, length)
            lines += indented([passes(VARIABLES[level], *span) + " {"], level)
        lines += indented([*values, *gathering.inside, *writes], depth)
        for level in reversed(range(depth)):
            lines += indented(["}", *gathering.after[level]], level)
        return lines

    def _pragma(self, gathering: _Gathering, level: int) -> list[str]:
        """What the compiler is told about the loop at that level."""
        if self._portable:
            return []
        if gathering.is_by_rows and self._axes[-1][0] <= _FEW:  # several rows at once, with short loops unrolled
            return ["#pragma omp simd"] * (level == len(self._axes) - 2)
        if gathering.clauses and level == len(self._axes) - 1:
            return [f"#pragma omp simd {' '.join(gathering.clauses)}"]
        return []

    def _values(self) -> list[str]:
        """A line for every value that is used more than once, or that is long to say; the others stand where used."""
        lines = []
        written = {value for value, _ in self._writes}
        for value in self.nest.values:
            text = self._expression(value)
            if (self._uses[value] > 1 and len(text.said) > 4) or value in written or len(text.said) > _SHORT:
                name = self._numbered(self._called(value))
                kind = "int" if value.dtype.kind == "b" else c_type(value.dtype)
                lines.append(f"const {kind} {name} = {text.said};")
                text = Text(name)
            self._locals[value] = text
        return lines

    def _expression(self, value: Value) -> Text:
        formula = self._formula(value)
        said = []
        for operand, kind in zip(formula.operands, formula.types, strict=True):
            number = self.plan.uniform(operand)
            if number is not None:
                said.append(Text(literal(number, kind), 8))
            else:
                said.append(cast(self._operand(operand, value.shape), operand.dtype, kind))
        text: Text = formula.said(said)
        return text

    def _operand(self, value: Value, shape: tuple[int, ...]) -> Text:
        """A local variable, a constant, or an element in memory."""
        if value in self._locals:
            return self._locals[value]
        number = self.plan.uniform(value)
        if number is not None:
            return Text(literal(number, value.dtype), 8)
        place = self.plan.place(value)
        return self._element(self._pointer(place.root, place.offset), self._strides[value, shape])

    def _element(self, pointer: str, strides: Strides) -> Text:
        terms = []
        for (_, axis), variable in zip(self._axes, VARIABLES, strict=False):
            if strides[axis]:
                terms.append(variable if strides[axis] == 1 else f"{strides[axis]} * {variable}")
        return Text(f"{pointer}[{' + '.join(terms)}]") if terms else Text(f"*{pointer}", 8)

    def _write(self, value: Value, root: Value) -> str:
        element = self._element(self._pointer(root), packed(self.nest.shape))
        return f"{element.said} = {self._operand(value, value.shape).said};"

    def _gather(self, gathering: _Gathering, result: Value, reduction: Reduction) -> None:
        """Gather in a local variable where the gathered axes are the inner ones, else in memory."""
        said = cast(self._operand(reduction.operand, reduction.operand.shape), reduction.operand.dtype, result.dtype)
        strides = self._strides[result]
        gathered = [strides[axis] is None for _, axis in self._axes]
        pointer = self._pointer(result)
        target = self._element(pointer, strides).said
        if not any(gathered):
            gathering.inside.append(f"{target} = {said.said};")
            return
        kind, dtype = REDUCTIONS[reduction.kind], result.dtype
        kind = {"maximum": "any", "minimum": "all"}.get(kind, kind) if dtype.kind == "b" else kind
        level = len(gathered)
        while level and gathered[level - 1]:
            level -= 1
        whole = not any(gathered[:level])
        if not whole:
            span: tuple[int | str, int | str] = 0, result.sample.size
            if self.cut and not gathered[0]:
                span = f"{strides[self._axes[0][1]]} * first", f"{strides[self._axes[0][1]]} * last"
            gathering.first.append(f"{passes('n', *span)} {pointer}[n] = {_neutral(kind, dtype)};")
        if level == len(gathered):
            gathering.inside.append(_combined(kind, target, said, dtype))
            return
        terms = int(np.prod([length for (length, _), inner in zip(self._axes, gathered, strict=True) if inner]))
        wide = np.dtype(float) if kind == "sum" and dtype.kind == "f" and terms > _LONG else dtype
        name = self._numbered(kind)
        gathering.before[level].append(f"{c_type(wide)} {name} = {_neutral(kind, wide)};")
        gathering.inside.append(_combined(kind, name, said, wide))
        gathering.clauses.append(f"reduction({_clause(kind, dtype)} : {name})")
        total = f"{target} = {name};" if whole else _combined(kind, target, Text(name), dtype)
        gathering.after[level].append(total)


class _Gathering:
    """Lines before a nest, before and after each level's loop, and inside; and what the innermost loop gathers."""

    def __init__(self, depth: int) -> None:
        self.first: list[str] = []
        self.before: list[list[str]] = [[] for _ in range(depth)]
        self.after: list[list[str]] = [[] for _ in range(depth)]
        self.inside: list[str] = []
        self.clauses: list[str] = []

    @property
    def is_by_rows(self) -> bool:
        """Whether all that is gathered is so in the innermost of several loops."""
        return len(self.before) > 1 and not self.first and not any(self.before[:-1])


_SIGNS = {"sum": "+", "product": "*", "all": "&", "any": "|"}


def _combined(kind: str, target: str, said: Text, dtype: np.dtype[Any]) -> str:
    if kind in _SIGNS:
        return f"{target} {_SIGNS[kind]}= {said.said};"
    if dtype.kind == "f":
        return f"{target} = {kind}_{c_type(dtype)}({target}, {said.said});"
    sign = ">" if kind == "maximum" else "<"
    return f"{target} = {said.within(6)} {sign} {target} ? {said.said} : {target};"


def _clause(kind: str, dtype: np.dtype[Any]) -> str:
    """How OpenMP calls it; a maximum of floats is our own, in which NaN wins."""
    return _SIGNS.get(kind) or (kind if dtype.kind == "f" else kind[:3])


def _neutral(kind: str, dtype: np.dtype[Any]) -> str:
    """What a reduction begins with."""
    if kind in ("maximum", "minimum"):
        if dtype.kind == "f":
            return literal(-np.inf if kind == "maximum" else np.inf, dtype)
        limits = np.iinfo(dtype)
        return literal(limits.min if kind == "maximum" else limits.max, dtype)
    return literal(int(kind in ("product", "all")), dtype)


def _gathered(reduction: Reduction) -> Strides:
    """The strides of a reduction's result along the axes of its operand that are longer than 1."""
    shape = reduction.operand.shape
    left = [1 if axis in reduction.axes else length for axis, length in enumerate(shape)]
    strides = [None if axis in reduction.axes else step for axis, step in enumerate(packed(left))]
    return tuple(step for step, length in zip(strides, shape, strict=True) if length != 1)
