"""An argument that a class or a function does not have is answered with the one that was meant: everywhere."""

from inspect import Parameter, signature

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.primitives import Primitive

MADE_BY_OTHERS = {"Tensor", "diagnostics.LayerFlow"}  # by tg.tensor, and by tg.gradient_flow
MODULES = [name for name in dir(tg) if name in tg._MODULES]


def named(module, prefix=""):
    """What is public there, by name: what `__all__` lists, or else what is defined there."""
    listed = getattr(module, "__all__", None)
    for name in listed or dir(module):
        thing = getattr(module, name)
        ours = str(getattr(thing, "__module__", "")).startswith(module.__name__)
        if callable(thing) and not name.startswith("_") and (listed or ours):
            yield prefix + name, thing


def settings(thing):
    """The names of its arguments that have a default; primitives have laws of their own."""
    arguments = () if isinstance(thing, Primitive) else signature(thing).parameters.values()
    return [
        each.name for each in arguments if each.default is not Parameter.empty and each.kind is not each.POSITIONAL_ONLY
    ]


def required(thing):
    arguments = signature(thing).parameters.values()
    return [
        np.ones(2) for each in arguments
        if each.default is Parameter.empty and each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]  # fmt: skip


PUBLIC = dict(named(tg)) | {n: t for m in MODULES for n, t in named(getattr(tg, m), f"{m}.")}
TAKING = {name: thing for name, thing in PUBLIC.items() if name not in MADE_BY_OTHERS and settings(thing)}


@pytest.mark.parametrize("name", TAKING)
def test_a_mistyped_argument_is_answered_with_the_right_one(name):
    thing = TAKING[name]
    for setting in settings(thing):
        with pytest.raises(TypeError, match=rf"unknown argument '{setting}x' in \w+\(\)\. .*Choices: .*\b{setting}\b"):
            thing(*required(thing), **{f"{setting}x": None})
