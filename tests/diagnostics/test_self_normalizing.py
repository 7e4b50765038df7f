import math
from xml.etree import ElementTree

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn import layers
from tinygrad_bn.diagnostics import self_normalization
from tinygrad_bn.errors import ShapeError

SELU = {"activation": "selu", "kernel_initializer": "lecun_normal"}


@pytest.fixture(autouse=True)
def _seeded():
    tg.set_random_seed(1)


def network(depth=8, width=100, features=30, between=None, **options):
    """Hidden Dense layers, each followed by `between()`, and a softmax."""
    model = tg.Sequential([layers.Input(features)])
    for _ in range(depth):
        model.add(layers.Dense(width, **{**SELU, **options}))
        if between is not None:
            model.add(between())
    model.add(layers.Dense(3, activation="softmax"))
    return model


def inputs(samples=400, features=30, seed=0):
    x = np.random.default_rng(seed).standard_normal((samples, features))
    return (x - x.mean(axis=0)) / x.std(axis=0)


def broken(report):
    return [condition.name for condition in report.broken]


def test_a_network_as_the_theory_asks_for_it():
    report = self_normalization(network(), inputs())
    assert report
    assert all(condition.held for condition in report.conditions)
    assert len(report.layers) == 8
    assert all(layer.in_domain and layer.as_predicted for layer in report.layers)
    assert report.contraction == pytest.approx(0.7877, abs=0.03)
    assert report.growth == pytest.approx(1.0716, rel=0.03)
    assert report.verdict == "self-normalizing"


def test_one_layer_by_hand():
    """On one standard normal input per sample the units' moments are exact, whatever omega, tau and bias."""
    model = tg.Sequential([layers.Dense(3, "selu", input_shape=1), layers.Dense(2)])
    kernel, bias = np.array([[0.5, -1.0, 2.0]]), np.array([0.3, 0.0, -1.0])
    model.layers[0].kernel.assign(kernel)
    model.layers[0].bias.assign(bias)
    x = np.random.default_rng(0).standard_normal((100_000, 1))
    (layer,) = self_normalization(model, x).layers
    passed = tg.diagnostics.selu_moments(bias, np.square(kernel[0]))
    assert (layer.omega, layer.tau) == pytest.approx((kernel.mean(), np.square(kernel).mean()), rel=1e-6)
    assert layer.mean == pytest.approx(passed.mean.mean(), abs=0.01)
    assert layer.variance == pytest.approx(passed.square.mean() - passed.mean.mean() ** 2, abs=0.02)
    assert (layer.measured_mean, layer.measured_variance) == pytest.approx((layer.mean, layer.variance), abs=0.02)
    assert layer.growth == pytest.approx(3 * np.mean(np.square(kernel) * passed.slope), rel=0.02)
    assert layer.measured_growth == pytest.approx(layer.growth, rel=0.05)


@pytest.mark.parametrize("activation", ["selu", "elu", "tanh", "relu", "gelu", None])
def test_the_band_holds_what_chance_does(activation):
    """Of many layers of several widths some two in three are within one standard error, and nearly all within three."""
    off = []
    for seed, width in enumerate([40, 80, 120, 60]):
        tg.set_random_seed(seed)
        for layer in self_normalization(network(10, width, activation=activation)).layers:
            off.append((layer.measured_mean - layer.mean) / layer.mean_error)
            off.append((layer.measured_variance - layer.variance) / layer.variance_error)
    assert 0.5 < np.mean(np.abs(off) < 1) < 0.9
    assert np.mean(np.abs(off) < 3) > 0.95


@pytest.mark.parametrize(
    ("initializer", "evidence"),
    [
        ("he_normal", "fan_in * variance 2 at layers.1.kernel"),
        ("lecun_uniform", "uniform (kurtosis 1.8)"),
        (tg.initializers.RandomNormal(stddev=0.05), "fan_in * variance 0.25 at"),
        (tg.initializers.RandomNormal(mean=0.02, stddev=0.1), "fan_in * mean 2 at"),
        ("zeros", "fan_in * variance 0 at layers.1.kernel, layers.2.kernel and 6 more"),
    ],
    ids=str,
)
def test_other_weights_are_told_from_lecuns(initializer, evidence):
    report = self_normalization(network(kernel_initializer=initializer), inputs())
    assert broken(report) == ["LeCun normal weights"]
    assert evidence in report.conditions[2].evidence
    assert not report


@pytest.mark.parametrize(
    "initializer", ["lecun_normal", "orthogonal", tg.initializers.RandomNormal(stddev=0.1)], ids=str
)
def test_weights_of_lecuns_variance_hold_whatever_their_name(initializer):
    assert broken(self_normalization(network(features=100, kernel_initializer=initializer))) == []


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_inputs_that_are_not_standardized(scale):
    report = self_normalization(network(), scale * inputs())
    assert broken(report) == ["standardized inputs"]
    assert "of 30 varying features 30 are not near mean 0 and variance 1" in report.conditions[0].evidence


def test_some_constant_features_are_named_and_no_harm():
    x = inputs()
    x[:, 4] = 0.0
    condition = self_normalization(network(), x).conditions[0]
    assert condition.held and condition.evidence.endswith("1 are constant")


def test_without_inputs_that_condition_stays_open():
    report = self_normalization(network())
    assert report.conditions[0].held is None
    assert report


def test_another_activation():
    report = self_normalization(network(activation="elu"), inputs())
    assert broken(report) == ["SELU in every hidden layer"]
    assert report.conditions[1].evidence == "elu at layers.1.kernel, layers.2.kernel and 6 more"
    assert report.verdict == "not self-normalizing; broken: SELU in every hidden layer"
    assert all(layer.as_predicted for layer in report.layers)


def test_batch_normalization_among_the_layers():
    report = self_normalization(network(3, between=layers.BatchNormalization), inputs())
    assert broken(report) == ["dense layers only"]
    assert report.conditions[4].evidence == "BatchNormalization at layers.2, layers.4 and 1 more"
    assert all(math.isnan(layer.mean) for layer in report.layers)  # it has no moment map
    assert report.layers[1].measured_variance == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize(
    ("layer", "judged"),
    [
        (layers.Normalization, []),
        (lambda: layers.LayerNormalization(center=False, scale=False), []),
        (layers.BatchNormalization, ["dense layers only"]),  # which goes on to learn
    ],
)
def test_what_maps_the_inputs_and_learns_nothing_is_no_layer_among_the_dense_ones(layer, judged):
    """In front it is judged by what it makes of the inputs, as if they had come so; among hidden layers it is not."""
    x, rows = inputs(), [layers.Dense(100, **SELU) for _ in range(3)]
    first, last = layer(), layers.Dense(3)
    if isinstance(first, layers.Normalization):
        x = 3 + 5 * x
        first.adapt(x)
    in_front = self_normalization(tg.Sequential([first, *rows, last]), x)
    without = self_normalization(tg.Sequential([*rows, last]), first(x, training=True))
    assert broken(in_front) == judged
    assert broken(without) == []
    for one, other in zip(in_front.layers, without.layers, strict=True):
        assert one[1:] == pytest.approx(other[1:], rel=1e-5, nan_ok=True)
    among = layer()
    if isinstance(among, layers.Normalization):
        among.adapt(rows[0](x))
    assert "dense layers only" in broken(self_normalization(tg.Sequential([rows[0], among, *rows[1:], last]), x))


def test_an_activation_is_called_as_its_layer_is():
    """RReLU and PReLU are one primitive."""
    for layer in (layers.RReLU(), layers.PReLU()):
        report = self_normalization(tg.Sequential([layers.Dense(50), layer, layers.Dense(3)]), inputs())
        assert report.conditions[1].evidence == f"{type(layer).__name__.lower()} at layers.0.kernel"


@pytest.mark.parametrize("options", [{"depth": 1}, {"depth": 3, "between": layers.BatchNormalization}], ids=str)
def test_no_sentence_stands_on_a_number_that_is_not_known(options, tmp_path):
    """One layer hands no gradient on to another, and batch normalization has no contraction."""
    report = self_normalization(network(**options), inputs())
    assert math.isnan(report.growth) or math.isnan(report.contraction)
    assert "xnan" not in str(report)
    for name, number in (("Gradient:", report.growth), ("Contraction:", report.contraction)):
        assert (name in str(report)) == math.isfinite(number)
    report.plot(tmp_path / "moments.svg")


class Block(tg.Module):
    def __init__(self, units):
        self.dense = layers.Dense(units, **SELU)

    def forward(self, x):
        return x + self.dense(x)


def test_a_path_around_a_layer():
    report = self_normalization(
        tg.Sequential([layers.Dense(50, **SELU), Block(50), Block(50), layers.Dense(3)]), inputs()
    )
    assert broken(report) == ["sequential architecture"]
    assert report.conditions[3].evidence == "a path goes around layers.1.dense.kernel, layers.2.dense.kernel"
    assert report.layers[2].measured_variance > 1.5


def test_a_model_of_ones_own_is_judged_by_what_it_computes():
    class Own(tg.Model):
        def __init__(self):
            draw = tg.initializers.get("lecun_normal")
            self.kernels = [tg.Parameter(draw(shape)) for shape in ((30, 80), (80, 80), (80, 80), (80, 3))]
            self.bias = tg.Parameter(np.zeros(80, np.float32))

        def forward(self, x):
            for kernel in self.kernels[:-1]:
                x = tg.selu(x @ kernel + self.bias)
            return x @ self.kernels[-1]

    report = self_normalization(Own(), inputs().astype(np.float32))
    assert report
    assert [layer.path for layer in report.layers] == [f"kernels.{place}" for place in range(3)]
    assert all(layer.as_predicted for layer in report.layers)
    with pytest.raises(ShapeError, match="expects x, because Own does not say what it takes"):
        self_normalization(Own())


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.3])
def test_alpha_dropout_keeps_the_moments(rate):
    report = self_normalization(network(between=lambda: layers.AlphaDropout(rate)), inputs())
    assert report
    assert all(layer.as_predicted for layer in report.layers)


def test_dropout_does_not():
    report = self_normalization(network(between=lambda: layers.Dropout(0.3)), inputs())
    assert broken(report) == ["AlphaDropout, not Dropout"]
    assert report.conditions[5].evidence == "Dropout(0.3) at layers.2, layers.4 and 6 more"
    assert report.layers[-1].variance > 1.5
    assert all(layer.as_predicted for layer in report.layers)
    assert not broken(self_normalization(network(between=lambda: layers.Dropout(0.0)), inputs()))


@pytest.mark.parametrize(
    ("rate", "a", "b"),
    [(0.05, 0.954844, 0.083936), (0.1, 0.921285, 0.161971), (0.2, 0.878904, 0.309040), (0.5, 0.886405, 0.779194)],
)
def test_what_alpha_dropout_does_to_standard_normal_numbers(rate, a, b):
    """Klambauer et al. (2017), "New Dropout Technique": a * (x or SELU's limit) + b has mean 0 and variance 1."""
    x = np.random.default_rng(0).standard_normal(1_000_000)
    y = layers.AlphaDropout(rate, seed=0, dtype=np.float64)(x, training=True)
    dropped = np.abs(y - (-1.7580993408473766 * a + b)) < 2e-6
    assert dropped.mean() == pytest.approx(rate, abs=0.002)
    np.testing.assert_allclose(y[~dropped], (a * x + b)[~dropped], atol=1e-5)
    assert (y.mean(), y.var()) == pytest.approx((0, 1), abs=0.005)


def test_gerons_thousand_layers():
    """Géron (2019), chapter 11: mean and standard deviation of every hundredth of 1000 SELU layers of 100 units."""
    rng = np.random.RandomState(42)
    z, lines = rng.normal(size=(500, 100)), []
    for layer in range(1000):
        z = tg.selu(z @ rng.normal(size=(100, 100), scale=np.sqrt(1 / 100)))
        if layer % 100 == 0:
            lines.append((z.mean(axis=0).mean(), z.std(axis=0).mean()))
    assert [f"{mean:.2f} {deviation:.2f}" for mean, deviation in lines] == [
        "-0.00 1.00", "0.02 0.96", "0.01 0.90", "-0.02 0.92", "0.05 0.89",
        "0.01 0.93", "0.02 0.92", "-0.02 0.90", "0.05 0.83", "0.02 1.00",
    ]  # fmt: skip


def test_the_gradient_grows_although_the_activations_do_not():
    """1.0716 per layer in variance, measured over 40 layers of 400 units."""
    report = self_normalization(network(40, 400, features=400))
    assert report
    assert report.growth == pytest.approx(1.0716, abs=0.01)
    assert np.mean([layer.growth for layer in report.layers]) == pytest.approx(1.0716, abs=0.004)


def test_a_gain_of_three_quarters_trades_the_variance_for_an_even_gradient():
    """PyTorch's gain for SELU: activations of standard deviation 0.1996, and a gradient that keeps (1.0037)."""
    initializer = tg.initializers.VarianceScaling(0.5625, "fan_in", "untruncated_normal")
    report = self_normalization(network(60, 300, features=300, kernel_initializer=initializer))
    assert broken(report) == ["LeCun normal weights"]
    assert math.sqrt(report.layers[-1].variance) == pytest.approx(0.19957, abs=0.01)
    assert math.sqrt(report.layers[-1].measured_variance) == pytest.approx(0.19957, abs=0.02)
    assert np.mean([layer.growth for layer in report.layers[30:]]) == pytest.approx(1.00367, abs=0.01)


def test_the_model_and_the_generators_are_as_before():
    model = network(3, between=lambda: layers.AlphaDropout(0.2))
    before = model.state_dict()
    first = self_normalization(model, inputs())
    assert self_normalization(model, inputs()).to_dict() == first.to_dict()
    assert all(np.array_equal(before[path], value) for path, value in model.state_dict().items())
    assert model.training


def test_training_leads_away_from_the_prediction():
    """Weights that have learned depend on what they take in: what the theory leaves out is there to be seen."""
    (x, y), _ = tg.datasets.load_digits()
    x = x.reshape(len(x), -1).astype(np.float32)
    x = (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
    model = network(6, features=64)
    fresh = self_normalization(model, x)
    assert fresh
    assert all(layer.measured_variance == pytest.approx(layer.variance, rel=0.15) for layer in fresh.layers)
    model.layers[-1] = layers.Dense(10, activation="softmax")
    model.compile(tg.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=6, verbose=0, seed=0)
    trained = self_normalization(model, x)
    assert not trained
    assert trained.layers[-1].measured_variance > 1.5 * trained.layers[-1].variance


def test_integers_are_inputs_too():
    x = np.random.default_rng(0).integers(-2, 3, (300, 30))
    report = self_normalization(network(3), x)
    assert report.input == pytest.approx((x.mean(), x.var()))
    assert len(report.layers) == 3


def test_a_model_without_hidden_layers_is_refused():
    with pytest.raises(ValueError, match="expects a model with a hidden layer; got none in Sequential"):
        self_normalization(tg.Sequential([layers.Dense(3, input_shape=2)]))


def test_the_report_shows_every_number(tmp_path):
    report = self_normalization(network(3, between=lambda: layers.Dropout(0.1)), inputs())
    text = str(report)
    assert "AlphaDropout, not Dropout   NO   Dropout(0.1) at layers.2, layers.4 and 1 more" in text
    assert f"{report.layers[1].mean:.3f}" in text
    assert (
        "At the fixed point that is x1.0716 per layer: activations are normalized there, gradients are not."
        in " ".join(text.split())
    )
    assert " ".join(text.split()).endswith(f"Verdict: {report.verdict}.")
    assert repr(report) == f"SelfNormalization({report.verdict})"
    row = report.to_dict()["layers"][0]
    assert row["path"] == "layers.1.kernel" and row["tau"] == pytest.approx(1, abs=0.1)
    for name in ("one.svg", "two.svg"):
        report.plot(tmp_path / name)
    assert ElementTree.parse(tmp_path / "one.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def spoiled(row, column, value):
    x = inputs()
    x[row, column] = value
    return x


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (inputs()[:0], r"x expects at least one sample.*got shape \(0, 30\)"),
        (spoiled(7, 2, np.nan), "x expects finite numbers; got nan in row 7, column 2"),
        (spoiled(3, 1, -np.inf), "x expects finite numbers; got -inf in row 3, column 1"),
        (spoiled(4, 0, 1e60), r"x expects numbers that float32 can hold.*got 1e\+60 in row 4, column 0"),
    ],
)
def test_inputs_are_looked_at_as_those_of_fit(x, message):
    with pytest.raises(ValueError, match=f"self_normalization: {message}"):
        self_normalization(network(2), x)


def test_only_modules_are_judged():
    with pytest.raises(
        TypeError, match="self_normalization expects a Module, such as a Sequential; got <primitive selu>"
    ):
        self_normalization(tg.selu, inputs())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_no_lecun_normal_ones(bad):
    model = network(3)
    model.layers[2].kernel.assign(np.full((100, 100), bad))
    with np.errstate(all="ignore"):
        report = self_normalization(model, inputs())
    weights = next(condition for condition in report.conditions if condition.name == "LeCun normal weights")
    assert weights.held is False
    assert weights.evidence == "weights that are not finite at layers.2.kernel"


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_numbers_that_are_not_finite_can_be_told(bad, tmp_path):
    model = network(3)
    model.layers[1].kernel.assign(np.full((30, 100), bad))
    with np.errstate(all="ignore"):
        report = self_normalization(model, inputs())
        assert not report
        assert report.to_dict()["self_normalizing"] is False
        str(report)
        report.plot(tmp_path / "moments.svg")
