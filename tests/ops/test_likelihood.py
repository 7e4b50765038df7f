"""Cross-entropies from logits: what they agree on, and what they do at the edges."""

import numpy as np
import pytest

import tinygrad_bn as tg

RNG = np.random.default_rng(0)
LOGITS = RNG.uniform(-3, 3, (5, 4))
LABELS = np.array([0, 3, 1, 1, 2])
ONE_HOT = np.eye(4)[LABELS]


def test_labels_and_one_hot_rows_say_the_same():
    np.testing.assert_allclose(
        tg.sparse_softmax_crossentropy(LABELS, LOGITS), tg.softmax_crossentropy(ONE_HOT, LOGITS), rtol=1e-14
    )


def test_two_classes_are_one_logit():
    x, t = LOGITS[:, 0], np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    pair = np.stack([np.zeros(5), x], axis=1)
    np.testing.assert_allclose(
        tg.sigmoid_crossentropy(t, x), tg.sparse_softmax_crossentropy(t.astype(int), pair), rtol=1e-14
    )


def test_the_gradient_is_the_probabilities_minus_the_truth():
    g = tg.grad(lambda x: tg.sparse_softmax_crossentropy(LABELS, x).sum())(LOGITS)
    np.testing.assert_allclose(g, tg.softmax(LOGITS) - ONE_HOT, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_certain_mistakes_stay_finite(dtype):
    logits = np.array([[1e4, -1e4, 0.0, 0.0]], dtype)
    for label, loss in ((0, 0.0), (1, 2e4), (2, 1e4)):
        value, g = tg.value_and_grad(lambda x, at=label: tg.sparse_softmax_crossentropy(np.array([at]), x).sum())(
            logits
        )
        assert value == loss
        np.testing.assert_array_equal(g, np.eye(4)[[0]] - np.eye(4)[[label]])
    assert tg.sigmoid_crossentropy(np.array(1.0, dtype), np.array(-1e4, dtype)) == 1e4


def test_a_label_that_is_no_class_has_probability_0():
    for label in (-1, 4, 100):
        loss, g = tg.value_and_grad(lambda x, at=label: tg.sparse_softmax_crossentropy(np.array([at]), x).sum())(
            LOGITS[:1]
        )
        assert loss == np.inf
        np.testing.assert_allclose(g, tg.softmax(LOGITS[:1]), rtol=1e-14)


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_label_may_be_a_number(create_graph):
    x = tg.tensor(LOGITS[0], requires_grad=True)
    loss = tg.sparse_softmax_crossentropy(1, x)
    loss.backward(create_graph=create_graph)
    np.testing.assert_allclose(x.grad.numpy(), tg.softmax(LOGITS[0]) - np.eye(4)[1], rtol=1e-13)


def test_labels_of_any_integers_truth_values_or_whole_floats_do():
    for dtype in (np.int8, np.uint8, np.int64, np.float32):
        np.testing.assert_array_equal(
            tg.sparse_softmax_crossentropy(LABELS.astype(dtype), LOGITS), tg.sparse_softmax_crossentropy(LABELS, LOGITS)
        )


def test_float32_logits_give_float32_whatever_the_labels_are():
    logits = LOGITS.astype(np.float32)
    value, g = tg.value_and_grad(lambda x: tg.sparse_softmax_crossentropy(LABELS, x).sum())(logits)
    assert (value.dtype, g.dtype) == (np.float32, np.float32)
    assert tg.sigmoid_crossentropy(1.0, logits).dtype == np.float32


def test_the_result_of_softmax_and_sigmoid_remembers_its_logits():
    t = tg.tensor(LOGITS)
    for function in (tg.softmax, tg.sigmoid):
        with tg.no_grad():
            assert function(t).logits is t
    assert tg.tanh(t).logits is None


@pytest.mark.parametrize("function", [tg.softmax, tg.log_softmax])
@pytest.mark.parametrize("shape", [(31, 10), (32, 10), (4096, 16), (4097, 2), (32, 17), (40, 1)])
def test_short_rows_give_what_each_gives_alone_and_the_result_lies_in_rows(function, shape):
    x = RNG.normal(0, 3, shape).astype(np.float32)
    together = function(x)
    assert together.flags.c_contiguous
    np.testing.assert_allclose(together[:5], [function(row) for row in x[:5]], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.float64])
def test_the_losses_of_many_samples_are_those_of_each(dtype):
    logits, labels = RNG.normal(0, 3, (64, 10)), np.arange(-1, 63).astype(dtype)  # most are no class
    losses = tg.sparse_softmax_crossentropy(labels, logits)
    g = tg.grad(lambda x: tg.sparse_softmax_crossentropy(labels, x).sum())(logits)
    assert g.flags.c_contiguous
    for label, row, loss, slope in zip(labels, logits, losses, g, strict=True):
        alone = tg.value_and_grad(tg.sparse_softmax_crossentropy, 1)(label, row)
        np.testing.assert_allclose(loss, alone[0], rtol=1e-14)
        np.testing.assert_allclose(slope, alone[1], rtol=1e-13)
