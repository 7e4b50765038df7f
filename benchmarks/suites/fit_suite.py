"""An epoch of `fit`, and what it adds to nothing but steps."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.suites import Prepared, Suite, contender_file, timed
from benchmarks.workloads import NOTEBOOK, digits, mnist

_DATA = {"mnist": mnist, "digits": digits}
_OURS = ("tinygrad_bn_eager", "tinygrad_bn_replay", "tinygrad_bn_native")
_LOOP = "_loop"


def _prepare(contender: str, case: str) -> Prepared:
    x, labels = _DATA[case]()
    workload = replace(NOTEBOOK, sizes=(x.shape[1], *NOTEBOOK.sizes[1:]))
    file = contender_file(contender.removesuffix(_LOOP))
    epoch = (file.loop if contender.endswith(_LOOP) else file.fit)(workload)
    few = 10 * workload.batch
    return Prepared(timed(lambda: epoch(x, labels, True), 1), [epoch(x[:few], labels[:few], False)])


SUITE = Suite(
    name="fit",
    title="an epoch of fit",
    about="One epoch of the notebook's network on 60,000 rows of 784 pixels (mnist) or 1,437 rows of 64 (digits), 32 "
    "at a time in a new order, without metrics. A loop is nothing but the steps, over the rows as they stand.",
    unit="s",
    cases=tuple(_DATA),
    ours=(*_OURS, *(name + _LOOP for name in _OURS)),
    peers=("keras_jax", "keras_torch"),
    prepare=_prepare,
    against={"to its loop": ("{}" + _LOOP,), "to Keras on JAX": ("keras_jax",)},
)
