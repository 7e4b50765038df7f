"""Negative log-likelihoods of labels, from logits, one value per sample: the cross-entropies."""

from __future__ import annotations

import numpy as np

from tinygrad_bn import residuals
from tinygrad_bn.domains import Case, integers, interval, real
from tinygrad_bn.ops.activations import log_probabilities, log_softmax, softplus
from tinygrad_bn.ops.constants import arange, arange_in_columns, number
from tinygrad_bn.ops.dtypes import floats
from tinygrad_bn.ops.elementary import exp
from tinygrad_bn.ops.reductions import has_short_rows, in_rows, spread, sum
from tinygrad_bn.primitives import Array, derived, primitive


def _is_label(labels: Array, log_p: Array) -> Array:
    """Whether a class is the label: (..., 1) against (classes,)."""
    n = log_p.shape[-1]
    classes = arange_in_columns(n, log_p.shape[0]) if has_short_rows(log_p) else arange(n)
    return labels.reshape((*labels.shape, 1)) == classes


@primitive(
    label="cross-entropy",
    domain=(integers(0, 4), real),
    cases=(Case((3,), (3, 4)), Case((32,), (32, 4)), Case((2, 3), (2, 3, 4)), Case((), (4,))),
    reference=lambda labels, logits: (
        -np.log(
            np.take_along_axis(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), labels[..., None], -1)[..., 0]
        )
    ),
    expects="labels of shape (...) and logits of shape (..., classes), of one class at least",
)
def sparse_softmax_crossentropy(labels: Array, logits: Array, /) -> Array:
    """-log softmax(logits)[label] along the last axis, for integer labels.

    For a label that is no class it is inf, with the gradient of a truth that is 0 everywhere.

    Raises:
        ShapeError: the labels are not one for each row of logits.
        DtypeError: the labels are no numbers.
    """
    if labels.shape != logits.shape[:-1] or not logits.ndim:
        raise ValueError
    if labels.dtype.kind not in "iubf":
        raise TypeError
    log_p = log_probabilities(logits, -1)
    is_label = _is_label(labels, log_p)
    chosen = np.maximum.reduce(np.where(is_label, log_p, number(-np.inf, log_p.dtype)), axis=-1)
    return residuals.keep(-chosen, log_p, is_label)


def _to_logits(g: Array, y: Array, labels: Array, logits: Array) -> Array:
    """The probabilities less the truth."""
    taken = residuals.kept(y)
    log_p, is_label = taken or (log_softmax.of(logits), _is_label(labels, logits))
    slope = (exp.of(log_p) - is_label) * spread(g, logits, -1)
    return in_rows(slope) if taken else slope


sparse_softmax_crossentropy.defvjp(None, _to_logits)


@derived(
    domain=(interval(0.1, 0.3), real),
    cases=(Case((3, 4), (3, 4)), Case((4,), (4,))),
    reference=lambda t, x: -np.sum(t * (x - np.log(np.sum(np.exp(x), axis=-1, keepdims=True))), axis=-1),
    expects="targets and logits of one shape (..., classes)",
)
def softmax_crossentropy(targets: Array, logits: Array, /) -> Array:
    """-sum(targets * log softmax(logits)) along the last axis, for probabilities or one-hot targets.

    Raises:
        ShapeError: targets and logits differ in shape.
    """
    if targets.shape != logits.shape:
        raise ValueError
    return -sum(targets * log_softmax(logits), axis=-1)


@derived(domain=(interval(0.1, 0.9), real), reference=lambda t, x: np.logaddexp(0, x) - t * x)
def sigmoid_crossentropy(targets: Array, logits: Array, /) -> Array:
    """-t log(p) - (1 - t) log(1 - p) with p = sigmoid(logits), element by element."""
    logits = floats(logits)
    return softplus(logits) - targets * logits
