"""Observing: which of the user's functions run while a step is recorded, and whose methods they are."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterable
from functools import cache, partial
from types import CellType, CodeType, FrameType, FunctionType, MethodType
from typing import Any

from tinygrad_bn.capturing.keys import OURS, own, tells, users_classes


class Text:
    """The text of a function of the user's that has run.

    Attributes:
        code: the text itself.
        table: the global variables of its module.
        closures: what the variables of its closure stood for, by identity, since nothing of a recording may be held.
    """

    __slots__ = ("closures", "code", "table")

    def __init__(self, code: CodeType, table: dict[str, Any]) -> None:
        self.code, self.table = code, table
        self.closures: set[tuple[int, ...]] = set()


class Observer:
    """Runs a function, and is told of each call in it by Python's tracing.

    Attributes:
        saw_all: whether it was told of all: not if somebody has turned the tracing off.

    The user's texts are all but ours, those of Python's library, and those of installed packages from which neither the
    function comes nor a layer, a loss or the like.
    """

    def __init__(self, function: Any) -> None:
        self._function = function
        self._homes: set[str] = set()
        self._before: Any = None
        self.saw_all = True
        self._others: dict[int, CodeType] = {}
        self._texts: dict[tuple[int, int], Text] = {}
        self._owners: dict[int, weakref.ref[Any]] = {}
        for each in _functions(function):  # what will run is known before it does
            self._homes.add(str(each.__module__).partition(".")[0])
            self._text(each.__code__, each.__globals__, None)

    def __call__(self, *args: Any, **named: Any) -> Any:
        """What the function gives. Debuggers and the like, which trace too, go on doing so."""
        self._before = sys.gettrace()
        try:
            sys.settrace(self._called)
            return self._function(*args, **named)
        finally:
            self.saw_all = sys.gettrace() == self._called
            if sys.gettrace() in (self._called, None):
                sys.settrace(self._before)

    def texts(self) -> Iterable[Text]:
        """The user's texts that have run."""
        return self._texts.values()

    def owners(self) -> list[Any]:
        """The things and classes of the user's whose methods have run, and that are still there."""
        return [owner for reference in self._owners.values() if (owner := reference()) is not None]

    def hidden(self, known: Iterable[FunctionType]) -> list[FunctionType]:
        """The functions with a closure that have run, besides those known: only the collector knows where they are.

        Those that were made in the step have what they close over from there.
        """
        made = {id(constant) for text in self.texts() for constant in text.code.co_consts}
        seen = {(id(function.__code__), _closure(function)) for function in known}
        sought: dict[int, set[tuple[int, ...]]] = {}
        for text in self.texts():
            left = {each for each in text.closures if (id(text.code), each) not in seen}
            if left and id(text.code) not in made:
                sought.setdefault(id(text.code), set()).update(left)
        holders = gc.get_referrers(*[text.code for text in self.texts() if id(text.code) in sought]) if sought else ()
        functions = [each for each in holders if type(each) is FunctionType]
        return [each for each in functions if _closure(each) in sought.get(id(each.__code__), ())]

    def _called(self, frame: FrameType, event: str, arg: Any) -> Any:
        if id(frame.f_code) not in self._others:
            self._note(frame)
        if self._before is None:
            return None
        following = self._before(frame, event, arg)
        if sys.gettrace() is self._before:  # a tracer written in C puts itself in the place of who calls it
            sys.settrace(self._called)
        return following

    def _note(self, frame: FrameType) -> None:
        code, local = frame.f_code, frame.f_locals
        owner: Any = local.get(code.co_varnames[0]) if code.co_argcount else None  # of a method, whose it is
        text = self._text(code, frame.f_globals, owner)
        if text is not None and code.co_freevars not in ((), ("__class__",)):
            text.closures.add(tuple([id(local.get(name)) for name in code.co_freevars]))
        kind = type(owner)
        if text is not None and kind.__weakrefoffset__ and users_classes(owner if issubclass(kind, type) else kind):
            self._owners[id(owner)] = weakref.ref(owner)

    def _text(self, code: CodeType, table: dict[str, Any], owner: Any) -> Text | None:
        text = self._texts.get((id(code), id(table)))
        if text is None and self._is_users(code, table, owner):
            text = self._texts[id(code), id(table)] = Text(code, table)
        elif text is None:
            self._others[id(code)] = code
        return text

    def _is_users(self, code: CodeType, table: dict[str, Any], owner: Any) -> bool:
        name = str(table.get("__name__"))
        package = name.partition(".")[0]
        if code.co_name == "<module>" or f"{name}.".startswith(OURS) or package in sys.stdlib_module_names:
            return False
        if tells(type(owner)):
            self._homes.add(package)
        return package in self._homes or "-packages" not in str(table.get("__file__"))


def _functions(function: Any) -> list[FunctionType]:
    """The functions of Python's that run where this is called, as far as it says so."""
    kind = type(function)
    if issubclass(kind, MethodType):
        return _functions(function.__func__)
    if issubclass(kind, partial):
        return _functions(function.func)
    inner = _functions(own(function)["__wrapped__"]) if "__wrapped__" in own(function) else []
    called: Any = function if issubclass(kind, FunctionType) else kind.__call__
    return [called, *inner] if issubclass(type(called), FunctionType) else inner


def _closure(function: FunctionType) -> tuple[int, ...]:
    return tuple([id(content(cell)) for cell in function.__closure__ or ()])


def content(cell: CellType) -> Any:
    """What a variable of a closure stands for; None before it stands for anything."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


@cache
def names(code: CodeType) -> tuple[list[str], list[str]]:
    """The global variables that a text names, and the modules that it imports."""
    from dis import get_instructions  # what only a new function pays for

    steps = [(step.opname, step.argval) for step in get_instructions(code)]
    variables = [name for kind, name in steps if kind in ("LOAD_GLOBAL", "LOAD_NAME")]
    return list(dict.fromkeys(variables)), [name for kind, name in steps if kind == "IMPORT_NAME"]
