"""Emitting: a flow as one C file, in which a person can read what the step computes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tinygrad_bn.capturing.flow import Feed, Flow, Step, Store, Value
from tinygrad_bn.capturing.native.dialect import REDUCTIONS, Inexpressible, c_type, reduction
from tinygrad_bn.capturing.native.fusing import Plan
from tinygrad_bn.capturing.native.groups import Group, Joining, Nest, Product
from tinygrad_bn.capturing.native.looping import Loop
from tinygrad_bn.capturing.native.memory import Memory
from tinygrad_bn.capturing.native.sharing import Cut, part, whole_lines
from tinygrad_bn.capturing.native.statements import joining, product
from tinygrad_bn.capturing.native.wording import comment, identifier, indented, unique, wrapped
from tinygrad_bn.variables import Variable


class Source:
    """The C text of a flow.

    Attributes:
        portable: whether it is for any compiler, and one thread.
        head, loop, function: the lines before all others, and how the functions of loops, and those for callers, begin.
        text: the whole file.
        given: the roots whose addresses the functions are given, behind that of the block of memory.
        commits: whether updates wait for Python to look at checks and conditions; else `compute` carries them out.
        used: the values that have memory of their own, and are read.

    Raises:
        Inexpressible: the flow does something that C is not told here.
    """

    portable = False
    head: Sequence[str] = (
        '#include "runtime.h"',
        '#include "arithmetic.h"',
        "",
        "#define LOOP static __attribute__((noinline)) void",
        "",
    )
    loop, function = "LOOP", "EXPORT void"

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.plan = Plan(flow)
        self.memory = Memory(self.plan)
        self.given: list[Value] = list(flow.arguments)
        self.commits = bool(self.plan.asked and (flow.stores or flow.counters))
        self._counters: dict[int, Value] = {}
        self._numbers: dict[Any, int] = {value: number for number, value in enumerate(self.given, 1)}
        self._last = _last_of_their_kind(flow)
        self._loops: dict[Any, str] = {}
        self._functions: dict[str, str] = {}
        self._uses: dict[str, dict[str, None]] = {}
        self._declared: dict[Any, tuple[str, str]] = {}
        self._last_at: dict[Any, str] = {}
        self._lines: list[str] = []
        self._taken: set[str] = set()
        self._end = self.memory.nbytes
        bodies = [self._section(section) for section in range(len(self.plan.sections))]
        bodies += [self._commit()] if self.commits else []
        loops = [line for name, text in self._functions.items() for line in (*_told(self._uses[name]), text)]
        self.memory.nbytes = self._end
        self.used = {place.root for place in self.plan.places.values()}
        self.text = "\n".join([*self.head, *loops, *bodies])

    def _section(self, section: int) -> str:
        """The function of a section: the first computes, each other one updates what depends on the same conditions."""
        self._begin()
        for group in self.plan.groups:
            if group.key[0] == section:
                self._group(group)
        for number, store in self.memory.copied:
            if number == section:
                self._copy(store)
        if section > 0:
            return self._ended("Updates of variables.", f"static void commit_{section}")
        if not self.commits:
            self._count()
        return self._ended("Everything that is computed.", f"{self.function} compute")

    def _commit(self) -> str:
        """The function that carries out all updates whose conditions hold: in one call, so that none goes without."""
        self._begin()
        for section, conditions in list(enumerate(self.plan.sections))[1:]:
            self._lines.append(f"{self._where(conditions)}commit_{section}(given);")
        self._count()
        return self._ended("All updates whose conditions hold.", f"{self.function} commit")

    def _where(self, conditions: Iterable[Value]) -> str:
        """What stands before a statement that is carried out where all these hold."""
        asked = " && ".join(f"*{self._address(self.plan.handed[condition])}" for condition in conditions)
        return f"if ({asked}) " if asked else ""

    def _count(self) -> None:
        """Let the counters grow."""
        for counter, conditions in self.flow.counters:
            root = self._counters.setdefault(id(counter), Value(counter, Feed(None, counter)))
            self._lines.append(f"{self._where(conditions)}++*{self._address(root)};")

    def _begin(self) -> None:
        """Begin a function; names stay taken, so that no two functions use one for two things."""
        self._declared, self._lines, self._last_at = {}, [], {}

    def _ended(self, about: str, head: str) -> str:
        """The text of the function."""
        declarations = [line for _, line in self._declared.values()]
        lines = [*declarations, "", *self._lines] if declarations else self._lines or ["(void)given;"]
        return "\n".join([f"/* {about} */", f"{head}(void *const *given) {{", *indented(lines, 1), "}", ""])

    def _group(self, group: Group) -> None:
        if isinstance(group, Nest):
            self._nest(group)
        elif isinstance(group, Product):
            self._lines += product(group, self.plan, self._address)
        elif isinstance(group, Joining):
            self._lines += joining(group, self._address)

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
            where = self._path(location) if isinstance(location, Variable) else _scope(root)
            before = f"where {self._last_at[location]} was" if location in self._last_at else ""
            if isinstance(location, int):
                self._last_at[location] = name
            about = comment(", ".join(filter(None, [shape, where, before])))
            self._declared[key] = name, f"{kind} *const {name} = {source}; {about}"
        name, _ = self._declared[key]
        return f"{name} + {offset}" if offset else name

    def _path(self, variable: Variable) -> str:
        """What a variable is called in comments: its path in the modules."""
        return self.flow.names.get(variable) or variable.name or ""

    def _number(self, key: Value | Variable) -> int:
        """Which of the given pointers it is."""
        if key not in self._numbers:
            self.given.append(key if isinstance(key, Value) else Value(key.value, key))
            self._numbers[key] = len(self.given)
        return self._numbers[key]

    def _unique(self, name: str) -> str:
        return unique(name, self._taken)

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
            return "counter" if value in self._counters.values() else "fed"
        return "x" if value in self.flow.arguments else "constant"

    # Loops

    def _nest(self, nest: Nest) -> None:
        writes = [
            (value, value) for value in nest.values if value in self.memory.starts and self.plan.home[value] is nest
        ]
        for store in nest.stores:
            writes.append((store.value, self._target(store)))
        loop = Loop(nest, self.plan, writes, self._location, self.called, self.portable)
        pointers = tuple(f"{kind} *restrict {name}" for kind, name, _, _ in loop.parameters)
        key = pointers, tuple(loop.body), loop.cut and nest.shape
        if key not in self._loops:
            self._loops[key] = self._unique("_".join([*self._labels(nest)[:3], _sizes(nest) or "once"]))
            self._functions[self._loops[key]] = self._function(self._loops[key], nest, loop, pointers)
        about = self._about(nest)
        self._uses.setdefault(self._loops[key], {})[f"{about}, over {_sizes(nest, ' x ') or 'one number'}"] = None
        self._lines.append(comment(about))
        name, said = self._loops[key], [self._address(root, offset) for _, _, root, offset in loop.parameters]
        if loop.cut is None:
            self._lines += wrapped(f"{name}(", said, ");")
        else:
            self._lines += self._shared(name, said, loop, loop.cut)

    def _function(self, name: str, nest: Nest, loop: Loop, pointers: Sequence[str]) -> str:
        """The function of a loop nest, and what does a part of it where threads share it."""
        span = ["long first", "long last"] if loop.cut else []
        lines = wrapped(f"{self.loop} {name}(", [*pointers, *span], ") {")
        lines += [*indented(loop.body, 1), "}"]
        if loop.cut is not None:
            blocked = [root in loop.blocked and (kind, root.sample.size) for kind, _, root, _ in loop.parameters]
            lines += ["", *part(name, loop.cut, blocked)]
        return "\n".join([*lines, ""])

    def _shared(self, name: str, said: list[str], loop: Loop, cut: Cut) -> list[str]:
        """A call by all threads. The sums of blocks lie behind all else in memory, and are added at once."""
        adding, start = [], self.memory.nbytes
        for place, (kind, _, root, _) in enumerate(loop.parameters):
            if root in loop.blocked:
                size, apart = root.sample.size, whole_lines(root.sample.size)
                blocks = self._blocks(kind, start)
                adding.append(f"add_blocks_{kind}({said[place]}, {size}, {blocks}, {cut.blocks}, {apart});")
                said[place] = blocks
                start += cut.blocks * apart * root.sample.itemsize
        self._end = max(self._end, start)
        sizes = f"{cut.blocks}, 1" if cut.blocks else f"{cut.passes}, {cut.grain}"
        return [*wrapped(f"share(part_of_{name}, {sizes}, (void *[]){{", said, "});"), *adding]

    def _blocks(self, kind: str, start: int) -> str:
        """A pointer to the sums of blocks, declared at the top of the function."""
        key = kind, start
        if key not in self._declared:
            name = self._unique("blocks")
            self._declared[key] = name, f"{kind} *const {name} = ({kind} *)((char *)given[0] + {start});"
        return self._declared[key][0]

    def _target(self, store: Store) -> Value:
        """A root that lies in the variable's memory."""
        return Value(store.variable.value, store.variable)

    def _steps(self, nest: Nest) -> Iterable[Step]:
        return [value.origin for value in (*nest.values, *nest.reductions)]

    def _labels(self, nest: Nest) -> list[str]:
        labels = [_identifier(step.label or step.function.__name__) for step in self._steps(nest)]
        return list(dict.fromkeys(labels)) or ["copy"]

    def _about(self, nest: Nest) -> str:
        scopes: dict[str, dict[str, None]] = {}
        for step in self._steps(nest):
            scopes.setdefault(step.scope, {})[step.label or step.function.__name__] = None
        said = [f"{scope + ': ' if scope else ''}{', '.join(labels)}" for scope, labels in scopes.items()]
        stored = ", ".join(filter(None, [self._path(store.variable) for store in nest.stores]))
        return "; ".join([*said, *([f"into {stored}"] if stored else [])]) or "copy"

    def _copy(self, store: Store) -> None:
        if not store.variable.value.flags.c_contiguous:
            raise Inexpressible("a variable that does not lie row by row")
        target, source = self._address(self._target(store)), self._address(store.value)
        self._lines.append(comment(f"{self._path(store.variable) or 'a variable'} takes its new value"))
        self._lines.append(f"memcpy({target}, {source}, {store.variable.value.nbytes});")


def _told(uses: Iterable[str]) -> list[str]:
    """What a function is for, as comments."""
    first, *others = uses
    return [
        comment(first),
        *map(comment, others[:2]),
        *([comment(f"and {len(others) - 2} more")] if others[2:] else []),
    ]


def _last_of_their_kind(flow: Flow) -> set[Value]:
    """The values that other operations use, as against those on the way within one."""
    found = set(flow.ends())
    for step in flow.steps:
        for value in step.inputs:
            maker = value.origin
            if isinstance(maker, Step) and (maker.label, maker.scope, maker.place) != (
                step.label,
                step.scope,
                step.place,
            ):
                found.add(value)
    return found


def _identifier(name: str) -> str:
    return identifier(name.rpartition(".")[2])


def _scope(root: Value) -> str:
    return root.origin.scope if isinstance(root.origin, Step) else ""


def _sizes(nest: Nest, between: str = "x") -> str:
    return between.join(map(str, nest.shape))
