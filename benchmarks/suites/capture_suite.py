"""What it costs to capture a step: the first call of a newly captured function."""

from __future__ import annotations

from benchmarks.suites import Prepared, Suite, contender_file, first_losses, timed
from benchmarks.workloads import WORKLOADS


def _prepare(contender: str, case: str) -> Prepared:
    first = contender_file(contender).anew(WORKLOADS[case])
    return Prepared(timed(first, 1e3), first_losses(first, 1))


SUITE = Suite(
    name="capture",
    title="the first call of a newly captured step",
    about="The first call of a newly captured step: recording, compiling and running it. The C program has been "
    "compiled before, and lies in the cache.",
    unit="ms",
    cases=("notebook", "notebook-adam", "20x100-selu", "100x100-selu", "tiny"),
    ours=("tinygrad_bn_replay", "tinygrad_bn_native"),
    peers=("jax_jit",),
    prepare=_prepare,
    against={"to JAX jit": ("jax_jit",)},
)
