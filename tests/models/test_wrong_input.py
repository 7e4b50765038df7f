"""What comes in wrong is told before anything is trained, and what was there stays as it was."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.errors import DtypeError, SettingError, ShapeError
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
    (
        np.full((10, 3), 1e60),
        LABELS,
        ValueError,
        r"x expects numbers that float32 can hold.*; got 1e\+60 in row 0, column 0",
    ),
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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_that_only_the_narrowest_dtype_cannot_hold(dtype):
    made = tg.Sequential([Dense(4, activation="softmax", input_shape=(3,), dtype=np.float16)])
    made.compile("sgd", "sparse_categorical_crossentropy")
    x = np.zeros((10, 3), dtype)
    x[4, 1] = -7e4
    with pytest.raises(ValueError, match=r"x expects numbers that float16 can hold.*; got -70000.0 in row 4, column 1"):
        made.fit(x, LABELS)


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
        ({"verbose": [1]}, r"'auto', 0, 1 or 2; got \[1\]"),
        ({"verbose": np.zeros(2)}, r"'auto', 0, 1 or 2; got array"),
        ({"verbose": 1.5}, "'auto', 0, 1 or 2; got 1.5"),
        ({"shuffle": "no"}, "fit expects shuffle to be True or False; got 'no'"),
    ],
)
def test_settings_of_fit(settings, message):
    with pytest.raises(ValueError, match=message):
        model().fit(X, LABELS, **settings)


def test_truths_that_the_dtype_of_the_model_cannot_hold():
    y = np.where(np.arange(10) == 6, -1e60, 1.0)
    for dtype, fits in ((np.float32, False), (np.float64, True)):
        made = tg.Sequential([Dense(1, input_shape=(3,), dtype=dtype)])
        made.compile("sgd", "mae")
        if fits:
            assert made.evaluate(X, y) > 1e58
        else:
            with pytest.raises(ValueError, match=r"evaluate: y expects numbers that float32.*got -1e\+60 in row 6"):
                made.evaluate(X, y)


def test_a_model_that_casts_nothing_computes_in_the_dtype_of_the_data():
    class Scaled(tg.Model):
        def __init__(self):
            self.factor = tg.Parameter(np.array(1e-60))

        def forward(self, x):
            return x * self.factor

    np.testing.assert_allclose(Scaled().predict(X.astype(np.float64) * 1e60), X)


@pytest.mark.parametrize("executor", ["eager", "numpy"])
@pytest.mark.parametrize(
    ("returned", "came"),
    [(lambda x: None, "None"), (lambda x: (x, x), "a tuple"), (lambda x: {"x": x}, "a dict")],
    ids=["None", "tuple", "dict"],
)
def test_a_forward_that_returns_no_tensor(returned, came, executor):
    class Own(tg.Model):
        def __init__(self, wrong_in):
            self.layer, self.wrong_in = Dense(4), wrong_in

        def forward(self, x):
            result = self.layer(x)
            return returned(result) if self.in_training in self.wrong_in else result

    said = f"Own.forward returned {came}, where a Tensor is expected"
    for wrong_in in ([False], [True]):
        made = Own(wrong_in)
        made.compile("sgd", "sparse_categorical_crossentropy")
        with pytest.raises(TypeError, match=said):
            made.fit(X, LABELS, verbose=0, executor=executor)
    made = Own([False])
    made.compile("sgd", "sparse_categorical_crossentropy")
    for use in (lambda: made.evaluate(X, LABELS), lambda: made.predict(X)):
        with pytest.raises(TypeError, match=said):
            use()


@pytest.mark.parametrize("returned", [tg.sum, lambda x: tg.mean(x, 0), lambda x: x[1:]])
def test_a_forward_that_does_not_return_one_row_for_each_sample(returned):
    class Own(tg.Model):
        def __init__(self):
            self.layer = Dense(4)

        def forward(self, x):
            return returned(self.layer(x))

    made = Own()
    made.compile("sgd", "sparse_categorical_crossentropy")
    for use in (lambda: made.predict(X), lambda: made.fit(X, LABELS), lambda: made.evaluate(X, LABELS)):
        with pytest.raises(ShapeError, match=r"Own\.forward returned shape .* samples, where one row for each is"):
            use()


@pytest.mark.parametrize(
    ("loss", "metric", "y"),
    [
        ("sparse_categorical_crossentropy", "mse", LABELS),
        ("sparse_categorical_crossentropy", "categorical_accuracy", LABELS),
        ("categorical_crossentropy", "sparse_categorical_accuracy", np.eye(4)[LABELS]),
    ],
)
def test_metrics_that_do_not_fit_the_truth(loss, metric, y):
    made = model(loss)
    made.compile("sgd", loss, [metric])
    before = made.state_dict()
    for method in (made.fit, made.evaluate):
        with pytest.raises(ShapeError, match=r"(fit|evaluate): for one sample, \w+ expects .*\(1, 4\).*; got \(1,"):
            method(X, y)
    assert all(value.tobytes() == before[path].tobytes() for path, value in made.state_dict().items())


def test_a_metric_of_ones_own_is_never_asked_about_what_did_not_happen():
    asked = []

    def spread(y_true, y_pred):
        asked.append(len(y_true))
        return np.ptp(y_pred, axis=-1)

    made = model()
    made.compile("sgd", "sparse_categorical_crossentropy", [spread])
    made.fit(X, LABELS, verbose=0)
    assert sum(asked) == len(X)


@pytest.mark.parametrize("training", [True, False])
def test_a_training_that_was_refused_leaves_the_modes_as_they_were(training):
    made = model().train(training)
    made.layers[0].training = not training
    with pytest.raises(ShapeError, match='Dense "layers'):
        made.fit(np.ones((10, 5)), LABELS, verbose=0)
    with pytest.raises(ValueError, match="unknown monitor"):
        made.fit(X, LABELS, callbacks=tg.callbacks.EarlyStopping(), verbose=0)
    assert (made.training, made.layers[0].training) == (training, not training)


def test_a_tensor_that_forward_keeps_is_called_by_its_shape():
    class Keeps(tg.Model):
        def __init__(self):
            self.layer, self.kept = Dense(4, "softmax"), None

        def forward(self, x):
            self.kept = self.layer(x)
            return self.kept

    made = Keeps()
    made.compile("sgd", "sparse_categorical_crossentropy")
    said = r"setting kept of Keeps from a Tensor of shape \(1, 4\) to a Tensor of shape \(10, 4\), .*wrong_input\.py"
    with pytest.warns(UserWarning, match=said):
        made.fit(X, LABELS, verbose=0, executor="numpy")


def test_callbacks():
    with pytest.raises(TypeError, match="instances of Callback; got <class"):
        model().fit(X, LABELS, callbacks=[tg.callbacks.TerminateOnNaN])
    for wrong in (3, 0, False):
        with pytest.raises(TypeError, match=f"fit expects callbacks to be a list of .*Callback; got {wrong}"):
            model().fit(X, LABELS, callbacks=wrong)


def test_flags(tmp_path):
    made, path = model(), tmp_path / "model.npz"
    made.save(path)
    for use, name in (
        (lambda: made.evaluate(X, LABELS, return_dict="no"), "evaluate expects return_dict"),
        (lambda: made.save(tmp_path / "other.npz", weights_only="no"), "save expects weights_only"),
        (lambda: made.save(tmp_path / "other.npz", training_state="no"), "save expects training_state"),
        (lambda: made.load(path, training_state="no"), "load expects training_state"),
        (lambda: tg.models.load(path, training_state="no"), "load expects training_state"),
    ):
        with pytest.raises(SettingError, match=f"{name} to be True or False; got 'no'"):
            use()
    assert [each.name for each in tmp_path.iterdir()] == ["model.npz"]


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
        ((tg.losses.Huber, "mse"), ValueError, "Huber"),
        (("sgd", tg.optimizers.SGD), ValueError, "SGD"),
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
