"""Laws that every layer keeps: a new one is added to LAYERS, and gets them all, those of captured steps too."""

import copy
import pickle

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.layers.every_layer import LAYERS, sample
from tinygrad_bn import layers
from tinygrad_bn.errors import DtypeError, ShapeError
from tinygrad_bn.mode import using
from tinygrad_bn.recorders import Recorder

every_layer = pytest.mark.parametrize(("make", "shape"), [pytest.param(*p, id=repr(p[0]())[:60]) for p in LAYERS])
modes = pytest.mark.parametrize("training", [True, False])


def test_no_layer_is_left_out():
    kinds = {type(make()).__name__ for make, _ in LAYERS}
    assert kinds == set(layers.__all__) - {"Layer"}


@every_layer
@modes
def test_gradients_to_the_second_order(make, shape, training):
    layer = make()
    layer(sample(shape))
    tg.testing.assert_gradients(layer.train(training), sample(shape), order=2)


@every_layer
@modes
def test_float32_stays_float32_and_integers_become_it(make, shape, training):
    for dtype in (np.float32, np.float64, np.uint8):
        layer = make().train(training)
        x = tg.tensor(sample(shape).astype(dtype), requires_grad=dtype != np.uint8)
        y = layer(x)
        assert y.dtype == np.float32
        if y.requires_grad:
            y.sum().backward()
        assert {p.grad.dtype for p in layer.parameters()} <= {np.dtype(np.float32)}
        assert {v.dtype for _, v in layer.named_variables()} <= {np.dtype(np.float32)}
        assert x.grad is None or x.grad.dtype == dtype


@every_layer
def test_float64_on_request(make, shape):
    layer = make(dtype=np.float64)
    assert layer(sample(shape, np.float32)).dtype == np.float64
    assert {v.dtype for _, v in layer.named_variables()} <= {np.dtype(np.float64)}


@every_layer
def test_arrays_and_lists_and_tensors_give_the_same(make, shape):
    layer = make().eval()
    x = sample(shape, np.float32)
    results = [layer(given) for given in (x, x.tolist(), tg.tensor(x))]
    assert all(np.array_equal(result, results[0]) for result in results)
    assert isinstance(results[2], tg.Tensor)


@every_layer
def test_the_output_shape_is_the_one_foretold(make, shape):
    layer = make()
    foretold = layer.output_shape((None, *shape[1:]))
    assert (None, *layer(sample(shape)).shape[1:]) == foretold == layer.known_output_shape()


@every_layer
def test_parameters_follow_from_the_input_shape_alone(make, shape):
    called, told = make(), make(input_shape=shape[1:])
    called(sample(shape))
    shapes = [{path: v.shape for path, v in layer.named_variables()} for layer in (called, told)]
    assert shapes[0] == shapes[1]
    assert {p.name for p in called.parameters()} <= {"kernel", "bias", "gamma", "beta", "alpha"}


@every_layer
@modes
def test_the_input_is_left_as_it_was(make, shape, training):
    x = sample(shape, np.float32)
    before = x.copy()
    make().train(training)(x)
    assert np.array_equal(x, before)


@every_layer
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_copy_goes_on_as_the_original(make, shape, copied):
    layer = make()
    layer(sample(shape))
    twin = copied(layer)
    for _ in range(2):
        assert np.array_equal(layer(sample(shape)), twin(sample(shape)))
    assert repr(twin) == repr(layer)


@every_layer
def test_inference_changes_nothing_and_draws_nothing(make, shape):
    layer = make()
    layer(sample(shape))
    before = layer.state_dict()
    results = [layer(sample(shape), training=False) for _ in range(2)]
    assert np.array_equal(*results)
    assert all(np.array_equal(value, before[path]) for path, value in layer.state_dict().items())


@every_layer
def test_under_frozen_state_a_model_runs_as_often_as_one_likes(make, shape):
    layer = make()
    layer(sample(shape))
    before = layer.state_dict()
    runs = []
    for _ in range(2):
        with tg.frozen_state():
            layer(sample(shape))
            runs.append(np.asarray(layer(sample(shape))))
    assert np.array_equal(*runs)
    assert all(np.array_equal(value, before[path]) for path, value in layer.state_dict().items())


@every_layer
@modes
def test_under_a_recorder_the_same_bits_come_out(make, shape, training):
    x = tg.tensor(sample(shape, np.float32))
    plain = make().train(training)
    plain(x)
    watched = copy.deepcopy(plain)
    y = plain(x)
    with using(recorder=Recorder()):
        recorded = watched(x)
    assert np.array_equal(y, recorded)
    assert all(np.array_equal(value, plain.state_dict()[path]) for path, value in watched.state_dict().items())


@every_layer
def test_an_input_without_a_batch_axis_is_refused_and_leaves_the_layer_unbuilt(make, shape):
    layer = make()
    built = layer.built
    with pytest.raises(ShapeError, match=f"^{type(layer).__name__} expects x of shape .batch.*; got "):
        layer(np.float32(1.0))
    assert layer.built == built


@every_layer
@pytest.mark.parametrize("data", [np.zeros((2, 3), complex), np.array([["a"]]), "text", None])
def test_what_is_not_made_of_real_numbers_is_refused(make, shape, data):
    with pytest.raises(DtypeError, match="expects real numbers; got"):
        make()(data)


@every_layer
def test_an_untrainable_layer_has_no_trainable_parameters(make, shape):
    layer = make(trainable=False)
    layer(sample(shape))
    own = [p for path, p in layer.named_parameters() if "." not in path]
    assert not any(p.trainable for p in own)


# What layers share


class Affine(layers.Layer):
    """As a user writes one: it forgets what Layer.build would note down."""

    def build(self, input_shape):
        self.slope = self.parameter("slope", input_shape[1:], "ones")

    def forward(self, x):
        return self.slope * x


def test_a_layer_of_ones_own_is_built_once():
    layer = Affine()
    layer(np.ones((2, 3)))
    slope = layer.slope
    layer(np.ones((2, 3)))
    assert layer.slope is slope
    assert layer.parameters() == [slope]


def test_the_first_call_must_fit_the_shape_that_was_given():
    layer = layers.Dense(2, input_shape=[3])
    with pytest.raises(ShapeError, match=r"^Dense expects x of shape \(batch, 3\); got \(5, 4\)$"):
        layer(np.zeros((5, 4)))
    assert layer.parameters()[0].shape == (3, 2)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: layers.Dense(3, unit=3), TypeError, r"unknown argument 'unit' in Dense\(\). Did you mean 'units'"),
        (lambda: layers.LeakyReLU(alhpa=0.1), TypeError, "'alhpa'.*Did you mean 'alpha'"),
        (lambda: layers.ReLU(traniable=False), TypeError, "Did you mean 'trainable'"),
        (lambda: layers.ReLU(dtype=np.int64), ValueError, "ReLU expects dtype to be floating; got int64"),
        (lambda: layers.ReLU(dtype="float3"), ValueError, "ReLU expects dtype to be floating; got 'float3'"),
        (lambda: layers.Dropout(0.5, seed="a"), ValueError, "Dropout expects seed to be an integer.*; got 'a'"),
        (lambda: layers.Flatten(input_shape=[0]), ShapeError, r"Flatten expects the shape of one sample.*got \[0\]"),
        (lambda: layers.Input("28"), ShapeError, "Input expects the shape of one sample.*got '28'"),
    ],
)
def test_wrong_arguments(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
