"""The public names: all there, none in the way of another, and cheap to import."""

import pkgutil
import subprocess
import sys
from importlib import import_module
from types import ModuleType

import pytest

import tinygrad_bn as tg

MODULES = [
    info.name for info in pkgutil.walk_packages(tg.__path__, "tinygrad_bn.") if not info.name.endswith("__main__")
]
PACKAGES = [name for name in MODULES if hasattr(import_module(name), "__path__")]
HEAVY = {
    "argparse", "asyncio", "csv", "dataclasses", "difflib", "graphviz", "importlib.metadata", "inspect", "logging",
    "matplotlib", "numpy.random", "numpy.typing", "tempfile", "tqdm", "unittest", "zipfile",
}  # fmt: skip


def in_a_fresh_process(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.split()


@pytest.mark.parametrize("package", ["tinygrad_bn", *PACKAGES])
def test_no_public_name_is_that_of_a_submodule(package):
    """Else the second access would give the module."""
    home = import_module(package)
    for name in (info.name for info in pkgutil.iter_modules(home.__path__)):
        if name in dir(home):
            assert isinstance(getattr(home, name), ModuleType), f"{package}.{name}"


def test_every_public_name_can_be_had():
    for name in dir(tg):
        assert getattr(tg, name) is getattr(tg, name), name


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(AttributeError, match="Did you mean 'softmax'"):
        _ = tg.sofmax


KNOWN = {
    "activations": "softmax", "callbacks": "EarlyStopping", "constraints": "MaxNorm", "datasets": "load_digits",
    "diagnostics": "GradientFlow", "initializers": "HeNormal", "layers": "Dense", "losses": "Huber",
    "metrics": "accuracy", "models": "Sequential", "optimizers": "SGD", "regularizers": "L1L2",
    "schedules": "OneCycle", "testing": "assert_gradients",
}  # fmt: skip


@pytest.mark.parametrize("name", tg._MODULES)
def test_every_public_module_answers_an_unknown_name_with_the_nearest(name):
    known = KNOWN[name]
    with pytest.raises(AttributeError, match=f"'{known}s' in tinygrad_bn.{name}. Did you mean '{known}'.* Choices: "):
        getattr(getattr(tg, name), f"{known}s")


def test_the_import_loads_nothing_heavy():
    program = "import sys, numpy; before = set(sys.modules); import tinygrad_bn; print(*set(sys.modules) - before)"
    loaded = in_a_fresh_process(program)
    assert "tinygrad_bn.tensors" in loaded
    assert not HEAVY & set(loaded)
    assert not {name for name in loaded if name.split(".")[-1] in ("layers", "models", "checking", "drawing", "cli")}


def test_the_floors_can_be_imported_in_any_order():
    for first in ("tinygrad_bn.tensors.protocol", "tinygrad_bn.variables", "tinygrad_bn.capturing.inplace"):
        assert in_a_fresh_process(f"import {first}; print('done')") == ["done"]
