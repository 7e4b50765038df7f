import shutil
from functools import partial

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn import layers
from tinygrad_bn.errors import CaptureError, SettingError, ShapeError

X = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
EXECUTORS = ["numpy", pytest.param("native", marks=pytest.mark.skipif(not shutil.which("cc"), reason="no compiler"))]


@pytest.mark.parametrize("shape", [(4, 5), (4, 3, 5), (0, 5)])
def test_dense_is_an_affine_map_of_the_last_axis(shape):
    x = np.random.default_rng(1).normal(size=shape)
    dense = layers.Dense(3, bias_initializer="random_normal", dtype=np.float64)
    y = dense(x)
    assert dense.kernel.shape == (5, 3)
    np.testing.assert_allclose(y.numpy(), np.einsum("...i,ij->...j", x, dense.kernel) + dense.bias.numpy(), rtol=1e-12)


def test_dense_without_a_bias():
    dense = layers.Dense(3, use_bias=False)
    assert np.array_equal(dense(X), X @ dense.kernel.numpy())
    assert [path for path, _ in dense.named_parameters()] == ["kernel"]


def test_dense_takes_images_of_bytes():
    images = np.random.default_rng(0).integers(0, 256, (4, 5), dtype=np.uint8)
    dense = layers.Dense(3)
    assert np.array_equal(dense(images), dense(images.astype(np.float32)))


def test_kernels_come_from_the_initializer_and_biases_from_theirs():
    tg.set_random_seed(0)
    kernel = layers.Dense(50, kernel_initializer="he_uniform", input_shape=[200]).parameters()[0].numpy()
    bound = np.float32(np.sqrt(6 / 200))
    assert 0.99 * bound < kernel.max() <= bound
    dense = layers.Dense(2, kernel_initializer=tg.initializers.Ones, bias_initializer="ones", input_shape=[3])
    assert dense.state_dict()["kernel"].tolist() == [[1, 1]] * 3
    assert dense(np.ones((1, 3))).tolist() == [[4, 4]]


def test_two_layers_that_share_an_initializer_start_differently():
    shared = tg.initializers.HeNormal()
    first, second = (layers.Dense(3, kernel_initializer=shared, input_shape=[4]).parameters()[0] for _ in range(2))
    assert not np.array_equal(first, second)


def test_regularizers_and_constraints_go_to_the_parameters():
    l1, max_norm = tg.regularizers.L1(0.1), tg.constraints.MaxNorm(3)
    dense = layers.Dense(3, kernel_regularizer=l1, bias_regularizer="l2", kernel_constraint=max_norm, input_shape=[5])
    kernel, bias = dense.parameters()
    assert (kernel.regularizer, kernel.constraint, bias.constraint) == (l1, max_norm, None)
    assert repr(bias.regularizer) == "L2(l2=0.01)"
    assert repr(dense).startswith(
        "Dense(units=3, kernel_regularizer=L1(l1=0.1), bias_regularizer='l2', "
        "kernel_constraint=MaxNorm(max_value=3.0, axis=0), "
    )
    (kernel,) = layers.Dense(3, use_bias=False, bias_constraint="non_neg", input_shape=[5]).parameters()
    assert kernel.regularizer is kernel.constraint is None


def test_rules_that_are_set_later_go_to_the_parameters_that_are_there():
    dense = layers.Dense(3, input_shape=[5])
    kernel, bias = dense.parameters()
    dense.kernel_regularizer, dense.bias_constraint = "l2", tg.constraints.NonNeg
    assert (repr(kernel.regularizer), repr(bias.constraint)) == ("L2(l2=0.01)", "NonNeg()")
    assert bias.regularizer is kernel.constraint is None
    dense.kernel_regularizer = None
    assert kernel.regularizer is None
    later = layers.Dense(3, use_bias=False)
    later.kernel_constraint = later.bias_constraint = "non_neg"
    later(X)
    assert repr(later.kernel.constraint) == "NonNeg()"
    with pytest.raises(SettingError, match="unknown regularizer 'l3' in Dense"):
        dense.kernel_regularizer = "l3"
    assert dense.kernel_regularizer is None


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        (
            tg.constraints.MaxNorm(3, axis=5),
            r"MaxNorm\(max_value=3.0, axis=5\) to its kernel .*axes that the array has",
        ),
        (lambda w: w[0], r"<function .*> to its kernel of shape \(5, 3\): it gives values of shape \(3,\)"),
    ],
    ids=["axis", "shape"],
)
def test_a_constraint_that_cannot_be_applied_is_refused_before_any_step(constraint, message):
    with pytest.raises(SettingError, match=rf'^Dense "layers.0" cannot apply {message}'):
        tg.Sequential([layers.Dense(3, kernel_constraint=constraint)])(X)
    with pytest.raises(SettingError, match=rf"^Dense cannot apply {message}"):
        layers.Dense(3, kernel_constraint=constraint, input_shape=5).parameters()
    built = layers.Dense(3, input_shape=5)
    (kernel, _), before = built.parameters(), built.state_dict()
    with pytest.raises(SettingError, match=rf"^Dense cannot apply {message}"):
        built.kernel_constraint = constraint
    assert built.kernel_constraint is kernel.constraint is None
    assert np.array_equal(kernel, before["kernel"])


def test_what_the_parameters_were_made_from_cannot_be_set_any_more():
    dense = layers.Dense(3, kernel_initializer="ones")
    dense.units = 4
    dense(X)
    assert dense.kernel.shape == (5, 4)
    with pytest.raises(SettingError, match=r"^Dense was built with units=4, which cannot be set to 5: make a new one"):
        dense.units = 5
    with pytest.raises(
        SettingError, match=r"^Dense was built with kernel_initializer='ones', which cannot be set to 'z"
    ):
        dense.kernel_initializer = "zeros"
    for name, held, value in [("use_bias", True, False), ("dtype", "dtype.*", "float64"), ("input_shape", None, (4,))]:
        with pytest.raises(SettingError, match=rf"^Dense was built with {name}={held}, which cannot be set to "):
            setattr(dense, name, value)
    with pytest.raises(SettingError, match="units to be a positive integer; got 0"):
        dense.units = 0
    dense.units = 4
    assert (dense.units, dense.kernel_initializer) == (4, "ones")


def test_what_the_parameters_are_made_from_can_be_set_until_then():
    dense = layers.Dense(3)
    dense.use_bias, dense.dtype, dense.input_shape = False, "float64", (5,)
    assert [(name, p.shape, p.dtype) for name, p in dense.named_parameters()] == [("kernel", (5, 3), np.float64)]
    assert repr(dense) == "Dense(units=3, use_bias=False, dtype='float64', input_shape=(5,), training=True)"
    dense.dtype = "float64"
    with pytest.raises(SettingError, match="Dense expects dtype to be floating; got int64"):
        layers.Dense(3).dtype = "int64"


@pytest.mark.parametrize("layer", [layers.Activation, partial(layers.Dense, 3)], ids=["Activation", "Dense"])
def test_an_activation_can_be_set_at_any_time(layer):
    made, linear = layer("relu"), layer("linear")
    made(X), linear(X)
    linear.load_state_dict(made.state_dict())
    for activation, function in [("tanh", tg.tanh), (tg.elu, tg.elu), (None, lambda x: x), ("linear", lambda x: x)]:
        made.activation = activation
        assert np.array_equal(made(X), function(linear(X)))
    with pytest.raises(SettingError, match=r"unknown activation 'tanhh' in .*\. Did you mean 'tanh'"):
        made.activation = "tanhh"
    assert made.activation == "linear"
    made.activation = layers.PReLU()
    assert "activation.alpha" in made.state_dict()
    made.trainable = False
    made.activation = layers.PReLU()
    assert not made.activation.trainable


@pytest.mark.parametrize("executor", EXECUTORS)
def test_captured_steps_follow_an_activation_and_rules_that_are_set(executor):
    dense = layers.Dense(3, "relu", input_shape=5)
    (kernel, _), optimizer = dense.parameters(), tg.optimizers.SGD(0.1)

    @tg.capture(executor=executor)
    def step(x):
        y = dense(x)
        tg.sum(y).backward()
        optimizer.step(dense.parameters())
        dense.zero_grad()
        return y

    def expected(x):
        return x @ kernel.numpy() + dense.bias.numpy()

    before = np.maximum(expected(X), 0)
    np.testing.assert_allclose(step(X).numpy(), before, rtol=1e-5, atol=1e-6)
    dense.activation = "tanh"
    dense.kernel_constraint = lambda w: w * 0 + 2.0
    before = np.tanh(expected(X))
    np.testing.assert_allclose(step(X).numpy(), before, rtol=1e-5, atol=1e-6)
    assert np.all(kernel.numpy() == 2)
    assert step.executor == executor


def test_no_activation_is_set_in_a_captured_step():
    dense = layers.Dense(3, "relu", input_shape=5)

    def step(x):
        dense.activation = "tanh"
        return dense(x)

    with pytest.raises(CaptureError, match="setting activation of Dense from 'relu' to 'tanh'"):
        tg.capture(step, executor="numpy")(X)
    assert dense.activation == "relu"


def test_the_activation_is_applied_and_keeps_its_logits():
    dense = layers.Dense(3, activation="softmax")
    y = dense(X)
    np.testing.assert_allclose(y.numpy().sum(axis=1), np.ones(4), rtol=1e-6)
    np.testing.assert_allclose(tg.softmax(y.logits).numpy(), y.numpy())
    assert np.array_equal(layers.Dense(3, lambda x: x * 0)(X), np.zeros((4, 3)))


def test_a_layer_as_activation_is_part_of_the_model():
    dense = layers.Dense(3, activation=layers.PReLU(), input_shape=[5])
    assert [path for path, _ in dense.named_parameters()] == ["activation.alpha", "kernel", "bias"]


@pytest.mark.parametrize(
    ("name", "function"),
    [
        *((name, getattr(tg, name)) for name in ("relu", "elu", "selu", "tanh", "sigmoid", "softmax", "softplus")),
        *((name, getattr(tg, name)) for name in ("softsign", "gelu", "silu", "mish", "hard_sigmoid", "celu")),
        ("swish", tg.silu),
        ("exponential", tg.exp),
        ("leaky_relu", lambda x: tg.leaky_relu(x, alpha=0.3)),
        ("linear", lambda x: x),
        (None, lambda x: x),
        (np.cos, np.cos),
    ],
)
def test_activations_by_name(name, function):
    assert np.array_equal(layers.Activation(name)(X), function(X))


def test_flatten_keeps_the_batch():
    x = np.arange(24.0).reshape(2, 3, 4)
    assert layers.Flatten()(x).tolist() == x.reshape(2, 12).tolist()
    assert layers.Flatten()(x[:0]).shape == (0, 12)
    assert layers.Flatten()(np.zeros(3)).shape == (3, 1)


def test_flatten_takes_what_it_was_built_for():
    flatten = layers.Flatten(input_shape=[28, 28])
    with pytest.raises(ShapeError, match=r"Flatten expects x of shape \(batch, 28, 28\); got \(32, 784\)"):
        flatten(np.zeros((32, 784)))


def test_input_says_what_a_sample_looks_like():
    assert layers.Input((28, 28)).known_output_shape() == (None, 28, 28)
    assert layers.Input(5)(X).shape == (4, 5)
    with pytest.raises(ShapeError, match=r"Input expects x of shape \(batch, 4\); got \(4, 5\)"):
        layers.Input(4)(X)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.Dense(0), "Dense expects units to be a positive integer; got 0"),
        (lambda: layers.Dense("300"), "Dense expects units to be a positive integer; got '300'"),
        (lambda: layers.Dense(2.0), "Dense expects units to be a positive integer; got 2.0"),
        (lambda: layers.Dense(True), "Dense expects units to be a positive integer; got True"),
        (lambda: layers.Dense(3, "rellu"), "unknown activation 'rellu' in Dense. Did you mean 'relu'.*softmax"),
        (lambda: layers.Activation(3), "unknown activation 3 in Activation"),
        (
            lambda: layers.Dense(3, layers.ReLU),
            r"Dense expects a layer as activation; got the class ReLU: write ReLU\(\)",
        ),
        (lambda: layers.Dense(3, kernel_initializer="he"), "unknown initializer 'he' in Dense"),
        (lambda: layers.Dense(3, bias_initializer=0), "unknown initializer 0 in Dense"),
        (lambda: layers.Dense(3, use_bias="no"), "Dense expects use_bias to be True or False; got 'no'"),
    ],
)
def test_wrong_settings(call, message):
    with pytest.raises(SettingError, match=message):
        call()


@pytest.mark.parametrize("shape", [(4,), (4, 6), (5, 4, 6)])
def test_wrong_shapes(shape):
    dense = layers.Dense(3)
    dense(X)
    with pytest.raises(ShapeError, match=r"^Dense expects x of shape \(batch, 5\); got "):
        dense(np.zeros(shape))


def test_dense_asks_for_a_batch():
    with pytest.raises(ShapeError, match=r"^Dense expects x of shape \(batch, ..., features\); got \(4,\)$"):
        layers.Dense(3)(np.zeros(4))


@pytest.mark.parametrize("layer", [lambda **o: layers.Dense(3, **o), layers.Activation], ids=["Dense", "Activation"])
def test_an_activation_is_not_learned_where_its_layer_is_not(layer):
    made = layer(activation=layers.PReLU(), trainable=False)
    made(X)
    assert len(made.parameters()) >= 1
    assert not any(parameter.trainable for parameter in made.parameters())
    assert all(parameter.trainable for parameter in layer(activation=layers.PReLU(), input_shape=5).parameters())


def test_an_activation_layer_is_built_with_its_activation():
    assert layers.Activation(layers.PReLU(), input_shape=5).parameters()[0].shape == (5,)


def test_who_asks_for_a_parameter_too_early_is_told():
    layer = layers.Dense(3)
    with pytest.raises(AttributeError, match=r"Dense has no attribute 'kernel' yet: the parameters .* first call"):
        layer.kernel  # noqa: B018
    layer(np.ones((1, 2), np.float32))
    with pytest.raises(AttributeError, match=r"Dense has no attribute 'kernels'$"):
        layer.kernels  # noqa: B018


def test_a_layer_that_knows_its_input_shape_has_its_parameters_when_asked():
    assert layers.Dense(3, input_shape=2).kernel.shape == (2, 3)
    assert layers.BatchNormalization(input_shape=2).moving_mean.shape == (2,)
    assert layers.PReLU(input_shape=2).alpha.shape == (2,)
    layer = layers.Dense(3, input_shape=2)
    assert not hasattr(layer, "_private")
    assert not layer.built
    assert not hasattr(layer, "kernels")
    assert layer.kernel is layer.parameters()[0]


def test_a_layer_is_built_once_even_if_its_build_forgets_the_one_above():
    class Scaling(layers.Layer):
        def build(self, input_shape):
            self.scale = self.parameter("scale", input_shape[1:], "he_normal")

        def forward(self, x):
            return self.scale * x

    alone, asked = Scaling(input_shape=4), Scaling(input_shape=4)
    within = tg.Sequential([layers.Input(4), Scaling()]).layers[1]
    for layer, first in [(alone, alone.parameters()[0]), (asked, asked.scale), (within, within.scale)]:
        layer(np.ones((2, 4), np.float32))
        assert layer.scale is first
        assert layer.batch_shape == (None, 4)


def test_a_users_getattr_can_hand_on_to_that_of_layers():
    class Own(layers.Dense):
        def __getattr__(self, name):
            return self.kernel if name == "weight" else super().__getattr__(name)

    layer = Own(3, input_shape=4)
    assert layer.weight is layer.kernel
    with pytest.raises(AttributeError, match="Own has no attribute 'kernel' yet"):
        Own(3).weight  # noqa: B018


def test_a_parameter_that_is_set_before_the_layer_is_built_stays():
    layer, mine = layers.Dense(3), tg.Parameter(np.ones((2, 3), np.float32))
    layer.kernel = mine
    layer(np.ones((1, 2), np.float32))
    assert layer.kernel is mine
    for wrong, kind, said in [
        (tg.Parameter(np.ones((3, 2))), ShapeError, r"Dense expects kernel of shape \(2, 3\); got \(3, 2\)$"),
        (np.ones((2, 3)), TypeError, r"Dense expects kernel to be a Parameter; got array"),
    ]:
        layer = layers.Dense(3)
        layer.kernel = wrong
        with pytest.raises(kind, match=said):
            layer(np.ones((1, 2), np.float32))


def test_a_build_that_asks_for_what_is_not_there_is_told():
    class Asking(layers.Layer):
        def build(self, input_shape):
            self.weight = self.parameter("weight", self.lengths, "zeros")

    with pytest.raises(AttributeError, match=r"Asking has no attribute 'lengths'$"):
        Asking(input_shape=2).weight  # noqa: B018


def test_a_layer_whose_base_is_not_initialized_says_so():
    class Short(layers.Layer):
        def __init__(self):
            self.units = 3

    with pytest.raises(
        AttributeError, match=r"Short has no attribute 'dtype': super\(\).__init__\(\) has not been called$"
    ):
        Short()(X)


def test_a_dense_layer_expects_what_its_kernel_takes_even_if_that_was_replaced():
    layer = layers.Dense(3, input_shape=4)
    layer.ensure_built()
    layer.kernel = tg.Parameter(np.ones((5, 3), np.float32))
    with pytest.raises(ShapeError, match=r"Dense expects x of shape \(batch, 5\); got \(1, 4\)$"):
        layer(np.ones((1, 4), np.float32))
