"""An epoch of `fit`, and what it adds to nothing but steps."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.suites import Prepared, Suite, contender_file, timed
from benchmarks.workloads import NOTEBOOK, digits, mnist

_DATA = {"mnist": (mnist, 1), "digits": (digits, 10)}  # and the epochs of one call
_OURS = ("tinygrad_bn_eager", "tinygrad_bn_replay", "tinygrad_bn_native")
_LOOP = "_loop"


def _prepare(contender: str, case: str) -> Prepared:
    load, epochs = _DATA[case]
    x, labels = load()
    workload = replace(NOTEBOOK, sizes=(x.shape[1], *NOTEBOOK.sizes[1:]))
    file = contender_file(contender.removesuffix(_LOOP))
    train = (file.loop if contender.endswith(_LOOP) else file.fit)(workload)
    few = 10 * workload.batch
    return Prepared(timed(lambda: train(x, labels, epochs, True), 1 / epochs), [train(x[:few], labels[:few], 1, False)])


SUITE = Suite(
    name="fit",
    title="an epoch of fit",
    about="One epoch of the notebook's network on 60,000 rows of 784 pixels (mnist), or one of ten on 1,437 rows of 64 "
    "(digits), 32 at a time in a new order, without metrics. A loop is nothing but the steps, over the rows as they "
    "stand.",
    unit="s",
    cases=tuple(_DATA),
    ours=(*_OURS, *(name + _LOOP for name in _OURS)),
    peers=("keras_jax", "keras_torch"),
    prepare=_prepare,
    against={"to its loop": ("{}" + _LOOP,), "to Keras on JAX": ("keras_jax",)},
)
