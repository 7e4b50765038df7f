"""One training step: forward, loss, backward and update, on the same batch again and again."""

from __future__ import annotations

from benchmarks.suites import Prepared, Suite, contender_file, first_losses, timed
from benchmarks.workloads import WORKLOADS


def _prepare(contender: str, case: str) -> Prepared:
    step = contender_file(contender).prepare(WORKLOADS[case])
    return Prepared(timed(step, 1e6), first_losses(step))


SUITE = Suite(
    name="step",
    title="one training step",
    about="Forward, loss, backward and update on one batch, until the loss is there as a Python number. "
    '"Products" are the matrix products of the step alone, through NumPy; the best peer is the '
    "fastest of PyTorch eager, torch.compile and JAX.",
    unit="us",
    cases=tuple(WORKLOADS),
    ours=("tinygrad_bn_eager", "tinygrad_bn_replay", "tinygrad_bn_native", "matrix_products"),
    peers=("torch_eager", "torch_compile", "jax_jit", "mygrad", "hips_autograd", "keras_jax", "keras_torch"),
    prepare=_prepare,
    against={
        "to products": ("matrix_products",),
        "to PyTorch eager": ("torch_eager",),
        "to best peer": ("torch_eager", "torch_compile", "jax_jit"),
    },
    base="matrix_products",
)
