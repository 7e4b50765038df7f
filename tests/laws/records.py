"""Laws about what is written down of a function: its text, its names, its label, its settings."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
import re
from functools import cache
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest

from tests.laws.lawbook import everything, law
from tests.laws.subjects import Primitive, sample, settings
from tinygrad_bn.tensors import Tensor


@law(everything)
def label_can_be_drawn(function, case):
    """The label takes the settings into its braces and is one line of plain ASCII."""
    label = function.label.format(**settings(function, case))
    assert label.strip() == label != ""
    assert label.isascii()
    assert label.isprintable()


@law(everything, about_cases=False)
def docstring_says_what_it_is(function, case):
    """The docstring begins with a formula or promise on one line of its own, and speaks of every setting."""
    first, *rest = inspect.cleandoc(function.__doc__ or "").split("\n")
    assert first.strip(), "no docstring"
    assert not rest or not rest[0].strip(), "the first line runs on"
    for setting in function.settings:
        assert re.search(rf"\b{setting}\b", function.__doc__), f"{setting} is not explained"


@law(everything, about_cases=False)
def is_itself_when_copied(function, case):
    """Pickles and copies of a function are that function."""
    assert pickle.loads(pickle.dumps(function)) is function
    assert copy.deepcopy(function) is function
    assert copy.copy(function) is function


@law(everything)
def settings_follow_by_position(function, case):
    """Settings may follow the arrays in their order, as NumPy's users type; arrays of any number come as a list."""
    arrays, chosen = sample(function, case), settings(function, case)
    leading = [arrays] if function.arity is None else arrays
    by_name = function(*arrays, **chosen)
    by_position = function(*leading, *(settings(function, case)[key] for key in function.settings))
    np.testing.assert_array_equal(by_position, by_name)


@law(everything)
def unknown_settings_are_answered(function, case):
    """A setting that is not there raises a TypeError that names the function, the settings and the nearest one."""
    arrays, chosen = sample(function, case), settings(function, case)
    for setting in [*function.settings, "colour"]:
        typo = setting[:-1]
        with pytest.raises(TypeError) as caught:
            function(*arrays, **{**chosen, typo: 1})
        said = str(caught.value)
        assert f"unknown argument '{typo}' in {function.__name__}()" in said
        assert all(known in said for known in function.settings)
        assert setting == "colour" or f"Did you mean '{setting}'?" in said


@law(lambda function, case: bool(function.arity), about_cases=False)
def too_few_arrays_are_answered(function, case):
    """Too few arrays raise a TypeError that names the function and says how many it takes."""
    with pytest.raises(TypeError, match=rf"{function.__name__} expects {function.arity} array"):
        function(*sample(function, case)[:-1])


@law(everything, about_cases=False)
def what_is_fixed_is_no_tensor(function, case):
    """A Tensor in the place of a setting raises a TypeError, since its gradient would be lost."""
    for setting in function.settings:
        with pytest.raises(TypeError, match=rf"{function.__name__} expects {setting} to be a fixed setting"):
            function(*sample(function, case), **{**settings(function, case), setting: Tensor(np.ones(1))})


SCATTERS = {"put"}  # writes into zeros of its own: what it does is to write


@law(everything, about_cases=False)
def is_written_as_a_formula(function, case):
    """Forward, rules and helpers hold no `**`, no errstate, no `out=`, and write to no element of an array.

    `x ** 2` is one function on NumPy's scalars and another on its arrays; errstate is invisible to who reads a forward.
    """
    found = list(texts(function))
    assert found or isinstance(function.forward, np.ufunc), "its text was not found"
    for text in found:
        for node in ast.walk(text):
            where = f"{function.__name__}, line {getattr(node, 'lineno', 0)}"
            assert not isinstance(node, ast.Pow), f"{where}: ** (write square, sqrt or power)"
            assert getattr(node, "attr", getattr(node, "id", "")) != "errstate", f"{where}: errstate"
            assert not (isinstance(node, ast.keyword) and node.arg == "out"), f"{where}: out="
            writes = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)
            assert not writes or function.__name__ in SCATTERS, f"{where}: an element is written"


def texts(function):
    """The syntax trees of the forward, the rules, and the plain functions of their modules that these name."""
    rules = list(function.rules)[:4] if isinstance(function, Primitive) and function.arity else []
    if isinstance(function, Primitive) and function.arity is None:
        rules = [next(iter(function.rules)).func]
    waiting = [f for f in (function.forward, *rules) if isinstance(f, FunctionType)]
    seen = set()
    while waiting:
        written = waiting.pop()
        if written in seen:
            continue
        seen.add(written)
        named = [written.__globals__.get(word) for word in written.__code__.co_names]
        waiting += [f for f in named if isinstance(f, FunctionType) and f.__module__ == written.__module__]
        yield from _trees(written)


def _trees(written):
    """The body of a function; for a lambda those of all lambdas on its line."""
    first = written.__code__.co_firstlineno
    for node in ast.walk(_parsed(written.__code__.co_filename)):
        if isinstance(node, ast.FunctionDef):
            start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if (node.name, start) == (written.__name__, first):
                yield from node.body
        elif isinstance(node, ast.Lambda) and (written.__name__, node.lineno) == ("<lambda>", first):
            yield node.body


@cache
def _parsed(path):
    return ast.parse(Path(path).read_text("utf-8"))
