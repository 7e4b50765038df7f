"""What comes in wrong is told before anything is trained, and what was there stays as it was."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.errors import DtypeError, ShapeError
from tinygrad_bn.layers import Dense

X = np.ones((10, 3), np.float32)
LABELS = np.arange(10) % 4


def model(loss="sparse_categorical_crossentropy"):
    made = tg.Sequential([Dense(4, activation="softmax", input_shape=(3,))])
    made.compile("sgd", loss, ["accuracy"])
    return made


def spoiled(row, column, value=np.nan):
    x = X.copy()
    x[row, column] = value
    return x


DATA = [
    (X, LABELS[:9], ShapeError, "as many samples in x as in y; got 10 and 9"),
    (X[:0], LABELS[:0], ShapeError, r"x expects at least one sample.*got shape \(0, 3\)"),
    (3.0, LABELS, ShapeError, r"got shape \(\)"),
    (spoiled(7, 2), LABELS, ValueError, "x expects finite numbers; got nan in row 7, column 2"),
    (spoiled(3, 1, -np.inf), LABELS, ValueError, "got -inf in row 3, column 1"),
    (X, np.where(LABELS == 2, np.nan, LABELS), ValueError, "y expects finite numbers; got nan in row 2"),
    (X.astype(str), LABELS, DtypeError, "x expects numbers; got ndarray of <U"),
    (X, ["cat"] * 10, DtypeError, "y expects numbers; got list of <U3"),
    (X, LABELS + 1, ValueError, r"labels from 0 to 3; got 4 at y_true\[3\]"),
    (X, np.eye(4)[LABELS], ShapeError, "one-hot truth there is CategoricalCrossentropy"),
]


@pytest.mark.parametrize(("x", "y", "error", "message"), DATA)
@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_data(method, x, y, error, message):
    made = model()
    before = made.state_dict()
    with pytest.raises(error, match=f"{method}.*{message}"):
        getattr(made, method)(x, y)
    assert made.history is None
    assert made.training
    assert all(value.tobytes() == before[path].tobytes() for path, value in made.state_dict().items())


@pytest.mark.parametrize(("x", "y", "error", "message"), DATA[:5])
def test_validation_data(x, y, error, message):
    with pytest.raises(error, match=f"validation_data.*{message}"):
        model().fit(X, LABELS, validation_data=(x, y))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "fit expects batch_size to be a positive integer; got 0"),
        ({"batch_size": 2.5}, "fit expects batch_size to be a positive integer; got 2.5"),
        ({"epochs": -1}, "fit expects epochs to be a positive integer; got -1"),
        ({"epochs": True}, "fit expects epochs to be a positive integer; got True"),
        ({"validation_split": 1.0}, r"validation_split to be a number in \[0, 1\); got 1.0"),
        ({"validation_split": "some"}, "got 'some'"),
        ({"validation_split": 0.99}, "0.99 of 10 leaves 0 and 10"),
        ({"validation_data": X}, r"validation_data=\(x, y\); got ndarray"),
        ({"validation_data": (X[:, :2], LABELS)}, r"samples of the shape of those in x, \(3,\); got \(2,\)"),
        ({"validation_data": (X, LABELS + 4)}, "validation_data.*labels from 0 to 3; got 4"),
        ({"verbose": 3}, "'auto', 0, 1 or 2; got 3"),
        ({"verbose": "loud"}, "got 'loud'"),
    ],
)
def test_settings_of_fit(settings, message):
    with pytest.raises(ValueError, match=message):
        model().fit(X, LABELS, **settings)


def test_callbacks():
    with pytest.raises(TypeError, match="instances of Callback; got <class"):
        model().fit(X, LABELS, callbacks=[tg.callbacks.TerminateOnNaN])


def test_samples_that_the_layers_cannot_take_name_the_layer():
    with pytest.raises(ShapeError, match=r'Dense "layers.0" expects x of shape \(batch, 3\); got \(10, 5\)'):
        model().fit(np.ones((10, 5)), LABELS)


def test_predict():
    made = model()
    with pytest.raises(ShapeError, match="predict: x expects at least one sample"):
        made.predict(X[:0])
    with pytest.raises(ValueError, match=r"predict: x.*got nan in row 1, column 0"):
        made.predict(spoiled(1, 0))
    with pytest.raises(ValueError, match="predict expects batch_size"):
        made.predict(X, 0)


@pytest.mark.parametrize(
    ("method", "wrong", "meant"),
    [
        ("fit", "epoch", "epochs"),
        ("evaluate", "return_dic", "return_dict"),
        ("predict", "batchsize", "batch_size"),
        ("compile", "metric", "metrics"),
    ],
)
def test_an_unknown_argument_names_the_right_one(method, wrong, meant):
    with pytest.raises(TypeError, match=rf"unknown argument '{wrong}' in {method}\(\)\. Did you mean '{meant}'"):
        getattr(model(), method)(X, LABELS, **{wrong: 2})


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_a_model_that_was_not_compiled(method):
    with pytest.raises(RuntimeError, match=f"{method} expects a compiled model"):
        getattr(tg.Sequential([Dense(4)]), method)(X, LABELS)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("sdg", "mse"), ValueError, "Did you mean 'sgd'"),
        (("sgd", "mae2"), ValueError, "Did you mean 'mae'"),
        (("sgd", "mse", ["acuracy"]), ValueError, "Did you mean 'accuracy'"),
        (("sgd", "mse", ["mae", "mae"]), ValueError, "different names; got mae, mae"),
        ((tg.optimizers.SGD, "mse"), TypeError, r"write SGD\(\)"),
        (("sgd", tg.losses.Huber), TypeError, r"write Huber\(\)"),
        (("sgd", "mse", [3]), TypeError, "got 3"),
    ],
)
def test_compile_changes_nothing_when_it_fails(arguments, error, message):
    made = model()
    was = made.optimizer, made.loss, made.metrics
    with pytest.raises(error, match=message):
        made.compile(*arguments)
    assert (made.optimizer, made.loss, made.metrics) == was


def test_one_metric_needs_no_list():
    made = model()
    made.compile("sgd", "sparse_categorical_crossentropy", "accuracy")
    assert [metric.name for metric in made.metrics] == ["accuracy"]
