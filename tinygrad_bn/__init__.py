"""tinygrad_bn: an autograd framework on NumPy, whose core can be read in an evening.

`import tinygrad_bn as tg` loads the mathematics, Tensors and derivatives; everything above them is loaded when it is
first named, so that the import costs little more than NumPy's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_bn.autodiff.gradients import gradients as gradients
from tinygrad_bn.autodiff.gradients import no_grad as no_grad
from tinygrad_bn.autodiff.transforms import grad as grad
from tinygrad_bn.autodiff.transforms import hessian as hessian
from tinygrad_bn.autodiff.transforms import hvp as hvp
from tinygrad_bn.autodiff.transforms import jacobian as jacobian
from tinygrad_bn.autodiff.transforms import jvp as jvp
from tinygrad_bn.autodiff.transforms import value_and_grad as value_and_grad
from tinygrad_bn.autodiff.transforms import vjp as vjp
from tinygrad_bn.memory import keep_memory
from tinygrad_bn.mode import frozen_state as frozen_state
from tinygrad_bn.ops import *  # noqa: F403 the functions: ops/__init__.py lists them
from tinygrad_bn.primitives import primitive as primitive
from tinygrad_bn.tensors import Tensor as Tensor
from tinygrad_bn.tensors import tensor as tensor
from tinygrad_bn.variables import Parameter as Parameter

if TYPE_CHECKING:
    from tinygrad_bn import activations as activations
    from tinygrad_bn import callbacks as callbacks
    from tinygrad_bn import constraints as constraints
    from tinygrad_bn import datasets as datasets
    from tinygrad_bn import diagnostics as diagnostics
    from tinygrad_bn import initializers as initializers
    from tinygrad_bn import layers as layers
    from tinygrad_bn import losses as losses
    from tinygrad_bn import metrics as metrics
    from tinygrad_bn import models as models
    from tinygrad_bn import optimizers as optimizers
    from tinygrad_bn import regularizers as regularizers
    from tinygrad_bn import schedules as schedules
    from tinygrad_bn import testing as testing
    from tinygrad_bn.capturing import capture as capture
    from tinygrad_bn.capturing import set_executor as set_executor
    from tinygrad_bn.checking import Certificate as Certificate
    from tinygrad_bn.checking import debug as debug
    from tinygrad_bn.checking import gradcheck as gradcheck
    from tinygrad_bn.checking import taylor_test as taylor_test
    from tinygrad_bn.clipping import clip_by_global_norm as clip_by_global_norm
    from tinygrad_bn.clipping import clip_grad_norm as clip_grad_norm
    from tinygrad_bn.clipping import clip_grad_value as clip_grad_value
    from tinygrad_bn.diagnostics import GradientFlow as GradientFlow
    from tinygrad_bn.diagnostics import SelfNormalization as SelfNormalization
    from tinygrad_bn.diagnostics import fold_batch_normalization as fold_batch_normalization
    from tinygrad_bn.diagnostics import gradient_flow as gradient_flow
    from tinygrad_bn.diagnostics import lsuv as lsuv
    from tinygrad_bn.diagnostics import recalibrate_batch_normalization as recalibrate_batch_normalization
    from tinygrad_bn.diagnostics import self_normalization as self_normalization
    from tinygrad_bn.drawing import draw as draw
    from tinygrad_bn.models import Model as Model
    from tinygrad_bn.models import Sequential as Sequential
    from tinygrad_bn.module import Module as Module
    from tinygrad_bn.module.functional import functional as functional
    from tinygrad_bn.preprocessing import Standardizer as Standardizer

__version__ = "0.1.0"

_HOMES = {
    "Certificate": "checking",
    "GradientFlow": "diagnostics",
    "Model": "models",
    "SelfNormalization": "diagnostics",
    "Module": "module",
    "Sequential": "models",
    "Standardizer": "preprocessing",
    "capture": "capturing",
    "clip_by_global_norm": "clipping",
    "clip_grad_norm": "clipping",
    "clip_grad_value": "clipping",
    "debug": "checking",
    "draw": "drawing",
    "fold_batch_normalization": "diagnostics",
    "functional": "module.functional",
    "gradient_flow": "diagnostics",
    "gradcheck": "checking",
    "lsuv": "diagnostics",
    "recalibrate_batch_normalization": "diagnostics",
    "self_normalization": "diagnostics",
    "set_executor": "capturing",
    "taylor_test": "checking",
}
_MODULES = (
    "activations",
    "callbacks",
    "constraints",
    "datasets",
    "diagnostics",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "regularizers",
    "schedules",
    "testing",
)

keep_memory()


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _HOMES:
        found = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        return found
    from tinygrad_bn import names

    raise AttributeError(names.unknown("name", name, __dir__(), __name__))


def __dir__() -> list[str]:
    names = {*globals(), *_HOMES, *_MODULES} - {"annotations", "TYPE_CHECKING", "Any", "keep_memory"}
    return sorted(name for name in names if not name.startswith("_"))
