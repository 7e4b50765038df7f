"""Layer-sequential unit-variance initialization: variance 1 in every layer, and nothing but kernels changed."""

import json

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn import layers

X = np.random.default_rng(0).normal(size=(128, 30)).astype(np.float32)


def network(activation="tanh", depth=20, **dense):
    tg.set_random_seed(0)
    hidden = [layers.Dense(40, activation=activation, **dense) for _ in range(depth)]
    return tg.Sequential([layers.Input((30,)), *hidden, layers.Dense(3)])


@pytest.mark.parametrize("activation", ["tanh", "relu", "elu", "selu", "sigmoid", None])
def test_every_layer_gets_variance_1_and_a_second_time_nothing_changes(activation):
    model = network(activation)
    report = tg.lsuv(model, X)
    assert report
    assert len(report.layers) == 21
    assert all(row.iterations <= 20 for row in report.layers)
    h = tg.tensor(X)
    for layer in model.layers[1:]:
        assert np.var((h @ layer.kernel + layer.bias).numpy()) == pytest.approx(1, abs=0.02)
        h = layer(h)
    before = model.state_dict()
    again = tg.lsuv(model, X, orthogonal=False)
    assert [row.iterations for row in again.layers] == [0] * 21
    assert all(np.array_equal(value, before[path]) for path, value in model.state_dict().items())


def test_kernels_are_orthonormal_but_for_their_scale():
    model = network(depth=2)
    tg.lsuv(model, X, seed=1)
    kernel = model.layers[2].kernel.numpy()
    gram = kernel.T @ kernel
    np.testing.assert_allclose(gram / gram[0, 0], np.eye(40), atol=1e-5)


def test_a_bias_takes_several_divisions():
    model = network(depth=1, bias_initializer=tg.initializers.RandomNormal(stddev=0.7))
    report = tg.lsuv(model, X)
    assert report
    assert report.layers[0].iterations > 1


def test_nothing_but_kernels_changes():
    model = tg.Sequential([layers.Input((30,)), layers.Dense(8), layers.BatchNormalization(), layers.Dropout(0.5)])
    before, mode = model.state_dict(), model.training
    tg.lsuv(model, X)
    assert model.training is mode
    for path, value in model.state_dict().items():
        assert np.array_equal(value, before[path]) == (not path.endswith("kernel"))


def test_models_of_ones_own_and_layers_that_are_used_twice():
    class Twice(tg.Model):
        def __init__(self):
            super().__init__()
            self.last, self.first = layers.Dense(30), layers.Dense(30, activation="relu")

        def forward(self, x):
            return self.last(x + self.first(self.first(x)))

    report = tg.lsuv(Twice(), X)
    assert [row.path for row in report.layers] == ["first.kernel", "last.kernel"]
    assert report


def test_results_that_do_not_vary_are_refused_and_nothing_changes():
    model = network(depth=2)
    model.layers[1].bias.assign(-1e3)
    model.layers[1].activation = "relu"
    before = model.state_dict()
    with pytest.raises(ValueError, match=r"results of layers\.2\.kernel to vary, by finite numbers; .* is 0\.0"):
        tg.lsuv(model, X)
    assert all(np.array_equal(value, before[path]) for path, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: tg.lsuv(tg.Sequential([layers.ReLU()]), X), "expects a model that multiplies by kernels; got none"),
        (lambda: tg.lsuv(network(), X[:0]), "lsuv: x expects at least one sample"),
        (lambda: tg.lsuv(network(), X * np.nan), "lsuv: x expects finite numbers"),
        (lambda: tg.lsuv(network(), X, tolerance=0), "tolerance to be a finite number above 0"),
        (lambda: tg.lsuv(network(), X, orthogonal="no"), "orthogonal to be True or False"),
    ],
)
def test_wrong_calls(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_the_report_is_a_table_a_dict_and_a_picture(tmp_path):
    report = tg.lsuv(network(depth=2), X)
    assert "layers.1.kernel" in str(report)
    assert json.loads(json.dumps(report.to_dict()))["layers"][0]["path"] == "layers.1.kernel"
    report.plot(tmp_path / "lsuv.svg")
    assert (tmp_path / "lsuv.svg").read_text("utf-8").count("<svg") == 1
