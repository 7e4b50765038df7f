"""When nothing is said, every function does what docs/semantics.md says."""

import ast
import inspect
import math
from pathlib import Path

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.ops.defaults import DEFAULTS, table
from tinygrad_bn import ops
from tinygrad_bn.primitives import Function

TESTS = Path(__file__).parents[1]
SEMANTICS = (TESTS.parent / "docs" / "semantics.md").read_text("utf-8")
X = np.random.default_rng(0).uniform(-2, 2, (3, 4))


def normal_cdf(x):
    return (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def settings(function):
    """The defaults of the settings, and the names of those that have none."""
    if isinstance(function, Function):
        return function.defaults, set(function.settings) - set(function.defaults)
    parameters = inspect.signature(function).parameters.values()
    required = {p.name for p in parameters if p.default is p.empty}
    return {p.name: p.default for p in parameters if p.default is not p.empty}, required


@pytest.mark.parametrize("default", DEFAULTS, ids=lambda default: default.name)
def test_default(default):
    function = getattr(ops, default.name)
    said = ast.parse(f"def f({default.signature.split('(', 1)[1][:-1]}): pass").body[0].args
    names = [arg.arg for arg in said.args][len(said.args) - len(said.defaults) :]
    values = {name: eval(ast.unparse(value)) for name, value in zip(names, said.defaults, strict=True)}
    values |= {a.arg: eval(ast.unparse(v)) for a, v in zip(said.kwonlyargs, said.kw_defaults, strict=True) if v}
    given, required = settings(function)
    assert values == given
    assert required <= {arg.arg for arg in [*said.args, *said.kwonlyargs]}
    expected = eval(default.formula, {"np": np, "x": X, "normal_cdf": normal_cdf})
    np.testing.assert_allclose(eval(default.called, {**vars(ops), "np": np, "x": X}), expected, rtol=1e-13, atol=1e-15)


def test_every_function_with_a_default_is_in_the_table():
    public = {name: getattr(ops, name) for name in ops.__all__ if name not in ("generator",)}
    assert {name for name, function in public.items() if settings(function)[0]} <= {d.name for d in DEFAULTS}


def test_the_documentation_prints_this_table():
    assert table() in SEMANTICS


def test_a_layers_default_is_its_functions():
    pairs = {"leaky_relu": tg.layers.LeakyReLU, "elu": tg.layers.ELU}
    for name, layer in pairs.items():
        alpha = inspect.signature(layer).parameters["alpha"].default
        assert getattr(ops, name).defaults == {"alpha": alpha}
