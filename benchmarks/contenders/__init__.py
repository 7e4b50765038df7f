"""The contenders: each file prepares a workload in one framework.

A file whose name begins with an underscore is what several contenders share. A contender offers what it can do:

    prepare(workload) -> step            step() trains once on the workload's data and returns the loss, if there is one
    anew(workload) -> first              first() compiles the step again, and runs it once
    fit, loop(workload) -> Train         trains for some epochs, as its users do or by nothing but steps
    functions, recorded(function, x)     the framework's functions by name, and a function run so that it can be
                                         differentiated: the answer, called, gives the gradient at x
    constant(x)                          an array as the framework's, by which nothing is differentiated
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeAlias

Train: TypeAlias = Callable[[Any, Any, int, bool], float]
"""x, y, epochs, shuffle: the mean loss of the last epoch."""

_PACKAGES = {
    "torch_eager": ("torch",),
    "torch_compile": ("torch",),
    "jax_jit": ("jax",),
    "mygrad": ("mygrad",),
    "hips_autograd": ("autograd",),
    "keras_jax": ("keras", "jax"),
    "keras_torch": ("keras", "torch"),
    "torch": ("torch",),
    "jax": ("jax",),
    "keras": ("keras", "jax"),
}


def packages(contender: str) -> tuple[str, ...]:
    """What the contender needs to be installed."""
    return _PACKAGES.get(contender, ("numpy",))


def missing(contender: str) -> str | None:
    """The first package that it needs and that is not installed."""
    return next((package for package in packages(contender) if _version(package) is None), None)


def versions(contenders: Iterable[str]) -> dict[str, str]:
    """The installed packages that they need, and their versions."""
    needed = sorted({package for contender in contenders for package in packages(contender)})
    return {package: found for package in needed if (found := _version(package))}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
