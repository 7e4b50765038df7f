"""When nothing is said, every class and method does what docs/semantics.md says; so do Keras and PyTorch."""

import ast
import inspect
import os
import re
from functools import reduce

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.docs.pages import ROOT
from tests.docs.settings import SETTINGS, table
from tinygrad_bn import layers, losses, ops

SEMANTICS = (ROOT / "semantics.md").read_text("utf-8")
MODULES = "optimizers schedules losses regularizers constraints layers initializers callbacks metrics activations"
EVERYWHERE = {"seed", "rng", "input_shape"}
OF_LAYERS = {"name", "dtype", "trainable"}
every_setting = pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.path)


def found(library, path):
    return reduce(getattr, path.split("."), library)


def arguments(thing):
    """The arguments of a function or of a constructor, by name."""
    return inspect.signature(thing.__init__ if isinstance(thing, type) else thing).parameters


def defaults(thing):
    """Those that have a default, with it."""
    return {name: p.default for name, p in arguments(thing).items() if p.default is not p.empty}


def own(thing):
    """The defaults that are not the same everywhere, or in all layers."""
    shared = OF_LAYERS if isinstance(thing, type) and issubclass(thing, layers.Layer) else set()
    return {name: value for name, value in defaults(thing).items() if name not in EVERYWHERE | shared}


@every_setting
def test_our_defaults(setting):
    said = ", ".join(f"{name}={value!r}" for name, value in own(found(tg, setting.path)).items())
    assert setting.here == f"{setting.path}({said})"


def same(ours, theirs):
    """Whether two defaults mean the same: names are no matter of capitals, numbers none of types."""
    both = [value.lower() if isinstance(value, str) else value for value in (ours, theirs)]
    return both[0] == both[1]


def assert_is_as_told(library, setting, peer):
    """For each of our defaults the other library has the one that the table says; where that is, the same."""
    thing, ours = found(library, peer.path), own(found(tg, setting.path))
    theirs, known = defaults(thing), arguments(thing)
    assert peer.differs.keys() <= ours.keys()
    for name, value in ours.items():
        told = peer.differs.get(name)
        if told is None:
            assert same(value, theirs[name]), f"{name}: {theirs[name]}"
        elif told == "":
            assert name not in known
        else:
            other, _, default = told.partition("=")
            assert (theirs[other] == ast.literal_eval(default)) if default else (other in known.keys() - theirs.keys())
            assert other != name or not same(value, theirs.get(name)), f"{name} does not differ"


@pytest.mark.parametrize("setting", [s for s in SETTINGS if s.torch], ids=lambda setting: setting.path)
def test_pytorchs_defaults(setting):
    assert_is_as_told(pytest.importorskip("torch", exc_type=ImportError), setting, setting.torch)


@pytest.mark.parametrize("setting", [s for s in SETTINGS if s.keras], ids=lambda setting: setting.path)
def test_kerass_defaults(setting, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "numpy"))
    assert_is_as_told(pytest.importorskip("keras", exc_type=ImportError), setting, setting.keras)


def public():
    """Whatever is public and can be called, by its path, but for functions of arrays."""
    for home in MODULES.split():
        module = getattr(tg, home)
        listed = getattr(module, "__all__", [])
        for name, thing in vars(module).items():
            here = name in listed or (not listed and getattr(thing, "__module__", "") == module.__name__)
            if here and isinstance(thing, type) and name == thing.__name__ and not name.startswith("_"):
                yield f"{home}.{name}", thing
    for name in dir(tg.Model):
        if inspect.isfunction(getattr(tg.Model, name)) and name in vars(tg.Model) and not name.startswith("_"):
            yield f"Model.{name}", getattr(tg.Model, name)
    for name in set(dir(tg)) - set(ops.__all__):
        if inspect.isfunction(getattr(tg, name)):
            yield name, getattr(tg, name)


INNER = {"optimizers.Rate", "primitive", "no_grad"}  # for whoever writes an optimizer or a primitive; a decorator


def test_nothing_with_a_default_is_missing():
    assert {path for path, thing in public() if own(thing)} - INNER == {setting.path for setting in SETTINGS}


def test_what_is_left_out_of_the_table_is_none_everywhere():
    for path, thing in public():
        for name, value in defaults(thing).items():
            assert name not in EVERYWHERE or value is None or path in ("gradcheck", "taylor_test"), path


def test_the_documentation_prints_this_table():
    assert table() in SEMANTICS


def test_what_all_layers_are_unless_something_is_said():
    layer = layers.ReLU()
    assert (layer.name, layer.dtype, layer.trainable, layer.input_shape) == (None, np.float32, True, None)


def test_the_epsilon_of_the_losses():
    assert losses.EPSILON == 1e-7
    assert re.search(r"`losses.EPSILON` is 1e-7", SEMANTICS)


def test_pytorch_keeps_logarithms_of_probabilities_above_minus_100():
    torch = pytest.importorskip("torch", exc_type=ImportError)
    assert torch.nn.BCELoss()(torch.tensor([0.0]), torch.tensor([1.0])).item() == 100
