import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.errors import DtypeError, NotBuiltError, ShapeError
from tinygrad_bn.layers import BatchNormalization, Dense, Flatten, Input, ReLU

X = np.random.default_rng(0).normal(size=(5, 4, 2)).astype(np.float32)


def layers():
    return [Flatten(), Dense(6), BatchNormalization(), ReLU(), Dense(3, activation="softmax")]


def test_it_is_its_layers_one_after_the_other():
    model = tg.Sequential(layers())
    y = model(X, training=False)
    x = X
    for layer in model.layers:
        x = layer(x, training=False)
    np.testing.assert_array_equal(y.numpy(), x.numpy())


@pytest.mark.parametrize(
    "front", [[Input((4, 2)), Flatten()], [Flatten(input_shape=(4, 2))]], ids=["Input", "input_shape"]
)
def test_with_a_known_input_shape_it_is_built_at_once(front):
    model = tg.Sequential([*front, *layers()[1:]])
    assert model.known_output_shape() == (None, 3)
    assert model.built
    paths = [path for path, _ in model.named_parameters()]
    start = len(front)
    assert paths == [
        *(f"layers.{start}.{name}" for name in ("kernel", "bias")),
        *(f"layers.{start + 1}.{name}" for name in ("gamma", "beta")),
        *(f"layers.{start + 3}.{name}" for name in ("kernel", "bias")),
    ]


def test_without_it_the_first_call_builds_it():
    model = tg.Sequential(layers())
    with pytest.raises(NotBuiltError, match=r"layers\.1"):
        model.parameters()
    assert not model.built
    model(X)
    assert model.built
    assert sum(parameter.size for parameter in model.parameters()) == 8 * 6 + 6 + 6 + 6 + 6 * 3 + 3


def test_build_and_add_are_another_way_to_the_same_network():
    def seeded(make):
        tg.set_random_seed(5)
        return {path: value.tobytes() for path, value in make().state_dict().items()}

    def added():
        model = tg.Sequential()
        for layer in [Flatten(input_shape=(4, 2)), *layers()[1:]]:
            model.add(layer)
        return model

    def built():
        model = tg.Sequential(layers())
        model.build((None, 4, 2))
        return model

    at_once = seeded(lambda: tg.Sequential([Flatten(input_shape=(4, 2)), *layers()[1:]]))
    assert seeded(added) == seeded(built) == at_once


def test_networks_nest():
    inner = tg.Sequential([Dense(6), ReLU()])
    model = tg.Sequential([Flatten(input_shape=(4, 2)), inner, Dense(3)])
    assert inner.batch_shape == (None, 8)
    assert model.known_output_shape() == (None, 3)
    assert next(path for path, _ in model.named_parameters()) == "layers.1.layers.0.kernel"
    assert model(X).shape == (5, 3)


def test_summary_counts_what_is_learned_and_what_is_not():
    summary = tg.Sequential([Flatten(input_shape=(4, 2)), *layers()[1:]]).summary(print_fn=None)
    assert (summary.total, summary.trainable, summary.non_trainable) == (99, 87, 12)
    text = str(summary)
    for said in ("layers.1", "Dense", "(batch, 6)", "54", "(batch, 3)"):
        assert said in text


@pytest.mark.parametrize("around", [lambda model: model, lambda model: tg.Sequential([model])])
def test_a_model_does_not_contain_itself(around):
    model = tg.Sequential()
    with pytest.raises(ValueError, match=r"layers\.0 that does not contain the Sequential itself"):
        model.add(around(model))
    assert model.layers == []


def test_layers_that_do_not_fit_raise_when_they_are_added_and_are_not_kept():
    model = tg.Sequential([Dense(6, input_shape=(4,))])
    with pytest.raises(ShapeError, match=r'Dense "layers.1" expects x of shape \(batch, 5\).*give \(batch, 6\)'):
        model.add(Dense(2, input_shape=(5,)))
    with pytest.raises(ValueError, match=r'BatchNormalization "layers\.1" expects axis'):
        model.add(BatchNormalization(axis=3))
    assert len(model.layers) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([Dense(2), ReLU], r"at layers.1; got the class ReLU: write ReLU\(\)"),
        ([[Dense(2)]], r"at layers.0; got a list: unpack it with \*"),
        ([Dense(2), "relu"], "at layers.1; got 'relu'"),
        (Dense(2), "a list of layers"),
        (3, "a list of layers; got 3"),
    ],
)
def test_what_is_not_a_layer(wrong, message):
    with pytest.raises(TypeError, match=message):
        tg.Sequential(wrong)


def test_no_layers():
    with pytest.raises(NotBuiltError, match="no layers"):
        tg.Sequential()(X)


@pytest.mark.parametrize("kind", [TypeError, DtypeError, ShapeError, RuntimeError])
def test_a_layer_that_cannot_be_built_is_not_kept(kind):
    class Fails(Dense):
        def build(self, input_shape):
            raise kind("cannot be built")

    model = tg.Sequential([Input((3,))])
    with pytest.raises(kind, match="cannot be built"):
        model.add(Fails(2))
    assert len(model.layers) == 1
