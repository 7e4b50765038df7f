import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn import layers
from tinygrad_bn.errors import AxisError, SettingError, ShapeError
from tinygrad_bn.mode import Recorder, using

RNG = np.random.default_rng(0)
EPSILON = 1e-3


def composite(x, gamma, beta, axis=0):
    """Batch normalization from elementary operations."""
    centred = x - tg.mean(x, axis=axis, keepdims=True)
    variance = tg.mean(tg.square(centred), axis=axis, keepdims=True)
    return gamma * (centred / tg.sqrt(variance + EPSILON)) + beta


def gradients_by_the_paper(x, gamma, g):
    """The six formulas of Ioffe and Szegedy (2015), section 3."""
    m = len(x)
    mean = x.mean(axis=0)
    variance = x.var(axis=0)
    x_hat = (x - mean) / np.sqrt(variance + EPSILON)
    to_x_hat = g * gamma
    to_variance = (to_x_hat * (x - mean) * -0.5 * (variance + EPSILON) ** -1.5).sum(axis=0)
    to_mean = (-to_x_hat / np.sqrt(variance + EPSILON)).sum(axis=0) + to_variance * (-2 * (x - mean)).sum(axis=0) / m
    to_x = to_x_hat / np.sqrt(variance + EPSILON) + to_variance * 2 * (x - mean) / m + to_mean / m
    return to_x, (g * x_hat).sum(axis=0), g.sum(axis=0)


def double(shape=(8, 5), **settings):
    layer = layers.BatchNormalization(
        dtype=np.float64, gamma_initializer="random_normal", beta_initializer="random_normal", **settings
    )
    return layer, tg.tensor(RNG.normal(1.0, 2.0, size=shape), requires_grad=True), RNG.normal(size=shape)


# The gradients three ways


def test_gradients_are_those_of_the_composite_to_the_second_order():
    layer, x, weights = double()
    layer(x)
    gamma, beta = tg.tensor(layer.gamma, requires_grad=True), tg.tensor(layer.beta, requires_grad=True)
    found = []
    for y, inputs in (
        (layer(x), (x, layer.gamma, layer.beta)),
        (composite(x, gamma, beta), (x, gamma, beta)),
    ):
        first = tg.gradients((y * weights).sum(), inputs, create_graph=True)
        penalty = sum(tg.square(g).sum() for g in first)
        second = tg.gradients(penalty, inputs[:2])
        found.append([y, *first, *second])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_gradients_are_those_of_the_papers_six_formulas():
    layer, x, g = double()
    layer(x).backward(g)
    expected = gradients_by_the_paper(x.numpy(), layer.gamma.numpy(), g)
    for ours, theirs in zip((x.grad, layer.gamma.grad, layer.beta.grad), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


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


@pytest.mark.parametrize("axis", [0, 3, -4, [1, 1], [1, -2], "1", None, 1.0, [0, 1]])
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


def test_statistics_in_float32_do_not_cancel():
    x = (1e4 + RNG.normal(size=(256, 3))).astype(np.float32)
    layer = layers.BatchNormalization(momentum=0.0)
    layer(x)
    np.testing.assert_allclose(layer.moving_variance, x.astype(np.float64).var(axis=0), rtol=1e-3)


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
    ],
)
def test_wrong_settings(call, message):
    with pytest.raises(SettingError, match=message):
        call()


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
