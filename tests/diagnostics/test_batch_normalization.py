"""Recalibrated statistics are those of all that a layer sees; a folded network is the same function without them."""

import ctypes
import itertools
import json
import shutil
import subprocess

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.diagnostics.batch_normalization import LayerRecalibration, Recalibration
from tinygrad_bn.errors import CaptureError, NotBuiltError, SettingError
from tinygrad_bn.layers import Activation, BatchNormalization, Dense, Dropout, Flatten, Input, LayerNormalization

RNG = np.random.default_rng(0)
EPSILON = 1e-3


def bn(**settings):
    return BatchNormalization(
        gamma_initializer="random_normal", beta_initializer="random_normal", **{"dtype": np.float64, **settings}
    )


def dense(units, *settings, **options):
    return Dense(units, *settings, bias_initializer="random_normal", **{"dtype": np.float64, **options})


def data(n=24, width=4):
    return RNG.normal(3.0, 2.0, size=(n, width))


def recalibrated(model, x, **options):
    report = tg.recalibrate_batch_normalization(model, x, **options)
    return report, model.state_dict()


# Recalibration: the law


@pytest.mark.parametrize("batch_size", [2, 5, 24, 100])
@pytest.mark.parametrize("unbiased", [False, True])
def test_the_first_layer_gets_the_statistics_of_the_whole_set(batch_size, unbiased):
    x = data()
    model = tg.Sequential([bn(unbiased=unbiased, input_shape=[4])])
    report, state = recalibrated(model, x, batch_size=batch_size)
    np.testing.assert_allclose(state["layers.0.moving_mean"], x.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(state["layers.0.moving_variance"], x.var(axis=0, ddof=int(unbiased)), rtol=1e-13)
    assert report.layers[0].values == len(x)


@pytest.mark.parametrize("axis", [-1, 1, [1, 2]])
def test_statistics_are_taken_along_the_axes_of_the_layer(axis):
    x = RNG.normal(size=(10, 3, 4))
    model = tg.Sequential([bn(axis=axis, input_shape=[3, 4])])
    _, state = recalibrated(model, x, batch_size=4)
    over = {-1: (0, 1), 1: (0, 2)}.get(axis if isinstance(axis, int) else None, 0)
    np.testing.assert_allclose(state["layers.0.moving_mean"].ravel(), x.mean(axis=over).ravel(), rtol=1e-12)
    np.testing.assert_allclose(state["layers.0.moving_variance"].ravel(), x.var(axis=over).ravel(), rtol=1e-12)


def test_later_layers_see_what_the_statistics_of_each_batch_make_of_it():
    x = data()
    model = tg.Sequential([Input(4, dtype=np.float64), bn(), dense(5, "tanh"), bn()])
    first, kernel, bias = (model.layers[1], *model.layers[2].parameters())

    def passed(batch):
        standard = (batch - batch.mean(axis=0)) / np.sqrt(batch.var(axis=0) + EPSILON)
        return np.tanh((first.gamma.numpy() * standard + first.beta.numpy()) @ kernel.numpy() + bias.numpy())

    _, state = recalibrated(model, x, batch_size=6)
    seen = np.concatenate([passed(batch) for batch in np.split(x, 4)])
    np.testing.assert_allclose(state["layers.3.moving_mean"], seen.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(state["layers.3.moving_variance"], seen.var(axis=0), rtol=1e-12)


def test_in_one_batch_inference_gives_what_training_gave():
    x = data()
    model = tg.Sequential([Input(4, dtype=np.float64), bn(), dense(5, "elu"), bn(), dense(3)])
    with tg.frozen_state():
        in_training = model(x, training=True).numpy()
    tg.recalibrate_batch_normalization(model, x, batch_size=len(x))
    np.testing.assert_allclose(model(x, training=False), in_training, rtol=1e-10, atol=1e-12)


def test_algorithm_2_on_the_average_over_all_batches_gives_the_pooled_unbiased_variance():
    """m / (m - 1) * E[variance of a batch] is right on the average; of one way to form batches it is an estimate."""
    x, m = data(6, 1), 3
    model = tg.Sequential([bn(unbiased=True, input_shape=[1])])
    _, state = recalibrated(model, x, batch_size=m)
    of_each_batch = [m / (m - 1) * np.var(x[list(rows)]) for rows in itertools.combinations(range(6), m)]
    np.testing.assert_allclose(state["layers.0.moving_variance"], np.mean(of_each_batch), rtol=1e-12)
    of_these_two = m / (m - 1) * np.mean([np.var(x[:3]), np.var(x[3:])])
    assert abs(of_these_two / state["layers.0.moving_variance"][0] - 1) > 0.01


def test_the_pooled_variance_is_that_of_the_batches_and_that_of_their_means():
    x = data(24, 1)
    batches = np.split(x, 4)
    _, state = recalibrated(tg.Sequential([bn(input_shape=[1])]), x, batch_size=6)
    within, between = np.mean([np.var(b) for b in batches]), np.var([np.mean(b) for b in batches])
    np.testing.assert_allclose(state["layers.0.moving_variance"], within + between, rtol=1e-12)


def test_no_batch_is_left_with_a_single_sample():
    x = data(9)
    model = tg.Sequential([Input(4, dtype=np.float64), bn(momentum=0.0), dense(3), bn()])
    _, state = recalibrated(model, x, batch_size=4)  # of 9 samples 4, 4 and 1 would be the usual batches
    _, thirds = recalibrated(model, iter(np.split(x, 3)))
    assert all(np.array_equal(value, thirds[path]) for path, value in state.items())


def test_an_iterator_of_batches_gives_what_the_array_gives():
    x = data()
    models = [tg.Sequential([bn(input_shape=[4])]) for _ in range(2)]
    _, whole = recalibrated(models[0], x, batch_size=8)
    _, streamed = recalibrated(models[1], (x[i : i + 8] for i in (0, 8, 16)))
    for name in ("layers.0.moving_mean", "layers.0.moving_variance"):
        assert np.array_equal(whole[name], streamed[name])


# Recalibration: what it leaves alone


def test_dropout_does_not_enter_the_variances_and_nothing_is_drawn():
    x = data()
    model = tg.Sequential([Dropout(0.5, dtype=np.float64, input_shape=[4]), bn()])
    generator = str(tg.generator().bit_generator.state)
    _, found = recalibrated(model, x)
    np.testing.assert_allclose(found["layers.1.moving_variance"], x.var(axis=0), rtol=1e-12)
    assert str(tg.generator().bit_generator.state) == generator


def test_parameters_modes_and_other_states_are_as_before():
    model = tg.Sequential([Input(4, dtype=np.float64), bn(), dense(3), bn(), bn(trainable=False), bn()])
    model.layers[5].freeze_statistics()
    model.eval()
    model.layers[2].training = True
    before, modes = model.state_dict(), [vars(m).get("training") for m in model.modules()]
    report, after = recalibrated(model, data())
    changed = {path for path, value in after.items() if not np.array_equal(value, before[path])}
    assert changed == {f"layers.{i}.moving_{kind}" for i in (1, 3) for kind in ("mean", "variance")}
    assert [row.path for row in report.layers] == ["layers.1", "layers.3"]
    assert [vars(m).get("training") for m in model.modules()] == modes


def test_young_averages_are_old_enough_afterwards():
    model = tg.Sequential([BatchNormalization(input_shape=[4])])
    model(data())
    assert model.layers[0].immature()
    tg.recalibrate_batch_normalization(model, data())
    assert model.layers[0].immature() is None


def test_a_layer_that_is_called_twice_pools_both_calls():
    class Twice(tg.Module):
        def __init__(self):
            self.shared = bn()

        def forward(self, x):
            return self.shared(x) + self.shared(10 * x)

    x, model = data(), Twice()
    _, state = recalibrated(model, x)
    np.testing.assert_allclose(state["shared.moving_variance"], np.concatenate([x, 10 * x]).var(axis=0), rtol=1e-12)


def test_a_model_that_is_not_built_is_built():
    model = tg.Sequential([Dense(3), BatchNormalization()])
    tg.recalibrate_batch_normalization(model, data())
    assert model.layers[0].kernel.shape == (4, 3)


# Recalibration: reports and refusals


def test_a_layer_that_no_call_reaches_is_named_and_nothing_changes():
    class Half(tg.Module):
        def __init__(self):
            self.used, self.spare = bn(input_shape=[4]), bn(input_shape=[4])

        def forward(self, x):
            return self.used(x)

    model = Half()
    before = model.state_dict()
    with pytest.raises(ValueError, match=r'BatchNormalization "spare" to be called; no call reached it: freeze_'):
        tg.recalibrate_batch_normalization(model, data())
    assert all(np.array_equal(value, before[path]) for path, value in model.state_dict().items())
    model.spare.freeze_statistics()
    assert [row.path for row in tg.recalibrate_batch_normalization(model, data()).layers] == ["used"]


def test_the_report_says_how_far_the_statistics_moved(tmp_path):
    x = data()
    model = tg.Sequential([BatchNormalization(dtype=np.float64, epsilon=0.0, input_shape=[4])])
    report = tg.recalibrate_batch_normalization(model, x)
    (row,) = report.layers
    np.testing.assert_allclose(row.mean_shift, np.max(np.abs(x.mean(axis=0)) / x.std(axis=0)), rtol=1e-12)
    np.testing.assert_allclose(row[3:], [x.var(axis=0).min(), x.var(axis=0).max()], rtol=1e-12)
    again = tg.recalibrate_batch_normalization(model, x)
    np.testing.assert_allclose(again.layers[0][2:], [0, 1, 1], atol=1e-12)
    assert json.loads(json.dumps(report.to_dict()))["layers"][0]["values"] == 24
    report.plot(tmp_path / "changes.svg")
    assert (tmp_path / "changes.svg").stat().st_size > 1000


def test_the_table_shows_every_number():
    report = Recalibration([LayerRecalibration("layers.1", 60000, 0.25, 0.5, 2.0)])
    assert str(report).splitlines()[-1].split() == ["layers.1", "60,000", "0.25", "0.5", "2"]
    assert repr(report) == "Recalibration(1 layers)"


def frozen():
    layer = BatchNormalization()
    layer.freeze_statistics()
    return layer


@pytest.mark.parametrize(
    ("layer", "x", "message"),
    [
        (LayerNormalization(), np.ones((4, 4)), "a BatchNormalization that is trainable and not frozen; got none"),
        (BatchNormalization(trainable=False), np.ones((4, 4)), "got none in Sequential"),
        (frozen(), np.ones((4, 4)), "got none in Sequential"),
        (BatchNormalization(), np.ones((1, 4)), 'BatchNormalization "layers.1" to see several values'),
        (BatchNormalization(), np.array([[1, 2, 3, np.nan]]), "x expects finite numbers; got nan in row 0, column 3"),
        (BatchNormalization(), iter([np.full((2, 4), np.inf)]), "finite numbers; got inf in row 0, column 0"),
        (BatchNormalization(), iter([]), "at least one batch; got an iterator that is at its end"),
        (BatchNormalization(dtype=np.float64), np.array([[1e200], [-1e200]]), "too large to be squared"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_what_cannot_be_recalibrated_is_refused_and_changes_nothing(layer, x, message):
    model = tg.Sequential([Input(1 if "large" in message else 4, dtype=layer.dtype), layer])
    before = model.state_dict()
    with pytest.raises(ValueError, match=message):
        tg.recalibrate_batch_normalization(model, x)
    assert all(np.array_equal(value, before[path]) for path, value in model.state_dict().items())
    assert model.training


@pytest.mark.parametrize("batches", [list, iter, tuple])
def test_pairs_of_x_and_y_are_refused(batches):
    x = data()
    model = tg.Sequential([bn(input_shape=[4])])
    with pytest.raises(TypeError, match="x expects batches of x alone; got a tuple of arrays: leave out y"):
        tg.recalibrate_batch_normalization(model, batches([(x, x[:, 0]), (x, x[:, 0])]))


def test_rows_that_are_tuples_are_samples():
    rows = [(1.0, 2.0), (3.0, 6.0)]
    _, state = recalibrated(tg.Sequential([bn(input_shape=[2])]), rows)
    np.testing.assert_allclose(state["layers.0.moving_mean"], [2.0, 4.0])


@pytest.mark.parametrize("function", [tg.recalibrate_batch_normalization, tg.fold_batch_normalization])
@pytest.mark.parametrize("model", [3, tg.selu])
def test_only_modules_are_taken(function, model):
    with pytest.raises(TypeError, match=f"{function.__name__} expects a Module, such as a Sequential; got"):
        function(model, data())


def test_without_epsilon_a_constant_that_stays_has_not_moved():
    model = tg.Sequential([bn(epsilon=0.0, input_shape=[2])])
    x = np.array([[1.0, 5.0], [3.0, 5.0]])
    first, again = (tg.recalibrate_batch_normalization(model, x).layers[0] for _ in range(2))
    assert (first.mean_shift, first.variance_least, first.variance_most) == (np.inf, 0.0, 1.0)
    assert (again.mean_shift, again.variance_least, again.variance_most) == (0.0, 1.0, 1.0)


# Folding


def trained(*inner, dtype=np.float64, shape=(4,)):
    """A network whose parameters and averages are far from where they began."""
    tg.set_random_seed(0)
    rng = np.random.default_rng(0)  # of its own: rounding must not depend on which tests have run before
    model = tg.Sequential([Input(shape, dtype=dtype), *inner])
    for path, variable in model.named_variables():
        values = rng.normal(0.5, 0.4, size=variable.shape)
        variable.assign(np.abs(values) + 0.1 if path.endswith("variance") else values)
    return model


def largest_difference(model, folded, x):
    expected = model(x, training=False).numpy()
    return np.abs(folded(x, training=False).numpy() - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-12)])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("settings", [{}, {"center": False}, {"scale": False}, {"center": False, "scale": False}])
def test_a_folded_network_is_the_same_function(dtype, tolerance, use_bias, settings):
    model = trained(
        Dense(50, use_bias=use_bias, dtype=dtype),
        BatchNormalization(dtype=dtype, **settings),
        Activation("elu", dtype=dtype),
        Dense(30, use_bias=use_bias, dtype=dtype),
        BatchNormalization(dtype=dtype, **settings),
        Activation("softplus", dtype=dtype),
        Dense(3, dtype=dtype),
        dtype=dtype,
    )
    folded = tg.fold_batch_normalization(model)
    assert [type(layer).__name__ for layer in folded.layers] == [
        "Input", "Dense", "Activation", "Dense", "Activation", "Dense",
    ]  # fmt: skip
    assert {v.dtype for _, v in folded.named_variables()} == {np.dtype(dtype)}
    x = np.random.default_rng(1).normal(3.0, 2.0, size=(100, 4)).astype(dtype)
    assert largest_difference(model, folded, x) < tolerance


def test_a_kernel_takes_in_the_slope_and_a_bias_the_rest():
    model = trained(dense(5), bn())
    folded = tg.fold_batch_normalization(model).layers[1]
    before, layer = model.layers[1], model.layers[2]
    slope = layer.gamma.numpy() / np.sqrt(layer.moving_variance.numpy() + EPSILON)
    np.testing.assert_allclose(folded.kernel, before.kernel.numpy() * slope, rtol=1e-14)
    expected = (before.bias.numpy() - layer.moving_mean.numpy()) * slope + layer.beta.numpy()
    np.testing.assert_allclose(folded.bias, expected, rtol=1e-14)


def test_the_original_is_untouched():
    model = trained(dense(5), bn(), Activation("relu", dtype=np.float64), dense(3))
    before, shown = model.state_dict(), repr(model)
    folded = tg.fold_batch_normalization(model)
    assert repr(model) == shown
    assert all(np.array_equal(value, before[path]) for path, value in model.state_dict().items())
    assert not {id(v) for _, v in model.named_variables()} & {id(v) for _, v in folded.named_variables()}
    assert not folded.training


def test_dropout_between_lets_inference_pass():
    model = trained(dense(5), Dropout(0.5, dtype=np.float64), bn())
    assert largest_difference(model, tg.fold_batch_normalization(model), data()) < 1e-12


def test_axes_of_more_than_two_dimensions():
    model = trained(dense(5), bn(axis=[2]), shape=(3, 4))
    assert largest_difference(model, tg.fold_batch_normalization(model), RNG.normal(size=(7, 3, 4))) < 1e-12


class Own(tg.Model):
    """A network with a forward of its own: `shape` says how its parts are connected."""

    def __init__(self, shape, **parts):
        self.shape, self.parts = shape, {}
        for name, part in parts.items():
            self.parts[name] = part

    def forward(self, x):
        return self.shape(x, **self.parts)


def test_a_forward_of_ones_own_is_read_from_its_graph():
    model = Own(lambda x, a, n, b: tg.relu(n(a(x))) + b(x), a=dense(5), n=bn(), b=dense(5))
    x = data()
    model(x)
    folded = tg.fold_batch_normalization(model, x)
    assert isinstance(folded.parts["n"], Activation)
    assert largest_difference(model, folded, x) < 1e-12


class Pair(tg.Sequential):
    """A row of layers with a forward that knows their places."""

    def forward(self, x):
        return self.layers[1](self.layers[0](x))


@pytest.mark.parametrize(
    "inner",
    [
        lambda: [dense(5), tg.Sequential([bn()]), dense(3)],
        lambda: [tg.Sequential([dense(5)]), tg.Sequential([tg.Sequential([bn()])])],
        lambda: [Pair([dense(5), bn()])],
    ],
)
def test_where_taking_the_layer_out_would_leave_no_row_it_leaves_a_layer_that_does_nothing(inner):
    x = data()
    model = trained(*inner())
    folded = tg.fold_batch_normalization(model, x)
    assert not any(isinstance(module, BatchNormalization) for module in folded.modules())
    assert folded.known_output_shape() == model.known_output_shape()  # so that it goes on as a model
    assert len(folded.state_dict()) > 0
    assert largest_difference(model, folded, x) < 1e-12


def refused(path, reason):
    return pytest.raises(
        SettingError, match=rf'^fold_batch_normalization cannot fold BatchNormalization "{path}": {reason}'
    )


@pytest.mark.parametrize(
    ("inner", "path", "reason"),
    [
        ([bn(), dense(3)], "layers.1", "it is the first to see the inputs, no Dense comes before it"),
        ([dense(3, "relu"), bn()], "layers.2", 'relu of Dense "layers.1" comes before it'),
        (
            [dense(3), Activation("tanh", dtype=np.float64), bn()],
            "layers.3",
            'tanh of Activation "layers.2" comes before it',
        ),
        (
            [dense(3), LayerNormalization(dtype=np.float64), bn()],
            "layers.3",
            'scale_and_shift of LayerNormalization "layers.2" comes',
        ),
    ],
)
def test_what_does_not_follow_a_plain_dense_is_refused_by_name(inner, path, reason):
    model = trained(*inner)
    with refused(path, reason):
        tg.fold_batch_normalization(model)


class Halved(Dense):
    """A Dense that does more than multiply by its kernel."""

    def forward(self, x):
        return x @ (0.5 * self.kernel) + self.bias


class Added(Dense):
    def forward(self, x):
        return tg.affine(x, self.kernel, 2.0 * self.bias)


@pytest.mark.parametrize(("kind", "made"), [(Halved, "add"), (Added, "affine")])
def test_a_dense_that_does_something_else_is_refused(kind, made):
    model = trained(kind(3, dtype=np.float64), bn())
    with refused("layers.2", f'{made} of {kind.__name__} "layers.1" comes before it'):
        tg.fold_batch_normalization(model)


@pytest.mark.parametrize("axis", [1, [1, 2]])
def test_another_axis_is_refused(axis):
    model = trained(dense(3), bn(axis=axis), shape=(3, 4))
    with refused("layers.2", r"its axis=.* is not the last alone"):
        tg.fold_batch_normalization(model)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (lambda x, a, n, b: n(a(x)) + a(x), 'Dense "parts.a" is used in several places'),
        (lambda x, a, n, b: n(a(x)) + n(b(x)), "it is called 2 times"),
        (lambda x, a, n, b: a(x), "it is called 0 times"),
        (lambda x, a, n, b: (lambda h: n(h) + h)(a(x)), 'Dense "parts.a" gives its result to others too'),
        (lambda x, a, n, b: (lambda h: (n(h), h))(a(x)), 'Dense "parts.a" gives its result to others too'),
        (lambda x, a, n, b: n(x @ a.kernel), "matmul comes before it"),
    ],
)
def test_what_is_shared_is_refused(shape, reason):
    model = Own(shape, a=dense(5), n=bn(), b=dense(5))
    x = data()
    for part in (model.parts["a"], model.parts["b"]):
        part(x)
    model.parts["n"](data(8, 5))
    with refused("parts.n", reason):
        tg.fold_batch_normalization(model, x)


def test_a_tied_kernel_is_refused():
    model = Own(lambda x, a, n, b: n(a(x)) + b(x), a=dense(5), n=bn(), b=dense(5))
    x = data()
    model(x)
    model.parts["b"].kernel = model.parts["a"].kernel
    with refused("parts.n", 'Dense "parts.a" is used in several places'):
        tg.fold_batch_normalization(model, x)


def test_another_dtype_is_refused():
    model = trained(dense(3, dtype=np.float32), bn(dtype=np.float64))
    with refused("layers.2", 'it computes in float64, and Dense "layers.1" in float32'):
        tg.fold_batch_normalization(model)


def test_on_request_what_cannot_be_folded_stays():
    model = trained(bn(), dense(5), bn(), Activation("elu", dtype=np.float64), dense(3))
    folded = tg.fold_batch_normalization(model, partial=True)
    assert [type(layer).__name__ for layer in folded.layers] == [
        "Input", "BatchNormalization", "Dense", "Activation", "Dense",
    ]  # fmt: skip
    assert largest_difference(model, folded, data()) < 1e-12


def test_a_model_that_is_not_ready_is_refused():
    model = tg.Sequential([Dense(3), BatchNormalization()])
    with pytest.raises(NotBuiltError, match="Dense"):
        tg.fold_batch_normalization(model)
    model = Own(lambda x, n: n(x), n=bn(input_shape=[4]))
    with pytest.raises(NotBuiltError, match=r"fold_batch_normalization\(model, x\)$"):
        tg.fold_batch_normalization(model)


@pytest.mark.parametrize("function", [tg.recalibrate_batch_normalization, tg.fold_batch_normalization])
def test_neither_belongs_into_a_captured_step(function):
    model = trained(dense(5), bn())
    step = tg.capture(lambda x: (function(model, x), x)[1])
    with pytest.raises(CaptureError, match=function.__name__):
        step(tg.tensor(data()))


# A folded model goes on as a model


@pytest.fixture(scope="module")
def digits():
    tg.set_random_seed(0)
    (x, y), _ = tg.datasets.load_digits()
    x = (x[:600] / 16).astype(np.float32)
    model = tg.Sequential(
        [
            Flatten(input_shape=x.shape[1:]),
            Dense(32, kernel_initializer="he_normal", use_bias=False),
            BatchNormalization(momentum=0.9),
            Activation("elu"),
            Dense(10, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y[:600], epochs=3, verbose=0)
    return model, x, y[:600]


def test_a_trained_model_predicts_and_evaluates_the_same_when_folded(digits):
    model, x, y = digits
    folded = tg.fold_batch_normalization(model)
    np.testing.assert_allclose(folded.predict(x), model.predict(x), rtol=0, atol=1e-6)
    np.testing.assert_allclose(folded.evaluate(x, y), model.evaluate(x, y), rtol=1e-6)


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_a_folded_model_is_written_in_c_without_normalization(digits, tmp_path):
    model, x, _ = digits
    tg.fold_batch_normalization(model).export_c(tmp_path / "net.c", batch_size=4)
    assert "multiply" not in (tmp_path / "net.c").read_text()
    command = ["cc", "-O2", "-shared", "-fPIC", "net.c", "-o", "net.so", "-lm"]
    subprocess.run(command, cwd=tmp_path, check=True)
    y = np.zeros((4, 10), np.float32)
    predict = ctypes.CDLL(str(tmp_path / "net.so")).net_predict
    predict.restype = None
    batch = np.ascontiguousarray(x[:4])
    predict(ctypes.c_void_p(batch.ctypes.data), ctypes.c_void_p(y.ctypes.data))
    np.testing.assert_allclose(y, model.predict(x[:4]), rtol=0, atol=1e-6)


def test_recalibration_brings_young_averages_close_to_training(digits):
    """With momentum .999 the averages of three epochs are still mostly what they began as."""
    _, x, y = digits
    tg.set_random_seed(0)
    model = tg.Sequential(
        [Flatten(input_shape=x.shape[1:]), Dense(32), BatchNormalization(momentum=0.999), Dense(10, "softmax")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=3, verbose=0)
    before = model.measure((x, y), 32)["loss"]
    tg.recalibrate_batch_normalization(model, x)
    assert model.evaluate(x, y) < 0.8 * before
