import math

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.cli.recipes import RECIPES, network
from tinygrad_bn.diagnostics import GradientFlow, LayerFlow, gradient_flow

CROSSENTROPY = "sparse_categorical_crossentropy"


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return rng.standard_normal((64, 5)).astype(np.float32), rng.integers(0, 3, 64)


def dense(*units, **options):
    """A network of Dense layers; the last one ends in softmax."""
    hidden = [tg.layers.Dense(n, **options) for n in units[1:-1]]
    return tg.Sequential([tg.layers.Input(units[0]), *hidden, tg.layers.Dense(units[-1], activation="softmax")])


def rms(array):
    return math.sqrt(np.mean(np.square(array, dtype=np.float64)))


def test_a_linear_network_by_hand(batch):
    x, labels = batch
    model = dense(5, 4, 3)
    first, last = model.layers[1].kernel.numpy(), model.layers[2].kernel.numpy()
    probabilities = model.predict(x)
    to_logits = (probabilities - np.eye(3)[labels]) / len(x)
    hidden = x @ first
    flow = gradient_flow(model, x, labels, CROSSENTROPY)
    expected = [
        (math.sqrt(hidden.var(axis=0).mean()), rms(to_logits @ last.T), rms(x.T @ (to_logits @ last.T))),
        (math.sqrt((hidden @ last).var(axis=0).mean()), rms(to_logits), rms(hidden.T @ to_logits)),
    ]
    assert [layer.path for layer in flow.layers] == ["layers.1.kernel", "layers.2.kernel"]
    np.testing.assert_allclose([layer[1:4] for layer in flow.layers], expected, rtol=1e-5)
    moments = [(layer.mean, layer.deviation, layer.units) for layer in flow.layers]
    np.testing.assert_allclose(moments, [(h.mean(), h.std(), h.shape[1]) for h in (hidden, hidden @ last)], rtol=1e-5)
    assert flow.loss == pytest.approx(-np.log(probabilities[np.arange(len(x)), labels]).mean(), rel=1e-5)
    assert flow.hidden == flow.layers[:1]


def test_signal_and_gradient_are_norms_by_the_root_of_the_number_of_elements(batch):
    x, labels = batch
    model = dense(5, 4, 3)
    loss = tg.losses.SparseCategoricalCrossentropy()(labels, model(x))
    loss.backward()
    for layer, (path, kernel) in zip(
        gradient_flow(model, x, labels, CROSSENTROPY).layers, list(model.named_parameters())[::2], strict=True
    ):
        assert layer.path == path
        norm = float(np.linalg.norm(kernel.grad))
        assert layer.gradient * math.sqrt(kernel.size) == pytest.approx(norm, rel=1e-5)


def test_a_loss_that_does_not_look_for_logits_is_computed_from_the_probabilities(batch):
    x, labels = batch
    model, truth = dense(5, 4, 3), np.eye(3, dtype=np.float32)[labels]
    last, probabilities = gradient_flow(model, x, truth, "mse").layers[-1], model.predict(x)
    assert last.activation == pytest.approx(math.sqrt(probabilities.var(axis=0).mean()), rel=1e-4)
    assert last.signal == pytest.approx(rms(2 * (probabilities - truth) / truth.size), rel=1e-4)


def test_a_loss_times_ten_gives_gradients_times_ten(batch):
    crossentropy = tg.losses.SparseCategoricalCrossentropy()
    model = dense(5, 4, 4, 3, activation="elu")
    plain = gradient_flow(model, *batch, crossentropy)
    tenfold = gradient_flow(model, *batch, lambda y, p: 10 * crossentropy(y, p))
    for once, ten in zip(plain.layers, tenfold.layers, strict=True):
        np.testing.assert_allclose(ten[1:], np.multiply(once[1:], [1, 10, 10, *[1] * 5]), rtol=1e-5)


def test_the_theory_of_a_sigmoid_network(batch):
    """Each sigmoid layer with kernels of variance 1 / n keeps .236 of the signal: chi_1 = .0557 (Schoenholz et al.)."""
    tg.set_random_seed(0)
    model = dense(5, *[200] * 10, 3, activation="sigmoid", kernel_initializer="lecun_normal")
    hidden = gradient_flow(model, *batch, CROSSENTROPY).hidden
    per_layer = (hidden[1].signal / hidden[-1].signal) ** (1 / (len(hidden) - 2))
    assert per_layer == pytest.approx(math.sqrt(0.055721), rel=0.05)


def test_identical_samples_have_no_activations_to_tell_them_apart(batch, tmp_path):
    x, labels = batch
    flow = gradient_flow(dense(5, 4, 3), np.repeat(x[:1], 8, axis=0), labels[:8], CROSSENTROPY)
    assert flow.layers[0].activation == pytest.approx(0, abs=1e-7)
    flow.plot(tmp_path / "flow.svg")  # a logarithm of 0 is nothing to warn of


def test_the_model_and_the_generators_are_as_before(batch):
    model = tg.Sequential(
        [tg.layers.Dense(4), tg.layers.BatchNormalization(), tg.layers.Dropout(0.5), tg.layers.Dense(3, "softmax")]
    )
    model(batch[0])
    model.eval()
    tg.set_random_seed(0)
    before = model.state_dict()
    flow = gradient_flow(model, *batch, CROSSENTROPY)
    after = model.state_dict()
    assert all(np.array_equal(before[path], after[path]) for path in before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training
    assert gradient_flow(model, *batch, CROSSENTROPY).to_dict() == flow.to_dict()  # the same dropout again


def test_it_measures_as_in_training_whatever_the_mode(batch):
    model = tg.Sequential([tg.layers.Dense(4), tg.layers.BatchNormalization(), tg.layers.Dense(3, "softmax")])
    model(batch[0])
    in_training = gradient_flow(model, *batch, CROSSENTROPY)
    model.eval()
    assert gradient_flow(model, *batch, CROSSENTROPY).to_dict() == in_training.to_dict()
    assert in_training.layers[0].activation == pytest.approx(1, rel=0.01)  # batch normalization sees to that


def test_it_works_where_gradients_are_switched_off(batch):
    model = dense(5, 4, 3)
    with tg.no_grad():
        inside = gradient_flow(model, *batch, CROSSENTROPY)
    assert inside.to_dict() == gradient_flow(model, *batch, CROSSENTROPY).to_dict()


def test_a_frozen_kernel_has_no_gradient_but_passes_the_signal(batch):
    model = dense(5, 4, 3)
    free = gradient_flow(model, *batch, CROSSENTROPY)
    model.trainable = False
    frozen = gradient_flow(model, *batch, CROSSENTROPY)
    assert [layer.signal for layer in frozen.layers] == [layer.signal for layer in free.layers]
    assert all(math.isnan(layer.gradient) for layer in frozen.layers)
    assert [row["gradient"] for row in frozen.to_dict()["layers"]] == [None, None]


def test_a_model_without_kernels_is_refused(batch):
    with pytest.raises(ValueError, match="expects a model with kernels; got none in Sequential"):
        gradient_flow(tg.Sequential([tg.layers.Softmax()]), *batch, CROSSENTROPY)


def test_every_recipe_of_the_demo_has_a_row_for_each_kernel():
    x, labels = np.random.default_rng(0).random((32, 8, 8), np.float32), np.arange(32) % 10
    for recipe in RECIPES.values():
        model = network(recipe, (8, 8))
        kernels = [path for path, _ in model.named_parameters() if path.endswith("kernel")]
        flow = gradient_flow(model, x, labels, CROSSENTROPY)
        assert [layer.path for layer in flow.layers] == kernels
        assert all(np.isfinite(layer[1:]).all() for layer in flow.layers)
        assert all(layer.dead + layer.saturated <= layer.units for layer in flow.layers)


def test_the_report_shows_every_number():
    first = LayerFlow("a.kernel", 1.0, 2e-7, 0.3, -0.1, 2.0, 9, 1, 2)
    flow = GradientFlow([first, LayerFlow("b.kernel", 0.5, 1.0, math.nan)], 2.3026)
    lines = str(flow).splitlines()
    assert lines[3].split() == ["a.kernel", "-0.1", "2", "1", "2e-07", "0.3", "9", "1", "2"]
    assert lines[4].split() == ["b.kernel", "nan", "nan", "0.5", "1", "nan", "0", "0", "0"]
    assert lines[-2:] == ["loss 2.303", "healthy"]
    assert repr(flow) == "GradientFlow(healthy, 2 layers, loss=2.303)"


def test_a_model_that_is_not_built_is_built_with_parameters_that_nothing_else_will_be_given(batch):
    tg.set_random_seed(3)
    first, second = tg.Sequential([tg.layers.Dense(3)]), tg.Sequential([tg.layers.Dense(3)])
    gradient_flow(first, *batch, tg.losses.SparseCategoricalCrossentropy(from_logits=True))
    second(batch[0])
    assert not np.array_equal(first.layers[0].kernel.numpy(), second.layers[0].kernel.numpy())


def deep(activation, initializer, depth=20, units=60):
    return dense(5, *[units] * depth, 3, activation=activation, kernel_initializer=initializer)


@pytest.mark.parametrize(
    ("activation", "initializer", "verdict"),
    [
        ("sigmoid", "glorot_uniform", "vanishing"),
        ("relu", tg.initializers.RandomNormal(stddev=0.05), "vanishing"),
        ("tanh", tg.initializers.RandomNormal(stddev=1.0), "exploding"),
        ("relu", tg.initializers.RandomNormal(stddev=0.4), "exploding"),
        ("relu", "he_normal", "healthy"),
        ("selu", "lecun_normal", "healthy"),
        ("tanh", "glorot_normal", "healthy"),
    ],
)
def test_the_verdict_does_not_depend_on_the_scale_of_the_loss(batch, activation, initializer, verdict):
    tg.set_random_seed(0)
    crossentropy, model = tg.losses.SparseCategoricalCrossentropy(), deep(activation, initializer)
    plain = gradient_flow(model, *batch, crossentropy)
    assert plain.verdict == verdict
    for scale in (1000.0, 1e-6):
        scaled = gradient_flow(model, *batch, lambda y, p, scale=scale: scale * crossentropy(y, p))
        assert scaled.verdict == verdict
        assert scaled.trend == pytest.approx(plain.trend, rel=1e-3)


def test_the_factor_is_that_of_the_theory(batch):
    """sqrt(chi_1) per layer: 1 for ReLU with He's law, sqrt(1/2) with LeCun's, sqrt(1.0716) for SELU."""
    for activation, initializer, chi in (
        ("relu", "he_normal", 1),
        ("relu", "lecun_normal", 0.5),
        ("selu", "lecun_normal", 1.0716),
    ):
        tg.set_random_seed(0)
        found = gradient_flow(deep(activation, initializer, units=200), *batch, CROSSENTROPY).trend
        assert found.low < math.sqrt(chi) < found.high
        assert found.factor == pytest.approx(math.sqrt(chi), rel=0.03)


def test_a_single_layer_that_loses_the_signal_is_named(batch):
    tg.set_random_seed(0)
    model = deep("relu", "he_normal", depth=8)
    model.layers[4].kernel.assign(1e-5 * model.layers[4].kernel.numpy())
    flow = gradient_flow(model, *batch, CROSSENTROPY)
    assert not flow.trend.is_steady
    assert str(flow).endswith("at layers.4.kernel alone")
    assert flow.verdict == "vanishing"


def test_a_signal_that_is_gone_vanishes(batch):
    model = deep("relu", "he_normal", depth=4)
    model.layers[2].bias.assign(np.full(60, -1e3))
    flow = gradient_flow(model, *batch, CROSSENTROPY)
    assert (flow.verdict, flow.layers[0].signal, flow.layers[1].dead) == ("vanishing", 0.0, 60)
    assert flow.to_dict()["trend"]["factor"] is None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_have_a_verdict(batch, bad, tmp_path):
    model = deep("relu", "he_normal", depth=3)
    model.layers[2].kernel.assign(np.full((60, 60), bad))
    with np.errstate(all="ignore"):
        flow = gradient_flow(model, *batch, CROSSENTROPY)
    assert flow.verdict == "not finite"
    assert str(flow).endswith("\nnot finite")
    flow.plot(tmp_path / "flow.svg")


class Residual(tg.Module):
    def __init__(self, units):
        self.inner, self.outer = tg.layers.Dense(units, "relu"), tg.layers.Dense(units)

    def forward(self, x):
        return tg.relu(x + self.outer(self.inner(x)))


class Skipping(tg.Model):
    def __init__(self, blocks, units=5):
        self.blocks = [Residual(units) for _ in range(blocks)]
        self.head = tg.layers.Dense(3, activation="softmax")

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def test_a_layer_that_ends_in_a_sum_hands_on_the_sum(batch):
    x, labels = batch
    model = Skipping(3)
    flow = gradient_flow(model, x, labels, CROSSENTROPY)
    paths = [f"blocks.{place}.{name}.kernel" for place in range(3) for name in ("inner", "outer")]
    assert [layer.path for layer in flow.layers] == [*paths, "head.kernel"]
    block = model.blocks[0]
    inner, summed = block.inner(x).value, block(x).value
    np.testing.assert_allclose(
        [(layer.mean, layer.deviation) for layer in flow.layers[:2]],
        [(inner.mean(), inner.std()), (summed.mean(), summed.std())],
        rtol=1e-5,
    )


def test_a_shortcut_with_a_kernel_of_its_own_ends_in_the_same_sum(batch):
    class Projected(tg.Model):
        def __init__(self):
            self.wide, self.shortcut, self.head = (tg.layers.Dense(n) for n in (7, 7, 3))

        def forward(self, x):
            return self.head(tg.tanh(self.wide(x) + self.shortcut(x)))

    wide, shortcut, _ = gradient_flow(
        Projected(), *batch, tg.losses.SparseCategoricalCrossentropy(from_logits=True)
    ).layers
    assert wide[1:3] == shortcut[1:3]
    assert (wide.mean, wide.deviation) == (shortcut.mean, shortcut.deviation)


def test_kernels_that_are_computed_from_parameters(batch):
    class Tied(tg.Model):
        def __init__(self):
            rng = np.random.default_rng(0)
            self.code = tg.Parameter(rng.standard_normal((5, 4)).astype(np.float32))
            self.gain = tg.Parameter(np.full((1, 4), 0.5, np.float32))

        def forward(self, x):
            return tg.tanh(x @ (self.gain * self.code)) @ self.code.T

    flow = gradient_flow(Tied(), batch[0], batch[0], "mse")
    assert [layer.path for layer in flow.layers] == ["gain", "code"]
    assert [layer.units for layer in flow.layers] == [4, 5]


def test_integers_as_inputs():
    x = np.random.default_rng(0).integers(0, 5, (16, 5))
    model = dense(5, 4, 4, 3, activation="relu")
    integers, floats = (
        gradient_flow(model, x, x[:, 0] % 3, CROSSENTROPY),
        gradient_flow(model, x * 1.0, x[:, 0] % 3, CROSSENTROPY),
    )
    assert integers.to_dict() == floats.to_dict()


def test_two_layers_have_no_trend(batch):
    flow = gradient_flow(dense(5, 4, 3), *batch, CROSSENTROPY)
    assert flow.verdict == "healthy"
    assert math.isnan(flow.trend.factor)


@pytest.mark.parametrize(
    "loss", [lambda y, p: tg.tensor(1.0), lambda y, p: tg.mean(y * 2.0), lambda y, p: 3.0], ids=["1", "y", "float"]
)
def test_a_loss_that_does_not_look_at_the_outputs_is_refused(batch, loss):
    with pytest.raises(ValueError, match="the loss does not depend on the model's outputs"):
        gradient_flow(dense(5, 4, 3), batch[0], tg.tensor(batch[0][:, :3], requires_grad=True), loss)


def test_outputs_that_do_not_depend_on_x_have_kernels_all_the_same(batch):
    class Deaf(tg.Module):
        def __init__(self):
            self.layer, self.heard = tg.layers.Dense(3, input_shape=(5,)), tg.tensor(batch[0] + 1)

        def forward(self, x):
            return self.layer(self.heard)

    truth = tg.tensor(batch[0][:, :3])
    assert [row.path for row in gradient_flow(Deaf(), batch[0], truth, "mse").layers] == ["layer.kernel"]


def test_only_modules_have_a_flow(batch):
    with pytest.raises(
        TypeError, match="gradient_flow expects a Module, such as a Sequential; got the class Sequential"
    ):
        gradient_flow(tg.Sequential, *batch, CROSSENTROPY)
