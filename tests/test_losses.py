import shutil

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn import losses
from tinygrad_bn.errors import SettingError, ShapeError
from tinygrad_bn.mode import using
from tinygrad_bn.recorders import Recorder

rng = np.random.default_rng(0)
LOGITS = rng.normal(size=(6, 4))
LABELS = np.array([0, 3, 1, 2, 2, 0])
ONE_HOT = np.eye(4)[LABELS]
TRUTH = rng.random((6, 4))
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
SIGMOID = 1 / (1 + np.exp(-LOGITS))
ERROR = TRUTH - LOGITS

# (loss, truth, prediction, what it is in float64)
CASES = {
    "mse": (losses.MeanSquaredError(), TRUTH, LOGITS, np.mean(ERROR**2)),
    "mae": (losses.MeanAbsoluteError(), TRUTH, LOGITS, np.mean(np.abs(ERROR))),
    "huber": (
        losses.Huber(0.7),
        TRUTH,
        LOGITS,
        np.mean(np.where(abs(ERROR) <= 0.7, ERROR**2 / 2, 0.7 * (abs(ERROR) - 0.35))),
    ),
    "binary": (
        losses.BinaryCrossentropy(),
        TRUTH,
        SIGMOID,
        -np.mean(TRUTH * np.log(SIGMOID) + (1 - TRUTH) * np.log(1 - SIGMOID)),
    ),
    "categorical": (
        losses.CategoricalCrossentropy(),
        ONE_HOT,
        PROBABILITIES,
        -np.mean(np.log(PROBABILITIES[range(6), LABELS])),
    ),
    "sparse": (
        losses.SparseCategoricalCrossentropy(),
        LABELS,
        PROBABILITIES,
        -np.mean(np.log(PROBABILITIES[range(6), LABELS])),
    ),
}
ACTIVATIONS = {"binary": tg.sigmoid, "categorical": tg.softmax, "sparse": tg.softmax}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-14)])
def test_a_loss_is_its_formula_on_arrays_and_on_tensors(name, dtype, tolerance):
    loss, y_true, y_pred, expected = CASES[name]
    on_arrays = loss(y_true, y_pred.astype(dtype))
    on_tensors = loss(y_true, tg.tensor(y_pred.astype(dtype), requires_grad=True))
    assert type(on_arrays) is np.ndarray
    assert isinstance(on_tensors, tg.Tensor)
    for value in (on_arrays, on_tensors.numpy()):
        assert value.shape == ()
        assert value.dtype == dtype
        np.testing.assert_allclose(value, expected, rtol=tolerance)


def test_numbers_as_truth_promote_no_loss_of_ones_own():
    class Own(tg.losses.Loss):
        def per_sample(self, y_true, y_pred):
            return tg.square(y_true - y_pred)

    assert Own()([[0.1, 0.2]], tg.tensor([[0.3, 0.4]])).dtype == np.float32


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_numbers_as_truth_are_rounded_once_to_the_dtype_of_the_prediction(dtype):
    y_pred = tg.tensor(np.full((1, 2), 0.1), dtype=dtype)
    assert losses.MeanAbsoluteError()([[0.1, 0.1]], y_pred).item() == 0


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_that_of_the_formula(name):
    loss, y_true, y_pred, _ = CASES[name]
    step = 1e-6 * rng.normal(size=y_pred.shape)
    along = np.sum(tg.grad(lambda p: loss(y_true, p))(y_pred) * step)
    np.testing.assert_allclose(along, (loss(y_true, y_pred + step) - loss(y_true, y_pred - step)) / 2, rtol=1e-5)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_probabilities_remembered_logits_and_from_logits_agree(name):
    loss, y_true, _, expected = CASES[name]
    x = tg.tensor(LOGITS, requires_grad=True)
    remembered = loss(y_true, ACTIVATIONS[name](x))
    given = type(loss)(from_logits=True)(y_true, x)
    np.testing.assert_allclose([remembered.item(), given.item()], expected, rtol=1e-14)
    np.testing.assert_allclose(
        tg.gradients(remembered, x).numpy(),
        tg.grad(lambda logits: loss(y_true, ACTIVATIONS[name](logits) * 1.0))(LOGITS),
        atol=1e-12,
    )


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_saturated_output_has_a_finite_loss_and_a_gradient(name):
    loss, y_true, _, _ = CASES[name]
    x = tg.tensor(np.where(ONE_HOT == 1, -1e4, 1e4).astype(np.float32), requires_grad=True)
    y_true = 1 - ONE_HOT * 1.0 if name == "binary" else y_true
    wrong = loss(1 - y_true if name == "binary" else y_true, ACTIVATIONS[name](x))
    wrong.backward()
    assert np.isfinite(wrong.item())
    assert wrong.item() > 1000
    assert np.abs(x.grad.numpy()).max() > 0.01


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_probabilities_of_0_and_1_without_logits_are_clipped(dtype):
    expected = -np.log(max(losses.EPSILON, float(np.finfo(dtype).epsneg)))
    certain = np.array([[0, 1], [1, 0]], dtype)
    for loss, y_true in [
        (losses.SparseCategoricalCrossentropy(), [0, 1]),
        (losses.CategoricalCrossentropy(), [[1, 0], [0, 1]]),
        (losses.BinaryCrossentropy(), [[1, 0], [0, 1]]),
    ]:
        np.testing.assert_allclose(loss(y_true, certain), expected, rtol=0.02)


def test_probabilities_that_do_not_sum_to_1_are_scaled_as_in_keras():
    loss = losses.SparseCategoricalCrossentropy()
    np.testing.assert_allclose(loss(LABELS, PROBABILITIES * 0.5), loss(LABELS, PROBABILITIES), rtol=1e-12)


def test_logits_are_used_only_where_the_activation_is_the_right_one():
    loss = losses.SparseCategoricalCrossentropy()
    across = tg.softmax(tg.tensor(LOGITS), axis=0)
    np.testing.assert_allclose(loss(LABELS, across).item(), loss(LABELS, across.numpy()), rtol=1e-12)
    inner = tg.softmax(tg.tensor(LOGITS), axis=1)
    assert loss(LABELS, inner).item() == losses.SparseCategoricalCrossentropy(from_logits=True)(LABELS, LOGITS)
    logits = tg.Parameter(LOGITS)
    y_pred = tg.softmax(logits)
    logits.assign(np.zeros((6, 4)))
    np.testing.assert_allclose(loss(LABELS, y_pred).item(), CASES["sparse"][3], rtol=1e-12)


@pytest.mark.parametrize("labels", [LABELS[:, None], LABELS.astype(np.float32), LABELS.astype(np.uint8), list(LABELS)])
def test_sparse_labels_may_be_a_column_floats_or_small_integers(labels):
    loss, _, y_pred, expected = CASES["sparse"]
    np.testing.assert_allclose(loss(labels, y_pred), expected, rtol=1e-12)


def test_more_axes_are_more_samples():
    loss, labels, y_pred, expected = CASES["sparse"]
    np.testing.assert_allclose(loss(labels.reshape(2, 3), y_pred.reshape(2, 3, 4)), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["mse", "mae", "huber", "binary_crossentropy"])
def test_a_last_axis_of_1_is_made_up_for_and_never_broadcast(name):
    loss, y_true, y_pred = losses.get(name), rng.random(5), rng.random((5, 1))
    assert loss(y_true, y_pred) == loss(y_true[:, None], y_pred) == loss(y_true[:, None], y_pred[:, 0])


@pytest.mark.parametrize(
    ("name", "y_true", "shape", "message"),
    [
        ("sparse_categorical_crossentropy", [0, 1, 4], (3, 4), r"labels from 0 to 3; got 4 at y_true\[2\]"),
        ("sparse_categorical_crossentropy", [0, -1, 1], (3, 4), r"labels from 0 to 3; got -1 at y_true\[1\]"),
        (
            "sparse_categorical_crossentropy",
            [0.0, 1.5, 1.0],
            (3, 4),
            r"whole numbers as labels; got 1.5 at y_true\[1\]",
        ),
        ("sparse_categorical_crossentropy", [0.0, np.nan, 1.0], (3, 4), r"labels from 0 to 3; got nan at y_true\[1\]"),
        ("sparse_categorical_crossentropy", [0, 1], (3, 4), r"shape \(3,\) for y_pred of shape \(3, 4\); got \(2,\)"),
        ("sparse_categorical_crossentropy", np.eye(4)[:3], (3, 4), "one-hot truth there is CategoricalCrossentropy"),
        ("categorical_crossentropy", [0, 1, 2], (3, 4), "integer labels there is SparseCategoricalCrossentropy"),
        ("categorical_crossentropy", -np.eye(4), (4, 4), "y_true from 0 to 1; got -1"),
        ("binary_crossentropy", [0, 2], (2,), "y_true from 0 to 1; got 2"),
        ("binary_crossentropy", [0.0, np.nan], (2,), "y_true from 0 to 1; got nan"),
        ("mse", np.zeros((3, 2)), (3, 4), r"the shape of y_pred, \(3, 4\); got \(3, 2\)"),
        ("mse", np.zeros(0), (0,), "at least one sample"),
        ("sparse_categorical_crossentropy", np.zeros(0, int), (0, 4), "at least one sample"),
    ],
)
def test_truth_that_cannot_be_true_raises(name, y_true, shape, message):
    with pytest.raises(ValueError, match=message):
        losses.get(name)(y_true, np.full(shape, 0.5))


def test_logits_in_the_place_of_probabilities_raise():
    with pytest.raises(ValueError, match=r"expects probabilities, from 0 to 1; got values from -.* from_logits=True"):
        losses.SparseCategoricalCrossentropy()(LABELS, LOGITS)
    with pytest.raises(SettingError, match="got the result of softmax"):
        losses.SparseCategoricalCrossentropy(from_logits=True)(LABELS, tg.softmax(tg.tensor(LOGITS)))
    assert np.isnan(losses.SparseCategoricalCrossentropy()(LABELS, PROBABILITIES * np.nan))  # divergence is no misuse


EXECUTORS = ["numpy", pytest.param("native", marks=pytest.mark.skipif(not shutil.which("cc"), reason="no compiler"))]


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_captured_step_refuses_logits_in_the_place_of_probabilities_at_every_run(name, executor):
    loss, y_true, _, _ = CASES[name]
    w, optimizer = tg.Parameter(np.float64(1.0), name="w"), tg.optimizers.SGD(0.0)

    @tg.capture(executor=executor)
    def step(y_true, y_pred):
        value = loss(y_true, y_pred * w)
        value.backward()
        optimizer.step([w])
        w.grad = None
        return value

    with pytest.raises(ValueError, match=r"expects probabilities, from 0 to 1; got values from -.* from_logits=True"):
        step(y_true, LOGITS)
    np.testing.assert_allclose(step(y_true, PROBABILITIES).item(), loss(y_true, PROBABILITIES), rtol=1e-12)
    assert step.executor == executor
    for wrong in (LOGITS, PROBABILITIES + 1.01, PROBABILITIES - 1.01):
        with pytest.raises(ValueError, match=r"expects probabilities, from 0 to 1; got something .* from_logits=True"):
            step(y_true, wrong)
    assert np.isnan(step(y_true, PROBABILITIES * np.nan).item())  # divergence is no misuse
    assert optimizer.iterations == 2


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_captured_step_refuses_labels_that_are_not_whole_numbers_at_every_run(executor):
    loss, (w, optimizer) = losses.SparseCategoricalCrossentropy(), (tg.Parameter(1.0), tg.optimizers.SGD(0.0))

    @tg.capture(executor=executor)
    def step(y_true, logits):
        value = loss(y_true, tg.softmax(logits * w))
        value.backward()
        optimizer.step([w])
        w.grad = None
        return value

    labels = LABELS.astype(np.float32)
    for _ in range(2):
        step(labels, LOGITS)
    assert step.executor == executor
    with pytest.raises(
        ValueError, match="SparseCategoricalCrossentropy expects whole numbers as labels; got something"
    ):
        step(abs(labels - 0.5), LOGITS)
    with pytest.raises(ValueError, match="expects labels from 0 to 3; got something"):
        step(labels + 9, LOGITS)
    assert optimizer.iterations == 2


def test_fit_refuses_a_model_that_ends_in_logits():
    model = tg.Sequential([tg.layers.Input(4), tg.layers.Dense(4, kernel_initializer="ones")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="expects probabilities, from 0 to 1; got values from"):
        model.fit(LOGITS, LABELS, verbose=0)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_remembered_logits_need_no_look_at_the_probabilities(name):
    loss, y_true, _, _ = CASES[name]
    guards = Guards()
    with using(recorder=guards):
        loss(y_true, ACTIVATIONS[name](tg.tensor(LOGITS)))
        assert len(guards.good) == 1  # that of the truth
        loss(y_true, tg.tensor(PROBABILITIES))
        assert len(guards.good) == 3


class Guards(Recorder):
    def __init__(self):
        self.good = []

    def guard(self, good, explain):
        self.good.append((bool(getattr(good, "value", good)), explain()))
        return True


def test_a_recorder_is_told_what_must_hold_of_the_truth_and_shapes_are_looked_at():
    loss, y_pred, guards = losses.SparseCategoricalCrossentropy(), tg.softmax(tg.tensor(LOGITS)), Guards()
    with using(recorder=guards):
        assert loss(tg.tensor(LABELS), y_pred).shape == loss(tg.tensor(LABELS + 9), y_pred).shape == ()
        with pytest.raises(ShapeError):
            loss(LABELS[:3], y_pred)
    assert [good for good, _ in guards.good] == [True, False]
    assert isinstance(guards.good[1][1], ValueError)


def test_get():
    assert isinstance(losses.get("mse"), losses.MeanSquaredError)
    huber = losses.Huber(2.0)
    assert losses.get(huber) is huber
    assert repr(huber) == "Huber(delta=2.0)"
    with pytest.raises(ValueError, match="Did you mean 'categorical_crossentropy'"):
        losses.get("categorical_crosentropy")
    assert repr(losses.get(losses.Huber)) == "Huber(delta=1.0)"
    for wrong in (3, int):
        with pytest.raises(SettingError, match=f"unknown loss {wrong!r}. Choices: binary_crossentropy"):
            losses.get(wrong)
    with pytest.raises(ValueError, match="Huber expects delta to be a finite number above 0; got -1"):
        huber.delta = -1
    with pytest.raises(ValueError, match="BinaryCrossentropy expects from_logits to be True or False; got 'no'"):
        losses.BinaryCrossentropy(from_logits="no")
    with pytest.raises(ValueError, match="Huber expects delta to be a finite number above 0; got -1"):
        losses.Huber(-1)
    with pytest.raises(ValueError, match="Huber expects delta to be a finite number above 0; got 'a'"):
        losses.Huber("a")


def test_a_function_is_a_loss_and_keeps_the_dtype():
    loss = losses.get(lambda y_true, y_pred: tg.abs(y_true - y_pred) * 2)
    value = loss(TRUTH, LOGITS.astype(np.float32))
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, 2 * np.mean(np.abs(ERROR)), rtol=1e-6)


@pytest.mark.parametrize(("y_true", "y_pred"), [((4,), (4, 1)), ((4, 1), (4,)), ((4, 1), (4, 1))])
def test_a_function_gets_truth_in_the_shape_of_the_prediction_where_a_last_axis_of_1_is_all_that_differs(
    y_true, y_pred
):
    def squares(y_true, y_pred):
        assert y_true.shape == y_pred.shape
        return (y_true - y_pred) ** 2

    truth, prediction = np.arange(4.0).reshape(y_true), np.ones(y_pred)
    assert losses.get(squares)(truth, prediction) == np.mean((np.arange(4.0) - 1) ** 2)
    assert losses.get(lambda y_true, y_pred: y_pred[range(4), y_true])(np.zeros(4, int), np.ones((4, 3))) == 1


def test_pytorch_agrees():
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    x, t, labels = torch.tensor(LOGITS), torch.tensor(TRUTH), torch.tensor(LABELS)
    for loss, y_true, expected in [
        (losses.SparseCategoricalCrossentropy(from_logits=True), LABELS, f.cross_entropy(x, labels)),
        (losses.CategoricalCrossentropy(from_logits=True), TRUTH, f.cross_entropy(x, t)),
        (losses.BinaryCrossentropy(from_logits=True), TRUTH, f.binary_cross_entropy_with_logits(x, t)),
        (losses.Huber(0.7), TRUTH, f.huber_loss(x, t, delta=0.7)),
    ]:
        np.testing.assert_allclose(loss(y_true, LOGITS), expected.item(), rtol=1e-13)
