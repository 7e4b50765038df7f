"""How much memory a training step takes, and whether it takes more and more."""

from __future__ import annotations

import os
import sys
import tracemalloc
from collections.abc import Callable

from benchmarks.suites import Prepared, Suite, contender_file, first_losses
from benchmarks.workloads import WORKLOADS

_MEBIBYTE = 2**20
_STEPS = 2000
_NETWORKS = {  # so many steps of a large batch would take minutes
    "allocated": ("notebook", "notebook-2048", "tiny"),
    "resident": ("notebook", "notebook-2048", "tiny"),
    "growth": ("notebook", "tiny"),
}


def _resident() -> float:
    """The memory of this process, now."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / _MEBIBYTE


def _most_resident() -> float:
    """The most memory that this process has had."""
    import resource  # which Windows does not have

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MEBIBYTE


def _allocated(step: Callable[[], object]) -> float:
    """The most that Python and NumPy hold at once during a step beyond what they held before it."""
    tracemalloc.start()
    try:
        step()  # what is freed from now on was made while it was traced
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        step()
        return (tracemalloc.get_traced_memory()[1] - before) / _MEBIBYTE
    finally:
        tracemalloc.stop()


def _growth(step: Callable[[], object]) -> float:
    before = _resident()
    for _ in range(_STEPS):
        step()
    return _resident() - before


def _prepare(contender: str, case: str) -> Prepared:
    measure, network = case.split(" of ")
    file = contender_file(contender)
    loaded = _most_resident()
    step = file.prepare(WORKLOADS[network])
    losses = first_losses(step)
    if measure == "growth":
        _growth(step)  # the allocator finds its size
        return Prepared(lambda: _growth(step), losses)
    if measure == "allocated":
        return Prepared(lambda: _allocated(step), losses)
    return Prepared(lambda: (step(), _most_resident() - loaded)[1], losses)


SUITE = Suite(
    name="memory",
    title="the memory of a training step",
    about="Allocated: the most that Python and NumPy hold at once during a step, beyond what they hold between steps; "
    "the arrays of PyTorch and JAX are not among it. Resident: the most that the process has held since the framework "
    "was imported: data, weights, programs and their buffers, and compilers. Growth: of what is resident, over "
    f"{_STEPS:,} steps.",
    unit="MiB",
    cases=tuple(f"{measure} of {network}" for measure, networks in _NETWORKS.items() for network in networks),
    ours=("tinygrad_bn_eager", "tinygrad_bn_replay", "tinygrad_bn_native"),
    peers=("torch_eager", "torch_compile", "jax_jit"),
    prepare=_prepare,
    against={},
)
