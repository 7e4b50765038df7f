import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn import metrics
from tinygrad_bn.errors import DtypeError, ShapeError

PREDICTED = np.array([[0.1, 0.9, 0.0], [0.6, 0.3, 0.1], [0.2, 0.2, 0.6], [0.5, 0.4, 0.1]], np.float32)
LABELS = np.array([1, 0, 1, 0])


@pytest.mark.parametrize("y_true", [LABELS, LABELS[:, None], LABELS.astype(np.float32), np.eye(3)[LABELS]])
def test_accuracy_takes_labels_and_one_hot_truth(y_true):
    metric = metrics.get("accuracy")
    metric.update(y_true, PREDICTED)
    assert metric.result() == 0.75


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
@pytest.mark.parametrize("predicted", [(4,), (4, 1)])
def test_accuracy_of_a_single_output_is_binary_and_a_half_is_not_yet_true(shape, predicted):
    metric = metrics.get("accuracy")
    metric.update(np.array([1, 0, 1, 0]).reshape(shape), np.array([0.7, 0.5, 0.2, 0.6]).reshape(predicted))
    assert metric.result() == 0.5


@pytest.mark.parametrize(("y_true", "y_pred"), [((4,), (4, 1)), ((4, 1), (4,))])
def test_a_function_gets_truth_in_the_shape_of_the_prediction(y_true, y_pred):
    metric = metrics.get(lambda y_true, y_pred: abs(y_true - y_pred))
    metric.update(np.arange(4.0).reshape(y_true), np.ones(y_pred))
    assert metric.result() == 1.0


def test_a_metric_is_the_mean_over_all_samples_whatever_the_batches():
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.normal(size=(7, 3)), rng.normal(size=(7, 3)).astype(np.float32)
    for name, expected in [("mse", np.mean((y_true - y_pred) ** 2)), ("mae", np.mean(abs(y_true - y_pred)))]:
        metric = metrics.get(name)
        assert np.isnan(metric.result())
        for start in (0, 4, 6):
            stop = {0: 4, 4: 6, 6: 7}[start]
            metric.update(y_true[start:stop], y_pred[start:stop])
        np.testing.assert_allclose(metric.result(), expected, rtol=1e-14)
        metric.reset()
        metric.update(y_true[:1], y_true[:1])
        assert metric.result() == 0


def test_small_integers_do_not_wrap_around():
    metric = metrics.get("mae")
    metric.update(np.array([0], np.uint8), np.array([2], np.uint8))
    assert metric.result() == 2


@pytest.mark.parametrize("name", ["accuracy", "binary_accuracy", "mse", "mae"])
def test_lists_and_tensors_are_taken_as_arrays(name):
    truth, prediction = np.array([0.0, 1.0], np.float32), np.array([0.2, 0.4], np.float32)
    function = metrics.get(name).per_sample
    expected = function(truth, prediction)
    for same in (lambda x: x.tolist(), tg.tensor):
        np.testing.assert_allclose(function(same(truth), same(prediction)), expected, rtol=1e-6)


@pytest.mark.parametrize("result", ["good", None, ["a"], [[1], [1, 2]]], ids=repr)
def test_a_metric_that_gives_no_numbers_is_named(result):
    metric = metrics.get(lambda y_true, y_pred: result)
    with pytest.raises(DtypeError, match="metric <lambda> has to return a number for each sample; got"):
        metric.update(np.ones(2), np.ones(2))
    assert np.isnan(metric.result())


def test_get():
    accuracy = metrics.get("accuracy")
    assert metrics.get(accuracy) is accuracy
    assert metrics.get("acc").name == "acc"

    def worst(y_true, y_pred):
        return np.abs(y_true - y_pred).max(axis=-1)

    metric = metrics.get(worst)
    metric.update(np.zeros((2, 2)), np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert (metric.name, metric.result()) == ("worst", 3.0)
    with pytest.raises(ValueError, match="Did you mean 'accuracy'"):
        metrics.get("acuracy")
    with pytest.raises(TypeError, match="got 3"):
        metrics.get(3)


@pytest.mark.parametrize("name", ["accuracy", "binary_accuracy", "categorical_accuracy", "mse", "mae"])
def test_shapes_that_do_not_belong_together_raise(name):
    with pytest.raises(ShapeError, match=r"y_pred.*\(4, 3\).*\(5,"):
        metrics.get(name).update(np.zeros(5, int) if name == "accuracy" else np.zeros((5, 3)), PREDICTED)
