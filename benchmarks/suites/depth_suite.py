"""What a hidden layer costs in networks of 10, 100 and 1,000: the same, if the work is linear in depth."""

from __future__ import annotations

from benchmarks.suites import Prepared, Suite, contender_file, first_losses, timed
from benchmarks.workloads import deep

_DEPTHS = {f"{depth}-layers": depth for depth in (10, 100, 1000)}
_CAPTURE = "_capture"


def _prepare(contender: str, case: str) -> Prepared:
    workload, unit = deep(_DEPTHS[case]), 1e6 / _DEPTHS[case]
    if contender.endswith(_CAPTURE):
        first = contender_file(contender.removesuffix(_CAPTURE)).anew(workload)
        return Prepared(timed(first, unit), first_losses(first, 1))
    step = contender_file(contender).prepare(workload)
    return Prepared(timed(step, unit), first_losses(step))


SUITE = Suite(
    name="depth",
    title="a training step, by the layer",
    about="A training step of hidden layers of ten SELU units, divided by their number. A capture is the first call of "
    "a newly captured step.",
    unit="us a layer",
    cases=tuple(_DEPTHS),
    ours=("tinygrad_bn_eager", "tinygrad_bn_replay", "tinygrad_bn_native", "tinygrad_bn_replay" + _CAPTURE),
    peers=("torch_eager", "mygrad"),
    prepare=_prepare,
    against={"to PyTorch eager": ("torch_eager",)},
)
