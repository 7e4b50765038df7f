import copy
import pickle
import shutil
from functools import partial

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn import layers
from tinygrad_bn.errors import AxisError, NotBuiltError, SettingError, ShapeError
from tinygrad_bn.mode import using
from tinygrad_bn.recorders import Recorder

RNG = np.random.default_rng(0)
EPSILON = 1e-3


def composite(x, gamma, beta, axis=0):
    """Batch normalization from elementary operations."""
    centred = x - tg.mean(x, axis=axis, keepdims=True)
    variance = tg.mean(tg.square(centred), axis=axis, keepdims=True)
    return gamma * (centred / tg.sqrt(variance + EPSILON)) + beta


def by_the_core(x, gamma, beta, axis=0):
    """Batch normalization from the primitive `standardize`."""
    return gamma * tg.standardize(x, axis=axis, epsilon=EPSILON) + beta


def gradients_by_the_paper(x, gamma, g, axis=0):
    """The six formulas of Ioffe and Szegedy (2015), section 3, which can themselves be differentiated."""
    total = partial(tg.sum, axis=axis, keepdims=True)
    m = x.size // tg.sum(x, axis=axis).size
    mean = total(x) / m
    deviation = tg.sqrt(total(tg.square(x - mean)) / m + EPSILON)
    x_hat = (x - mean) / deviation
    to_x_hat = g * gamma
    to_variance = total(to_x_hat * (x - mean) * -0.5 / (deviation * deviation * deviation))
    to_mean = total(-to_x_hat / deviation) + to_variance * total(-2 * (x - mean)) / m
    to_x = to_x_hat / deviation + to_variance * 2 * (x - mean) / m + to_mean / m
    return to_x, tg.sum(g * x_hat, axis=axis), tg.sum(g, axis=axis)


def double(shape=(8, 5), **settings):
    layer = layers.BatchNormalization(
        dtype=np.float64, gamma_initializer="random_normal", beta_initializer="random_normal", **settings
    )
    return layer, tg.tensor(RNG.normal(1.0, 2.0, size=shape), requires_grad=True), RNG.normal(size=shape)


# The gradients three ways


def firsts_and_seconds(gradients, x, gamma, g):
    """First derivatives of a sum weighted by g, and those of a sum of their cosines, by x, gamma and g."""
    first = gradients(x, gamma, g)
    seconds = tg.gradients(sum(tg.cos(each).sum() for each in first), [x, gamma, g])
    return [*first, *seconds]


@pytest.mark.parametrize(
    ("shape", "settings", "over"),
    [((8, 5), {}, 0), ((6, 3, 4), {"axis": -1}, (0, 1)), ((6, 3, 4), {"axis": [1, 2]}, 0)],
)
def test_derivatives_to_the_second_order_are_those_of_the_primitives_of_the_core_and_of_the_six_formulas(
    shape, settings, over
):
    layer, x, weights = double(shape, **settings)
    layer(x)
    g = tg.tensor(weights, requires_grad=True)

    def pulled(function):
        def gradients(x, gamma, g):
            beta = tg.tensor(layer.beta.numpy(), requires_grad=True)
            return tg.gradients(function(x, gamma, beta), [x, gamma, beta], grad_outputs=g, create_graph=True)

        return gradients

    def by_the_layer(x, gamma, g):
        return tg.gradients(layer(x), [x, layer.gamma, layer.beta], grad_outputs=g, create_graph=True)

    gamma = tg.tensor(layer.gamma.numpy(), requires_grad=True)
    expected = firsts_and_seconds(by_the_layer, x, layer.gamma, g)
    ways = [partial(composite, axis=over), partial(by_the_core, axis=over)]
    for way in [*map(pulled, ways), partial(gradients_by_the_paper, axis=over)]:
        for ours, theirs in zip(expected, firsts_and_seconds(way, x, gamma, g), strict=True):
            np.testing.assert_allclose(ours.numpy().ravel(), theirs.numpy().ravel(), rtol=1e-9, atol=1e-11)


def test_the_second_derivative_is_that_of_differences():
    layer, x, g = double()
    layer(x)

    def penalty(x):
        return sum(tg.square(part).sum() for part in gradients_by_the_paper(x, layer.gamma, g)).item()

    first = tg.gradients(layer(x), [x, layer.gamma, layer.beta], grad_outputs=g, create_graph=True)
    second = tg.gradients(sum(tg.square(part).sum() for part in first), x).numpy()
    direction, h = RNG.normal(size=x.shape), 1e-5
    numeric = (penalty(x.numpy() + h * direction) - penalty(x.numpy() - h * direction)) / (2 * h)
    np.testing.assert_allclose((second * direction).sum(), numeric, rtol=1e-6)


def test_values_gradients_and_averages_are_pytorchs():
    torch = pytest.importorskip("torch")
    layer, x, g = double(unbiased=True)
    layer(x)
    theirs = torch.nn.BatchNorm1d(5, eps=EPSILON, momentum=0.01, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(layer.gamma.numpy()))
        theirs.bias.copy_(torch.tensor(layer.beta.numpy()))
    their_x = torch.tensor(x.numpy(), requires_grad=True)
    theirs(their_x)
    layer(x).backward(g)
    theirs(their_x).backward(torch.tensor(g))
    for ours, other in [
        (x.grad, their_x.grad),
        (layer.gamma.grad, theirs.weight.grad),
        (layer.beta.grad, theirs.bias.grad),
        (layer.moving_mean, theirs.running_mean),
        (layer.moving_variance, theirs.running_var),
        (layer.eval()(x).detach(), theirs.eval()(their_x).detach()),
    ]:
        np.testing.assert_allclose(ours, other.numpy(), rtol=1e-10, atol=1e-12)


# Training, inference and the averages


def test_the_output_of_training_is_standardized():
    y = layers.BatchNormalization(dtype=np.float64, epsilon=1e-12)(RNG.normal(3.0, 5.0, size=(64, 7)))
    np.testing.assert_allclose(y.numpy().mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(y.numpy().std(axis=0), 1, rtol=1e-9)


@pytest.mark.parametrize("unbiased", [False, True])
def test_momentum_is_the_weight_of_the_old_average(unbiased):
    layer = layers.BatchNormalization(momentum=0.9, unbiased=unbiased, dtype=np.float64)
    mean, variance = np.zeros(3), np.ones(3)
    for _ in range(4):
        x = RNG.normal(2.0, 3.0, size=(10, 3))
        layer(x)
        mean = 0.9 * mean + 0.1 * x.mean(axis=0)
        variance = 0.9 * variance + 0.1 * x.var(axis=0, ddof=int(unbiased))
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-12)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-12)


def test_inference_uses_the_averages_and_forgets_the_batch():
    layer, x, _ = double()
    layer(x)
    whole = layer(x, training=False).numpy()
    mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    expected = layer.gamma.numpy() * (x.numpy() - mean) / np.sqrt(variance + EPSILON) + layer.beta.numpy()
    np.testing.assert_allclose(whole, expected, rtol=1e-12, atol=1e-14)
    one_by_one = [layer(x.numpy()[i : i + 1], training=False).numpy()[0] for i in range(8)]
    np.testing.assert_allclose(one_by_one, whole, rtol=1e-12)


def test_the_statistics_are_not_parameters():
    layer = layers.BatchNormalization(input_shape=[3])
    assert [path for path, _ in layer.named_parameters()] == ["gamma", "beta"]
    assert [path for path, _ in layer.named_states()] == ["moving_mean", "moving_variance"]


def test_a_layer_that_is_not_trainable_runs_in_inference_mode():
    layer, x, _ = double()
    layer(x)
    layer.trainable = False
    before = layer.state_dict()
    assert np.array_equal(layer(x, training=True), layer(x, training=False))
    assert all(np.array_equal(value, before[path]) for path, value in layer.state_dict().items())
    layer.trainable = True
    assert not np.array_equal(layer(x), layer(x, training=False))


def test_frozen_statistics_stand_still_while_gamma_and_beta_learn():
    layer, x, g = double()
    layer(x)
    layer.freeze_statistics()
    before = layer.state_dict()
    y = layer(x)
    assert np.array_equal(y, layer(x, training=False))
    assert all(np.array_equal(value, before[path]) for path, value in layer.state_dict().items())
    y.backward(g)
    assert layer.gamma.grad is not None
    layer.freeze_statistics(False)
    assert not np.array_equal(layer(x), y)
    assert not np.array_equal(layer.moving_mean, before["moving_mean"])


def test_a_recorder_can_follow_the_averages_back_to_the_batch():
    class Assignments(Recorder):
        def __init__(self):
            self.made = {}

        def assigned(self, variable, data, writer):
            self.made[variable] = data
            return True

    layer, x, _ = double()
    layer(x)
    recorder = Assignments()
    with using(recorder=recorder):
        layer(x)
    assert set(recorder.made) == {layer.moving_mean, layer.moving_variance}
    for average, data in recorder.made.items():
        found, waiting = set(), [data]
        while waiting:
            vertex = waiting.pop()
            found.add(vertex)
            waiting += [arg for arg in vertex.source[1] if isinstance(arg, tg.Tensor)] if vertex.source else []
        assert {x, average} <= found


# Axes


@pytest.mark.parametrize(
    ("axis", "parameters", "over"),
    [
        (-1, (4,), (0, 1)),
        (2, (4,), (0, 1)),
        (1, (3,), (0, 2)),
        ([1], (3,), (0, 2)),
        ([1, 2], (1, 3, 4), (0,)),
        ((2, -2), (1, 3, 4), (0,)),
    ],
)
def test_axis_says_what_has_statistics_of_its_own(axis, parameters, over):
    layer = layers.BatchNormalization(axis=axis, momentum=0.0, dtype=np.float64, gamma_initializer="random_normal")
    x = RNG.normal(size=(6, 3, 4))
    y = layer(x)
    assert {v.shape for _, v in layer.named_variables()} == {parameters}
    gamma = layer.gamma.numpy().reshape([1 if a in over else n for a, n in enumerate((1, 3, 4))])
    np.testing.assert_allclose(y, composite(x, gamma, 0.0, over), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layer.moving_mean.numpy().ravel(), x.mean(axis=over).ravel(), rtol=1e-10)
    np.testing.assert_allclose(layer.moving_variance.numpy().ravel(), x.var(axis=over).ravel(), rtol=1e-10)
    np.testing.assert_allclose(y, layer(x, training=False), rtol=1e-10, atol=1e-12)


def test_the_notebooks_three_dimensional_case():
    for axis, shape in ((-1, (28,)), ([1, 2], (1, 28, 28))):
        layer = layers.BatchNormalization(axis=axis, input_shape=[28, 28])
        assert {p.shape for p in layer.parameters()} == {shape}


def test_axes_that_are_left_free_may_change_their_length():
    layer = layers.BatchNormalization()
    layer(np.zeros((2, 7, 3)))
    assert layer(np.zeros((5, 2, 3))).shape == (5, 2, 3)
    with pytest.raises(ShapeError, match=r"^BatchNormalization expects x of shape \(batch, 7, 3\); got \(2, 7, 4\)$"):
        layer(np.zeros((2, 7, 4)))
    with pytest.raises(ShapeError, match=r"got \(2, 3\)$"):
        layer(np.zeros((2, 3)))


@pytest.mark.parametrize("axis", [0, 3, -4, [1, 1], [1, -2], "1", None, 1.0, [0, 1], True])
@pytest.mark.parametrize("kind", [layers.BatchNormalization, layers.LayerNormalization])
def test_axes_that_are_not_there(kind, axis):
    layer = kind(axis=axis)
    with pytest.raises(AxisError, match=f"^{kind.__name__} expects axis to name some of the axes 1 to 2; got "):
        layer(np.zeros((4, 2, 3)))
    assert not layer.built


# Hard inputs


def test_a_batch_of_one_gives_beta():
    layer = layers.BatchNormalization(beta_initializer="random_normal", unbiased=True)
    y = layer(RNG.normal(size=(1, 5)))
    assert np.array_equal(y.numpy()[0], layer.beta)
    np.testing.assert_allclose(layer.moving_variance, 0.99, rtol=1e-6)


def test_a_constant_column_gives_beta_and_a_finite_gradient():
    layer, _, g = double()
    constant = tg.tensor(np.full((8, 5), 3.0), requires_grad=True)
    y = layer(constant)
    assert np.array_equal(y, np.broadcast_to(layer.beta, (8, 5)))
    y.backward(g)
    assert np.isfinite(constant.grad).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_a_batch_that_is_not_finite_never_enters_the_averages(bad):
    layer = layers.BatchNormalization(momentum=0.5)
    layer(RNG.normal(size=(4, 2)))
    before = layer.state_dict()
    x = RNG.normal(size=(4, 2)).astype(np.float32)
    x[1, 0] = bad
    with np.errstate(all="ignore"):
        layer(x)
    for path in ("moving_mean", "moving_variance"):
        assert layer.state_dict()[path][0] == before[path][0]
        assert layer.state_dict()[path][1] != before[path][1]


@pytest.mark.parametrize("n", [2, 32, 256, 1024, 1025, 60000])
@pytest.mark.parametrize("units", [3, 100])
def test_averages_in_float32_do_not_cancel_however_many_values_there_are(n, units):
    x = (1e4 + RNG.normal(size=(n, units))).astype(np.float32)
    layer = layers.BatchNormalization(momentum=0.0)
    layer(x)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(layer.moving_variance, exact.var(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(layer.moving_mean, exact.mean(axis=0), rtol=0, atol=1e-2)


def test_an_empty_batch_is_refused_and_changes_nothing():
    layer = layers.BatchNormalization(input_shape=[3])
    before = layer.state_dict()
    with pytest.raises(ShapeError, match=r"^BatchNormalization: standardize expects .* not empty"):
        layer(np.zeros((0, 3)))
    assert all(np.array_equal(value, before[path]) for path, value in layer.state_dict().items())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.BatchNormalization(momentum=2), r"momentum to be a number in \[0, 1\]; got 2"),
        (lambda: layers.BatchNormalization(momentum="fast"), "BatchNormalization expects momentum .* got 'fast'"),
        (lambda: layers.BatchNormalization(epsilon=-1e-3), "BatchNormalization expects epsilon .* got -0.001"),
        (
            lambda: layers.BatchNormalization(gamma_initializer="one"),
            "'one' in BatchNormalization. Did you mean 'ones'",
        ),
        (lambda: layers.LayerNormalization(epsilon=None), "LayerNormalization expects epsilon .* got None"),
        (lambda: layers.BatchNormalization(center="no"), "expects center to be True or False; got 'no'"),
        (lambda: layers.LayerNormalization(scale=1), "expects scale to be True or False; got 1"),
        (lambda: setattr(layers.BatchNormalization(), "momentum", 5), r"momentum to be a number in \[0, 1\]; got 5"),
        (lambda: setattr(layers.BatchNormalization(), "epsilon", -5), "epsilon to be a number not below 0; got -5"),
        (
            lambda: layers.BatchNormalization().freeze_statistics("no"),
            "statistics_frozen to be True or False; got 'no'",
        ),
    ],
)
def test_wrong_settings(call, message):
    with pytest.raises(SettingError, match=message):
        call()


# Before and after the activation, captured and compiled

EXECUTORS = ["numpy", pytest.param("native", marks=pytest.mark.skipif(not shutil.which("cc"), reason="no compiler"))]


def trainer(*inner, executor, dtype=np.float32):
    """A network, and its training step run by this executor; those of one seed are twins."""
    tg.set_random_seed(3)
    net = tg.Sequential([layers.Input(6), *inner, layers.Dense(3)])
    optimizer = tg.optimizers.SGD(0.05, momentum=0.9)

    def step(x, y):
        loss = tg.mean(tg.square(net(x, training=True) - y))
        loss.backward()
        optimizer.step(net.parameters())
        net.zero_grad()
        return loss

    return net, step if executor == "eager" else tg.capture(step, executor=executor)


def assert_same(net, eager, executor):
    """The same bits, or of the native executor no more than rounding apart."""
    for path, value in net.state_dict().items():
        if executor == "numpy":
            assert value.tobytes() == eager.state_dict()[path].tobytes(), path
        else:
            np.testing.assert_allclose(value, eager.state_dict()[path], rtol=1e-4, atol=1e-5, err_msg=path)


def batches(count=5, n=16):
    rng = np.random.default_rng(5)
    return [[tg.tensor(rng.normal(size=(n, k)).astype(np.float32)) for k in (6, 3)] for _ in range(count)]


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(
    "inner",
    [
        lambda: [layers.Dense(8, use_bias=False), layers.BatchNormalization(momentum=0.9), layers.ELU()],
        lambda: [layers.Dense(8, "elu"), layers.BatchNormalization(unbiased=True)],
        lambda: [layers.BatchNormalization(center=False), layers.Dense(8), layers.BatchNormalization(scale=False)],
    ],
    ids=["before the activation", "after the activation", "without beta, without gamma"],
)
def test_captured_steps_are_those_of_eager_execution(inner, executor):
    (eager, plain), (net, step) = (trainer(*inner(), executor=way) for way in ("eager", executor))
    for batch in [*batches(), *batches(2, n=7), *batches(2, n=1)]:
        assert np.allclose(plain(*batch).item(), step(*batch).item(), rtol=1e-4)
    assert_same(net, eager, executor)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_long_batches_are_captured_too(executor):
    (eager, plain), (net, step) = (trainer(layers.BatchNormalization(), executor=way) for way in ("eager", executor))
    for batch in batches(2, n=300):
        plain(*batch), step(*batch)
    assert_same(net, eager, executor)


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("settings", [{"axis": -1}, {"axis": 1}, {"axis": [1, 2], "unbiased": True}])
def test_axes_are_captured(settings, executor):
    layer, twin = (layers.BatchNormalization(input_shape=[3, 4], **settings) for _ in range(2))
    captured = tg.capture(lambda x: twin(x, training=True) * 1.0, executor=executor)
    for _ in range(3):
        x = tg.tensor(RNG.normal(2, 3, size=(6, 3, 4)).astype(np.float32))
        np.testing.assert_allclose(captured(x), layer(x), rtol=1e-5, atol=1e-5 if executor == "native" else 0)
    assert_same(twin, layer, executor)


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_in_a_captured_step_too_a_batch_that_is_not_finite_never_enters_the_averages(bad, executor):
    layer = layers.BatchNormalization(momentum=0.5, input_shape=[3])
    captured = tg.capture(lambda x: layer(x, training=True) * 1.0, executor=executor)
    x = RNG.normal(size=(4, 3)).astype(np.float32)
    captured(tg.tensor(x))
    before = layer.state_dict()
    x[1, 0] = bad
    with np.errstate(all="ignore"):
        captured(tg.tensor(x))
    after = layer.state_dict()
    for path in ("moving_mean", "moving_variance"):
        assert after[path][0] == before[path][0]
        assert (after[path][1:] != before[path][1:]).all()
    assert len(captured.programs) == 1


@pytest.mark.parametrize("executor", EXECUTORS)
def test_statistics_that_are_frozen_between_captured_steps_stand_still(executor):
    net, step = trainer(layers.Dense(4), layers.BatchNormalization(), executor=executor)
    first, second, third = batches(3)
    step(*first)
    net.layers[2].freeze_statistics()
    before = net.state_dict()
    step(*second)
    after = net.state_dict()
    assert all((after[path] == value).all() == ("moving" in path) for path, value in before.items())
    net.layers[2].freeze_statistics(False)
    step(*third)
    assert (net.state_dict()["layers.2.moving_mean"] != after["layers.2.moving_mean"]).all()


@pytest.mark.parametrize("before", [True, False])
def test_a_deep_network_of_sigmoids_learns_with_batch_normalization_on_either_side_of_them(before):
    tg.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 6)).astype(np.float32)
    y = (x[:, 0] > x[:, 1]).astype(np.int64)
    sides = [layers.BatchNormalization, lambda: layers.Activation("sigmoid")]

    def loss(*kinds):
        deep = [layer() for _ in range(6) for layer in (partial(layers.Dense, 16), *kinds)]
        model = tg.Sequential([*deep, layers.Dense(2, "softmax")])
        model.compile(tg.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
        return model.fit(x, y, epochs=20, verbose=0, seed=0).history["loss"][-1]

    assert loss(*(sides if before else sides[::-1])) < 0.5 < 0.65 < loss(sides[1])


# Layer normalization


@pytest.mark.parametrize(("axis", "shape"), [(-1, (4,)), (1, (3,)), ([1, 2], (1, 3, 4))])
def test_layer_normalization_standardizes_each_sample(axis, shape):
    layer = layers.LayerNormalization(axis=axis, dtype=np.float64, gamma_initializer="random_normal")
    x = RNG.normal(size=(5, 3, 4))
    y = layer(x)
    assert layer.gamma.shape == shape
    over = tuple(a % 3 for a in np.atleast_1d(axis))
    gamma = layer.gamma.numpy().reshape([n if a in over else 1 for a, n in enumerate((1, 3, 4))])
    np.testing.assert_allclose(y, composite(x, gamma, 0.0, over), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(y.numpy()[:1], layer(x[:1]), rtol=1e-10)


def test_layer_normalization_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    x = RNG.normal(size=(5, 3, 4))
    ours = layers.LayerNormalization(dtype=np.float64)(x)
    theirs = torch.nn.functional.layer_norm(torch.tensor(x), [4], eps=EPSILON)
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-10, atol=1e-12)


# Normalization


def known(**settings):
    return layers.Normalization(mean=1.5, variance=4.0, **settings)


def test_a_normalization_has_learned_the_data_set_before_training():
    x = RNG.normal(3.0, 2.0, size=(100, 5))
    layer = layers.Normalization(dtype=np.float64)
    layer.adapt(x)
    y = layer(x, training=True).numpy()
    np.testing.assert_allclose(y, (x - x.mean(axis=0)) / x.std(axis=0), rtol=1e-12, atol=1e-12)
    assert np.array_equal(layer(x[:1], training=True), y[:1])
    layer.adapt(10 * x)
    np.testing.assert_allclose(layer(10 * x), y, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("axis", "shape", "over"),
    [(-1, (4,), (0, 1)), (1, (3,), (0, 2)), ([1, 2], (1, 3, 4), (0,)), (None, (1, 1, 1), (0, 1, 2))],
)
def test_axis_says_what_has_a_mean_of_its_own(axis, shape, over):
    x = RNG.normal(size=(6, 3, 4))
    layer = layers.Normalization(axis, dtype=np.float64)
    layer.adapt(x)
    assert layer.mean.shape == layer.variance.shape == shape
    expected = (x - x.mean(axis=over, keepdims=True)) / x.std(axis=over, keepdims=True)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("layer", [layers.BatchNormalization, layers.LayerNormalization])
def test_float16_is_normalized_also_where_its_squares_are_too_large_for_it(layer):
    x = np.random.default_rng(3).normal(0, 200, (40, 40)).astype(np.float16)
    y = layer(dtype="float16")(x)
    expected = layer(dtype="float64")(x.astype(np.float64))
    assert y.dtype == np.float16
    np.testing.assert_allclose(y.numpy(), expected.numpy(), atol=4e-3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_given_numbers_are_rounded_once_to_the_dtype_of_the_layer(dtype):
    layer = layers.Normalization(mean=[0.1, 0.2], variance=0.3, dtype=dtype)
    layer(np.zeros((1, 2), dtype))
    np.testing.assert_array_equal(layer.mean, np.array([0.1, 0.2]).astype(dtype))
    np.testing.assert_array_equal(layer.variance, np.full(2, 0.3).astype(dtype))


def test_mean_and_variance_can_be_given_and_turned_round():
    x = RNG.normal(size=(6, 3))
    np.testing.assert_allclose(known(dtype=np.float64)(x), (x - 1.5) / 2)
    back = known(dtype=np.float64, invert=True)
    np.testing.assert_allclose(back(known(dtype=np.float64)(x)), x, rtol=1e-14, atol=1e-14)
    each = layers.Normalization(mean=[1, 2, 3], variance=[1, 4, 9], dtype=np.float64)
    np.testing.assert_allclose(each(x), (x - [1, 2, 3]) / [1, 2, 3])


def test_what_is_constant_becomes_0():
    x = np.full((10, 2), 0.1, np.float32)
    layer = layers.Normalization()
    layer.adapt(x)
    assert not layer(x).any()
    np.testing.assert_allclose(layer(x + np.float32(1)), 1e7, rtol=1e-5)  # Keras's least divisor


def test_large_offsets_do_not_cancel():
    x = (1e4 + RNG.normal(size=(9000, 2))).astype(np.float32)
    layer = layers.Normalization()
    layer.adapt(x)
    np.testing.assert_allclose(layer.variance, x.astype(np.float64).var(axis=0), rtol=1e-6)
    np.testing.assert_allclose(layer(x).mean(axis=0), 0, atol=1e-3)


def test_what_it_learned_is_saved_copied_and_not_trained():
    x = RNG.normal(3.0, 2.0, size=(100, 5)).astype(np.float32)
    model = tg.Sequential([layers.Normalization(input_shape=[5]), layers.Dense(2)])
    model.layers[0].adapt(x)
    y = model(x).numpy()
    other = tg.Sequential([layers.Normalization(input_shape=[5]), layers.Dense(2)])
    other.load_state_dict(model.state_dict())
    for twin in (other, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(twin(x), y)
    assert [path for path, _ in model.named_states()] == ["layers.0.mean", "layers.0.variance"]
    assert model.layers[0].parameters() == []


@pytest.mark.parametrize("executor", EXECUTORS)
def test_it_is_captured_and_differentiated(executor):
    x = tg.tensor(RNG.normal(size=(6, 3)).astype(np.float32), requires_grad=True)
    for layer in (known(), known(invert=True), known(axis=None)):
        captured = tg.capture(lambda x, layer=layer: layer(x) * 1.0, executor=executor)
        for _ in range(2):
            np.testing.assert_allclose(captured(x), layer(x), rtol=0 if executor == "numpy" else 1e-6)
        tg.testing.assert_gradients(layer, x.numpy(), order=2)


def test_it_passes_no_signal_before_it_knows_the_data():
    model = tg.Sequential([layers.Normalization(input_shape=[3]), layers.Dense(2)])
    with pytest.raises(NotBuiltError, match=r"^Normalization knows no mean and variance yet: call adapt\(x\)"):
        model.layers[0](np.ones((2, 3)))
    model.layers[0].adapt(np.eye(3))
    assert model(np.ones((2, 3))).shape == (2, 2)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: layers.Normalization(mean=1.0), SettingError, "mean and variance together; got only one"),
        (lambda: layers.Normalization(mean=1.0, variance=-1.0), SettingError, "variance to be not below 0; got -1.0"),
        (lambda: known().adapt(np.ones((2, 3))), SettingError, "mean and variance not to have been given"),
        (lambda: layers.Normalization().adapt(np.ones((0, 3))), ShapeError, r"at least one sample; got .* \(0, 3\)"),
        (lambda: layers.Normalization().adapt([[1.0, np.nan], [np.inf, 1]]), ValueError, "finite.*got 2 that are not"),
        (lambda: layers.Normalization(3).adapt(np.ones((2, 3))), AxisError, "expects axis to name some of the axes 1"),
        (
            lambda: layers.Normalization(mean=[1, 2], variance=[1, 2])(np.ones((2, 3))),
            ShapeError,
            r"mean and variance of shape \(3,\); got \(2,\)",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_wrong_calls_of_normalization(call, kind, message):
    with pytest.raises(kind, match=f"^Normalization.*{message}"):
        call()


def test_a_number_is_no_batch():
    layer = layers.Normalization(axis=None, mean=1.0, variance=4.0)
    layer(np.ones(3))
    with pytest.raises(ShapeError, match=r"x of shape \(batch,\); got \(\)"):
        layer(np.array(3.0))


@pytest.mark.parametrize("data", [np.zeros((0, 7)), np.zeros(())])
def test_data_that_adapt_refuses_do_not_settle_the_shape(data):
    layer = layers.Normalization()
    with pytest.raises(ValueError, match=r"adapt|batch"):
        layer.adapt(data)
    layer.adapt(np.ones((5, 3)))
    assert layer.mean.shape == (3,)


def test_the_axis_of_a_built_normalization_is_settled():
    layer = layers.Normalization(axis=-1, input_shape=[4, 3])
    layer.adapt(np.ones((2, 4, 3)))
    with pytest.raises(ValueError, match=r"was built with axis=-1, which cannot be set to 1"):
        layer.axis = 1


def test_half_precision_has_the_averages_of_a_replay():
    x = tg.tensor((100 + 3 * np.random.default_rng(5).normal(size=(64, 12))).astype(np.float16))
    seen = []
    for executor in ("eager", "numpy"):
        layer = tg.layers.BatchNormalization(dtype=np.float16, momentum=0.5)
        step = tg.capture(layer, executor=executor)
        for _ in range(3):
            step(x)
        seen.append([value.tobytes() for value in layer.state_dict().values()])
    assert seen[0] == seen[1]
    np.testing.assert_allclose(layer.moving_mean, 0.875 * x.numpy().mean(0, np.float64), rtol=2e-3)
