"""Emitting: a flow as one C file, in which a person can read what the step computes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinygrad_bn.capturing.flow import Feed, Flow, Step, Store, Value
from tinygrad_bn.capturing.native.dialect import REDUCTIONS, Inexpressible, c_type, literal, reduction
from tinygrad_bn.capturing.native.fusing import Plan
from tinygrad_bn.capturing.native.groups import Group, Joining, Nest, Product
from tinygrad_bn.capturing.native.looping import VARIABLES, Loop, _indented, _merged
from tinygrad_bn.capturing.native.memory import Memory
from tinygrad_bn.capturing.native.places import Place, packed
from tinygrad_bn.variables import Variable

_WIDTH = 120


class Source:
    """The C text of a flow.

    Attributes:
        text: the whole file.
        given: the roots whose addresses the functions are given, behind that of the block of memory.
        sections: for each function the conditions under which it is called.
        used: the values that have memory of their own, and are read.

    Raises:
        Inexpressible: the flow does something that C is not told here.
    """

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.plan = Plan(flow)
        self.memory = Memory(self.plan)
        self.given: list[Value] = list(flow.arguments)
        self.sections = self.plan.sections
        self._numbers: dict[Any, int] = {value: number for number, value in enumerate(self.given, 1)}
        self._last = _last_of_their_kind(flow)
        self._loops: dict[Any, str] = {}
        self._functions: list[str] = []
        self._declared: dict[Any, tuple[str, str]] = {}
        self._lines: list[str] = []
        self._taken: set[str] = set()
        bodies = [self._section(section) for section in range(len(self.sections))]
        self.used = {place.root for place in self.plan.places.values()}
        self.text = "\n".join([_HEAD, *self._functions, *bodies])

    def _section(self, section: int) -> str:
        """The exported function of a section."""
        self._declared, self._lines = {}, []  # names stay taken, so that no two functions use one for two things
        for group in self.plan.groups:
            if group.key[0] == section:
                self._group(group)
        for number, store in self.memory.copied:
            if number == section:
                self._copy(store)
        name = "compute" if section == 0 else f"commit_{section}"
        about = f"/* {_SECTIONS[min(section, 1)]} */"
        declarations = [line for _, line in self._declared.values()]
        lines = [*declarations, "", *self._lines] if declarations else ["(void)given;"]
        return "\n".join([about, f"EXPORT void {name}(void *const *given) {{", *_indented(lines, 1), "}", ""])

    def _group(self, group: Group) -> None:
        if isinstance(group, Nest):
            self._nest(group)
        elif isinstance(group, Product):
            self._product(group)
        elif isinstance(group, Joining):
            self._join(group)

    # Memory

    def _location(self, root: Value) -> Any:
        """What tells the memory of a root from others': a variable, a place in the block, or the root itself."""
        store = self.memory.written.get(root)
        if store is not None:
            return store.variable
        if isinstance(root.origin, Variable):
            return root.origin
        return self.memory.starts.get(root, root)

    def _address(self, root: Value, offset: int = 0) -> str:
        """A pointer to the memory of a root, declared at the top of the function."""
        location = self._location(root)
        key = location if isinstance(location, Variable) else root
        if key not in self._declared:
            name = self._unique(self.called(root))
            kind = c_type(root.dtype)
            start = f"({kind} *)((char *)given[0] + {location})"
            source = start if isinstance(location, int) else f"given[{self._number(key)}]"
            shape = " x ".join(map(str, root.shape)) or "one number"
            where = location.name if isinstance(location, Variable) else _scope(root)
            self._declared[key] = (
                name,
                f"{kind} *const {name} = {source}; {_comment(', '.join(filter(None, [shape, where])))}",
            )
        name, _ = self._declared[key]
        return f"{name} + {offset}" if offset else name

    def _number(self, key: Value | Variable) -> int:
        """Which of the given pointers it is."""
        if key not in self._numbers:
            self.given.append(key if isinstance(key, Value) else Value(key.value, key))
            self._numbers[key] = len(self.given)
        return self._numbers[key]

    def _unique(self, name: str) -> str:
        number, unique = 1, name
        while unique in self._taken:
            number += 1
            unique = f"{name}_{number}"
        self._taken.add(unique)
        return unique

    def called(self, value: Value) -> str:
        """What a value is, in a word: the operation whose result it is, or the call on the way to it."""
        store = self.memory.written.get(value)
        if store is not None:
            return _identifier(store.variable.name or "variable")
        origin = value.origin
        if isinstance(origin, Variable):
            return _identifier(origin.name or "variable")
        if isinstance(origin, Step):
            if value in self._last and origin.label:
                return _identifier(origin.label)
            gathered = reduction(origin)
            return _identifier(REDUCTIONS[gathered.kind] if gathered is not None else origin.function.__name__)
        if isinstance(origin, Feed):
            return "fed"
        return "x" if value in self.flow.arguments else "constant"

    # Loops

    def _nest(self, nest: Nest) -> None:
        writes = [
            (value, value) for value in nest.values if value in self.memory.starts and self.plan.home[value] is nest
        ]
        for store in nest.stores:
            writes.append((store.value, self._target(store)))
        loop = Loop(nest, self.plan, writes, self._location, self.called)
        kinds = tuple(f"{kind} *restrict {name}" for kind, name, _, _ in loop.parameters)
        key = kinds, tuple(loop.body)
        if key not in self._loops:
            name = self._unique("_".join([*self._labels(nest)[:3], "x".join(map(str, nest.shape)) or "once"]))
            self._loops[key] = name
            about = _comment(
                f"{', '.join(self._labels(nest))}, over {' x '.join(map(str, nest.shape)) or 'one number'}"
            )
            head = _wrapped(f"LOOP {name}(", list(kinds), ") {")
            self._functions.append("\n".join([about, *head, *_indented(loop.body, 1), "}", ""]))
        said = [self._address(root, offset) for _, _, root, offset in loop.parameters]
        self._lines += [*self._about(nest), *_wrapped(f"{self._loops[key]}(", said, ");")]

    def _target(self, store: Store) -> Value:
        """A root that lies in the variable's memory."""
        return Value(store.variable.value, store.variable)

    def _steps(self, nest: Nest) -> Iterable[Step]:
        return [value.origin for value in (*nest.values, *nest.reductions)]

    def _labels(self, nest: Nest) -> list[str]:
        labels = [_identifier(step.label or step.function.__name__) for step in self._steps(nest)]
        return list(dict.fromkeys(labels)) or ["copy"]

    def _about(self, nest: Nest) -> list[str]:
        scopes: dict[str, dict[str, None]] = {}
        for step in self._steps(nest):
            scopes.setdefault(step.scope, {})[step.label or step.function.__name__] = None
        said = [f"{scope + ': ' if scope else ''}{', '.join(labels)}" for scope, labels in scopes.items()]
        return [_comment("; ".join(said))]

    # Products and copies

    def _product(self, group: Product) -> None:
        step = group.result.origin
        kind = c_type(group.result.dtype)
        m, k, n = group.a.shape[-2], group.a.shape[-1], group.b.shape[-1]
        alpha, beta = self._number_at(group.alpha, "1"), self._number_at(group.beta, "0")
        batch = np.broadcast_shapes(group.a.shape[:-2], group.b.shape[:-2])
        starts = [place.along((*batch, *place.shape[-2:]))[: len(batch)] for place in (group.a, group.b)]
        loops = _merged(batch, [packed(batch), *starts])
        turned_a, lda = _leading(group.a)
        turned_b, ldb = _leading(group.b)
        a = self._stepping(self._address(group.a.root, group.a.offset), loops, starts[0])
        b = self._stepping(self._address(group.b.root, group.b.offset), loops, starts[1])
        c = self._stepping(self._address(group.result), loops, tuple(stride * m * n for stride in packed(batch)))
        said = [turned_a, turned_b, m, n, k, f"{'-' * group.negative}{alpha}", a, lda, b, ldb, beta, c, n]
        about = f"{step.scope + ': ' if step.scope else ''}{step.label or 'product'}: {m} x {k} times {k} x {n}"
        self._lines.append(_comment(about + (", into the velocity" if group.negative else "")))
        for level, (length, _) in enumerate(loops):
            index = "ijklmnop"[level]
            self._lines += _indented([f"for (long {index} = 0; {index} < {length}; {index}++)"], level)
        self._lines += _indented(_wrapped(f"gemm_{kind}(", list(map(str, said)), ");"), len(loops))

    def _number_at(self, value: Any, absent: str) -> str:
        if value is None:
            return absent
        number = self.plan.uniform(value)
        return f"*{self._address(self.plan.place(value).root)}" if number is None else literal(number, value.dtype)

    def _stepping(self, pointer: str, loops: list[tuple[int, int]], strides: Any) -> str:
        steps = [f"{strides[axis]} * {'ijklmnop'[level]}" for level, (_, axis) in enumerate(loops) if strides[axis]]
        return " + ".join([pointer, *steps])

    def _join(self, group: Joining) -> None:
        """Copy the parts, each a block of rows."""
        kind, start = c_type(group.result.dtype), 0
        step = group.result.origin
        self._lines.append(_comment(f"{step.scope + ': ' if step.scope else ''}{step.label or 'concatenate'}"))
        steps = packed(group.result.shape)
        for place in group.parts:
            loops = _merged(place.shape, [place.strides, steps])
            target = self._address(group.result, start * steps[group.axis])
            source = self._address(place.root, place.offset)
            for level, (length, _) in enumerate(loops):
                index = "ijklmnop"[level]
                self._lines += _indented([f"for (long {index} = 0; {index} < {length}; {index}++)"], level)
            to = self._stepping(f"({target})[0", loops, steps)
            of = self._stepping(f"({source})[0", loops, place.strides)
            self._lines += _indented([f"{to}] = {of}];"], len(loops))
            start += place.shape[group.axis]
        assert kind

    def _copy(self, store: Store) -> None:
        if not store.variable.value.flags.c_contiguous:
            raise Inexpressible("a variable that does not lie row by row")
        target, source = self._address(self._target(store)), self._address(store.value)
        self._lines.append(_comment(f"{store.variable.name or 'a variable'} takes its new value"))
        self._lines.append(f"memcpy({target}, {source}, {store.variable.value.nbytes});")


_HEAD = """#include "runtime.h"
#include "arithmetic.h"

#define LOOP static __attribute__((noinline)) void
"""
_SECTIONS = ("Everything that is computed.", "Updates of variables, called if their conditions hold.")
_WORDS = """auto break case char const continue default do double else enum extern float for goto if inline int long
    register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while asm
    typeof linux unix given host loop isnan isinf isfinite signbit memcpy"""
_RESERVED = {*_WORDS.split(), *VARIABLES}
"""Words that mean something else in C, or in the text around."""


def _last_of_their_kind(flow: Flow) -> set[Value]:
    """The values that other operations use, as against those on the way within one."""
    found = set(flow.ends())
    for step in flow.steps:
        for value in step.inputs():
            maker = value.origin
            if isinstance(maker, Step) and (maker.label, maker.scope, maker.place) != (
                step.label,
                step.scope,
                step.place,
            ):
                found.add(value)
    return found


def _identifier(name: str) -> str:
    word = re.sub(r"\W+", "_", name.rpartition(".")[2], flags=re.ASCII).strip("_").lower() or "value"
    return f"_{word}" if word[0].isdigit() else f"{word}_" if word in _RESERVED else word


def _scope(root: Value) -> str:
    return root.origin.scope if isinstance(root.origin, Step) else ""


def _comment(said: str) -> str:
    return f"/* {said.replace('*/', '* /')} */"


def _leading(place: Place) -> tuple[int, int]:
    """Whether a matrix lies transposed, and how far apart its rows, or then its columns, are."""
    rows, columns = place.shape[-2:]
    down, across = place.strides_matter()[-2:]
    if across == 1 and (down >= columns or rows == 1):
        return 0, max(down, columns)
    return 1, max(across, rows)


def _wrapped(head: str, parts: list[str], tail: str) -> list[str]:
    """A call, or the head of a function, in lines that are not too long."""
    lines = [head]
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        piece = part + (tail if last else ", ")
        if len(lines[-1]) + len(piece) > _WIDTH - 8:
            lines[-1] = lines[-1].rstrip()
            lines.append(" " * 8)
        lines[-1] += piece
    return lines if parts else [head + tail]


def _operation(step: Step) -> tuple[str, str, str]:
    return step.label, step.scope, step.place
