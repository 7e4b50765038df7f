"""Residuals stay with a result for as long as it lives, and with nothing else."""

import numpy as np

import tinygrad_bn as tg
from tinygrad_bn import residuals
from tinygrad_bn.residuals import keep, kept


def test_they_are_kept_with_an_array_and_go_with_it():
    before = len(residuals.KEPT)
    result, residual = np.ones(3), np.zeros(2)
    assert keep(result, residual) is result
    (found,) = kept(result)
    assert found is residual
    assert kept(result.copy()) is None
    del result
    assert len(residuals.KEPT) == before


def test_nothing_is_kept_with_what_is_no_array():
    result = tg.tensor([1.0])
    assert keep(result, np.zeros(2)) is result
    assert kept(result) is None


def test_only_what_may_be_differentiated_keeps_any():
    labels, logits = np.array([0, 1]), np.ones((2, 3))
    result = tg.sparse_softmax_crossentropy(labels, logits)
    assert kept(result) is None
    with tg.no_grad():
        assert kept(tg.sparse_softmax_crossentropy(labels, tg.tensor(logits)).value) is None
    assert kept(tg.sparse_softmax_crossentropy(labels, tg.tensor(logits, requires_grad=True)).value) is not None
