"""What the laws are about: every function of the registry that is ours, in every case worth checking."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np

import tinygrad_bn  # noqa: F401 fills the registry
from tinygrad_bn.autodiff.pullback import pullback
from tinygrad_bn.domains import Case, Domain
from tinygrad_bn.primitives import Function, Primitive
from tinygrad_bn.tensors import Tensor

FUNCTIONS = [function for function in Function.registry if function.__module__.startswith("tinygrad_bn.")]
SUBJECTS = [(function, case) for function in FUNCTIONS for case in function.cases]
USUAL = (3, 4)  # the shape where any will do


def name(function: Function[Any], case: Case) -> str:
    """Such as "elu-alpha=0.5"."""
    said = [str(shape).replace(" ", "") for shape in case.shapes]
    said += [f"{key}={getattr(value, '__name__', value)}".replace(" ", "") for key, value in case.settings.items()]
    return "-".join([function.__name__, *said])


def generator(function: Function[Any], case: Case) -> np.random.Generator:
    """One of its own, so that no law depends on which others ran."""
    return np.random.default_rng(crc32(name(function, case).encode()))


def elementwise(function: Function[Any], case: Case) -> bool:
    """Whether arrays of all shapes that broadcast will do."""
    return not case.shapes and function.arity not in (None, 0)


def domains(function: Function[Any], n: int) -> list[Domain]:
    """One for each of n arrays; the last one repeats."""
    return [function.domain[min(i, len(function.domain) - 1)] for i in range(n)]


def sample(
    function: Function[Any], case: Case, dtype: Any = np.float64, shapes: tuple[tuple[int, ...], ...] | None = None
) -> list[np.ndarray]:
    """Arrays from the domain, in the shapes of the case."""
    rng = generator(function, case)
    shapes = shapes or case.shapes or (USUAL,) * (function.arity or 0)
    drawn = [np.asarray(d.sample(rng, s)) for d, s in zip(domains(function, len(shapes)), shapes, strict=True)]
    return [array.astype(dtype) if array.dtype.kind == "f" else array for array in drawn]


def settings(function: Function[Any], case: Case) -> dict[str, Any]:
    """Those of the case, those that have a default, and a generator for who draws."""
    drawing = {"rng": np.random.default_rng(0)} if "rng" in function.settings else {}
    return {**function.defaults, **drawing, **case.settings}


def smooth(arrays: list[np.ndarray]) -> list[int]:
    """Which of the arrays a derivative can be taken by."""
    return [i for i, array in enumerate(arrays) if array.dtype.kind == "f"]


def recorded(function: Function[Any], case: Case, arrays: list[np.ndarray]) -> tuple[list[Tensor], Tensor]:
    """The arrays as Tensors, and what the function makes of them, which remembers them."""
    tensors = [Tensor(np.asarray(array), requires_grad=array.dtype.kind == "f") for array in arrays]
    return tensors, function(*tensors, **settings(function, case))


def pulled(tensors: list[Tensor], result: Tensor, g: Any, *, on_tensors: bool = False) -> list[Any]:
    """The cotangent of each Tensor that requires one, zeros where there is none; on arrays or on Tensors."""
    wanted = [tensor for tensor in tensors if tensor.requires_grad]
    found = pullback([result], [g], wanted, on_tensors=on_tensors)
    zeros = [np.zeros(tensor.shape, tensor.dtype) for tensor in wanted]
    return [found.get(t, Tensor(z) if on_tensors else z) for t, z in zip(wanted, zeros, strict=True)]


def vertices(ends: list[Tensor]) -> list[Tensor]:
    """All the Tensors that these were made from, and these."""
    seen: dict[Tensor, None] = {}
    stack = list(ends)
    while stack:
        tensor = stack.pop()
        if tensor not in seen:
            seen[tensor] = None
            stack += [arg for arg in (tensor.source[1] if tensor.source else ()) if isinstance(arg, Tensor)]
    return list(seen)


def is_random(function: Function[Any]) -> bool:
    return isinstance(function, Primitive) and function.random
