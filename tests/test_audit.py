"""What an audit finds is found in the graph of one call: in layers, and in modules written by hand."""

import copy
import json

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn import layers
from tinygrad_bn.errors import NotBuiltError
from tinygrad_bn.layers import Activation, BatchNormalization, Dense, Dropout, Flatten, LayerNormalization, PReLU

BIAS = "bias before batch normalization"
NONE = "parameter without gradient"
ZERO = "gradient of 0"
MIXED = "mixed dtypes"
MISMATCH = "initializer and activation do not match"


def found(model, kind=None, **options):
    """(kind, path) of the findings, or the paths of one kind."""
    findings = model.audit(**options).findings
    return [f.path if kind else (f.kind, f.path) for f in findings if kind in (None, f.kind)]


def network(*inner, shape=(6,)):
    return tg.Sequential([layers.Input(shape), *inner, Dense(3)])


class Handmade(tg.Module):
    """One product, and after it whatever `after(self, x @ kernel)` says."""

    def __init__(self, after, **parameters):
        self.kernel = tg.Parameter(np.random.default_rng(0).normal(size=(6, 4)))
        self.after = after
        for name, value in parameters.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.after(self, tg.matmul(x, self.kernel))


X = np.random.default_rng(2).normal(size=(16, 6))


def standardized(x):
    return tg.standardize(x, axis=0, epsilon=1e-3)


# A model that is as it should be


def test_the_notebooks_network_has_nothing_to_be_found():
    model = tg.Sequential(
        [
            Flatten(input_shape=[28, 28]),
            BatchNormalization(),
            Dense(300, kernel_initializer="he_normal", use_bias=False),
            BatchNormalization(),
            Activation("elu"),
            Dense(100, kernel_initializer="he_normal", use_bias=False),
            BatchNormalization(),
            Activation("elu"),
            Dense(10, activation="softmax"),
        ]
    )
    model.compile(tg.optimizers.SGD(weight_decay=0.01), "sparse_categorical_crossentropy")
    report = model.audit()
    assert report.findings == ()
    assert str(report) == "nothing found"


# Biases


def test_a_bias_right_before_batch_normalization_is_found():
    assert found(network(Dense(8), BatchNormalization())) == [(BIAS, "layers.1.bias")]


def test_a_bias_that_an_activation_follows_is_of_use():
    assert found(network(Dense(8, "tanh"), BatchNormalization()), BIAS) == []
    assert found(network(Dense(8), Activation("tanh"), BatchNormalization()), BIAS) == []


def test_a_bias_that_varies_along_the_axes_of_the_mean_is_of_use():
    assert found(network(Dense(8), LayerNormalization()), BIAS) == []
    assert found(network(Dense(8), BatchNormalization(axis=1), shape=(5, 6)), BIAS) == []
    assert found(network(Dense(8), BatchNormalization(axis=[1, 2]), shape=(5, 6)), BIAS) == ["layers.1.bias"]


def test_a_bias_is_found_through_what_only_moves_numbers():
    assert found(network(Dense(8), Flatten(), BatchNormalization(), shape=(5, 6)), BIAS) == ["layers.1.bias"]


def test_two_biases_are_found_where_both_are_added():
    model = Handmade(
        lambda m, h: standardized(h + m.first - m.second),
        first=tg.Parameter(np.ones(4)),
        second=tg.Parameter(np.ones(4)),
    )
    assert found(model, BIAS, x=X) == ["first", "second"]


def test_a_shift_is_a_bias_and_the_scale_before_it_is_none():
    gamma = tg.Parameter(np.ones(4))
    both = Handmade(
        lambda m, h: standardized(tg.scale_and_shift(h, m.gamma, m.beta)), gamma=gamma, beta=tg.Parameter(np.ones(4))
    )
    assert found(both, BIAS, x=X) == ["beta"]
    for shift in (0.5, np.ones(4)):
        alone = Handmade(lambda m, h, shift=shift: standardized(tg.scale_and_shift(h, m.gamma, shift)), gamma=gamma)
        assert found(alone, BIAS, x=X) == []


def test_a_factor_is_no_gamma_where_only_the_shift_is_standardized():
    model = Handmade(lambda m, h: tg.scale_and_shift(h, m.w, standardized(h)), w=tg.Parameter(np.ones(4)))
    assert found(model, x=X, optimizer=tg.optimizers.SGD(weight_decay=0.01)) == []


def test_dropout_between_makes_the_bias_matter():
    assert found(network(Dense(8), Dropout(0.5), BatchNormalization()), BIAS) == []


def test_a_bias_that_is_found_learns_nothing_in_truth():
    model = network(Dense(8), BatchNormalization())
    (path,) = found(model, BIAS)
    model(X.astype(np.float32)).sum().backward()
    gradients = {name: np.abs(p.grad).max() for name, p in model.named_parameters()}
    assert gradients[path] < 1e-4 * gradients["layers.3.bias"]


# Weight decay


@pytest.mark.parametrize("role", ["gamma", "beta", "alpha"])
def test_a_regularizer_on_scales_shifts_and_slopes_is_found(role):
    model = network(Dense(8, use_bias=False), BatchNormalization(), PReLU())
    paths = {"gamma": "layers.2.gamma", "beta": "layers.2.beta", "alpha": "layers.3.alpha"}
    dict(model.named_parameters())[paths[role]].regularizer = tg.regularizers.L2(0.01)
    (finding,) = model.audit().findings
    assert (finding.kind, finding.path) == (f"weight decay on {role}", paths[role])
    assert "L2" in finding.found


def test_an_optimizer_is_asked_which_parameters_it_decays():
    model = Handmade(
        lambda m, h: standardized(h) * m.strength + m.beta,
        strength=tg.Parameter(np.ones(4), name="strength"),
        beta=tg.Parameter(np.zeros(4), name="beta"),
    )
    assert found(model, x=X) == []
    assert found(model, x=X, optimizer=tg.optimizers.AdamW()) == [("weight decay on gamma", "strength")]
    assert found(model, x=X, optimizer=tg.optimizers.SGD()) == []
    assert found(model, x=X, optimizer=tg.optimizers.SGD(weight_decay=0.0)) == []


# Gradients


def test_a_parameter_that_forward_forgets_is_found():
    model = Handmade(lambda m, h: h, spare=tg.Parameter(np.ones(3)))
    (finding,) = model.audit(X).findings
    assert (finding.kind, finding.path, finding.found) == (NONE, "spare", "no output depends on it")


def test_what_is_detached_or_frozen_is_found():
    assert found(Handmade(lambda m, h: h.detach()), x=X) == [(NONE, "kernel")]
    model = network(Dense(8, "tanh"))
    model.layers[1].trainable = False
    assert found(model) == [(NONE, "layers.1.kernel"), (NONE, "layers.1.bias")]


def test_dead_units_are_found_by_gradients_of_0():
    model = network(Dense(8, "relu", kernel_initializer="he_normal"))
    model.layers[1].bias.assign(-1e3)
    assert found(model) == [(ZERO, "layers.1.kernel"), (ZERO, "layers.1.bias"), (ZERO, "layers.2.kernel")]


@pytest.mark.parametrize(
    ("inner", "still"),
    [
        ([Dense(6, "tanh"), Dense(6, kernel_initializer="zeros")], ["layers.0.kernel", "layers.0.bias"]),
        ([LayerNormalization(gamma_initializer="zeros"), Dense(6)], ["layers.1.kernel"]),
    ],
    ids=["zeros behind", "zeros before"],
)
def test_only_of_what_no_training_moves_the_audit_says_so(inner, still):
    """Zeros that learn, before or behind a parameter, let it learn after a step: then it says that this is now."""

    class Residual(tg.Model):
        def __init__(self):
            self.layers = [*inner]

        def forward(self, x):
            return x + self.layers[1](self.layers[0](x))

    model, x = Residual(), X.astype(np.float32)
    model.compile(tg.optimizers.SGD(0.1), "mse")
    findings = model.audit(x).findings
    assert [finding.path for finding in findings if finding.kind == ZERO] == still
    before = model.state_dict()
    model.fit(x, np.zeros((16, 6), np.float32), epochs=3, verbose=0)
    moved = {path for path, value in model.state_dict().items() if not np.array_equal(value, before[path])}
    assert moved >= {*still}
    assert not moved & {finding.path for finding in findings if "whatever the training" in finding.why}
    assert all("as long as that is so" in finding.why for finding in findings if finding.kind == ZERO)


def test_softmax_at_the_end_lets_gradients_through():
    assert found(network(Activation("softmax")), ZERO) == []


# Dtypes


def test_the_odd_dtype_among_the_parameters_is_found():
    model = network(Dense(8, "tanh"), Dense(2, dtype=np.float64))
    assert found(model, MIXED) == ["layers.2.kernel", "layers.2.bias"]
    assert "float64" in model.audit().findings[0].found


def test_inputs_that_widen_the_computation_are_found():
    model = Handmade(lambda m, h: h)
    model.kernel = tg.Parameter(np.ones((6, 4), np.float32))
    assert found(model, MIXED, x=X) == [""]
    assert found(model, MIXED, x=X.astype(np.float32)) == []
    assert found(network(), MIXED, x=X) == []  # layers cast their inputs


# Initializers


@pytest.mark.parametrize(
    ("initializer", "activation"),
    [
        ("he_normal", "relu"),
        ("he_uniform", "leaky_relu"),
        (tg.initializers.HeNormal, "elu"),
        (tg.initializers.VarianceScaling(2.0, "fan_avg", "uniform"), "relu"),
        ("lecun_normal", "selu"),
        (tg.initializers.VarianceScaling(1.0, "fan_in"), "selu"),
        ("glorot_uniform", "tanh"),
        ("glorot_normal", "sigmoid"),
        (tg.initializers.GlorotNormal(), "softmax"),
        ("orthogonal", "tanh"),
        (tg.initializers.Orthogonal(gain=2**0.5), "relu"),
        (tg.initializers.RandomNormal(stddev=(2 / 6) ** 0.5), "relu"),
        (tg.initializers.RandomNormal(stddev=(2 / 8) ** 0.5), "relu"),  # for the way back
        (tg.initializers.RandomUniform(-((3 / 6) ** 0.5), (3 / 6) ** 0.5), "selu"),
        ("he_normal", "linear"),
        ("glorot_uniform", "silu"),  # where sigmoid is a gate, not the activation
        ("he_normal", "silu"),
        ("glorot_uniform", "mish"),
    ],
)
def test_initializers_that_suit(initializer, activation):
    assert found(network(Dense(8, activation, kernel_initializer=initializer))) == []


@pytest.mark.parametrize(
    ("initializer", "activation", "suits"),
    [
        ("glorot_uniform", "relu", "he_normal"),
        ("lecun_normal", "elu", "he_normal"),
        (tg.initializers.VarianceScaling(1.0), "leaky_relu", "he_normal"),
        ("he_normal", "selu", "lecun_normal"),
        ("glorot_uniform", "selu", "lecun_normal"),
        (tg.initializers.HeUniform, "tanh", "glorot_uniform"),
        ("he_normal", "sigmoid", "glorot_uniform"),
        (tg.initializers.HeNormal(), "softmax", "glorot_uniform"),
        (tg.initializers.RandomNormal(stddev=5.0), "relu", "he_normal"),
        ("random_normal", "tanh", "glorot_uniform"),
        ("orthogonal", "relu", "he_normal"),
        (tg.initializers.Orthogonal(gain=2**0.5), "tanh", "glorot_uniform"),
        (tg.initializers.RandomNormal(stddev=(1 / 8) ** 0.5), "selu", "lecun_normal"),
        (tg.initializers.Constant(0.5), "relu", "he_normal"),  # whose units stay alike
    ],
)
def test_initializers_that_do_not_suit(initializer, activation, suits):
    for model in (
        network(Dense(8, activation, kernel_initializer=initializer)),
        network(Dense(8, kernel_initializer=initializer), Dropout(0.1), Activation(activation), Dropout(0.1)),
    ):
        (finding,) = model.audit().findings
        assert (finding.kind, finding.path) == (MISMATCH, "layers.1.kernel")
        assert finding.found.endswith(f"before {activation}; {suits} suits it")


@pytest.mark.parametrize("stddev", [0.01, 0.1, 1.0])
def test_a_law_fits_by_its_variance_not_by_its_name(stddev):
    """Of kernels of one variance 0.01 tanh wants 100 inputs, ReLU 200."""
    for inputs in (2, 100, 200):
        for activation, wanted in (("tanh", 1), ("relu", 2)):
            kernel = Dense(inputs, activation, kernel_initializer=tg.initializers.RandomNormal(stddev=stddev))
            fits = abs(stddev**2 * inputs - wanted) < 0.1
            assert (found(network(kernel, shape=(inputs,)), MISMATCH) == []) == fits


def test_an_activation_is_called_as_its_layer_is():
    """RReLU and PReLU are one primitive."""
    for activation in (layers.RReLU(), PReLU()):
        (finding,) = network(Dense(8), activation).audit().findings
        assert f" before {type(activation).__name__.lower()};" in finding.found


def test_nothing_is_said_of_an_initializer_that_tells_no_law():
    class Mine(tg.initializers.Initializer):
        def draw(self, shape, rng):
            return 5 * rng.standard_normal(shape)

    assert found(network(Dense(8, "relu", kernel_initializer=Mine()))) == []
    model = Handmade(lambda m, h: tg.relu(h), kernel_initializer="a word of its own")
    assert found(model, x=X) == []


def test_a_module_written_by_hand_can_say_what_it_drew_from():
    model = Handmade(lambda m, h: tg.relu(h), kernel_initializer=tg.initializers.GlorotUniform())
    assert found(model, x=X) == [(MISMATCH, "kernel")]


def test_only_the_first_activation_behind_a_kernel_judges_it():
    assert found(network(Dense(8, "relu", kernel_initializer="he_normal"), Activation("tanh"))) == []


def test_behind_batch_normalization_the_scale_of_a_kernel_does_not_matter():
    inner = [Dense(8, use_bias=False, kernel_initializer="glorot_uniform"), BatchNormalization(), Activation("relu")]
    assert found(network(*inner)) == []
    assert found(network(inner[0], Activation("relu"), BatchNormalization())) == [(MISMATCH, "layers.1.kernel")]


def test_a_skip_connection_leads_two_kernels_to_one_activation():
    class Residual(tg.Model):
        def __init__(self):
            self.outer = Dense(6, kernel_initializer="he_normal")
            self.inner = Dense(6, "tanh")
            self.last = Dense(6)

        def forward(self, x):
            h = self.outer(x)
            return tg.relu(h + self.last(self.inner(h)))

    assert found(Residual(), x=X) == [(MISMATCH, "last.kernel")]


# The report, and what the audit leaves behind


def test_the_report_says_what_why_and_what_to_do():
    report = network(Dense(8, "relu"), Dense(8), BatchNormalization()).audit()
    text = str(report)
    assert [line.split("  ")[0] for line in text.splitlines()[2:4]] == [BIAS, MISMATCH]
    for finding in report.findings:
        assert finding.path in text and finding.found in text
    assert "use_bias=False" in text and "He initialization before ReLU" in text
    assert json.loads(json.dumps(report.to_dict()))["findings"][0]["path"] == "layers.2.bias"
    assert repr(report) == "Audit(2 findings)"


def test_the_model_and_the_generators_are_as_before():
    model = network(Dense(8), BatchNormalization(), Dropout(0.5))
    model.eval()
    before, draws = model.state_dict(), copy.deepcopy(tg.generator().bit_generator.state)
    first = model.audit()
    assert model.audit().to_dict() == first.to_dict()
    assert all(np.array_equal(value, before[path]) for path, value in model.state_dict().items())
    assert tg.generator().bit_generator.state == draws
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_it_works_where_gradients_are_switched_off():
    model = network(Dense(8), BatchNormalization())
    with tg.no_grad():
        assert found(model) == [(BIAS, "layers.1.bias")]


def test_a_module_that_does_not_know_its_inputs_asks_for_some():
    model = tg.Sequential([Dense(3)])
    with pytest.raises(NotBuiltError, match=r"^Sequential.audit expects a batch of inputs.*model.audit\(x\)$"):
        model.audit()
    assert found(model, x=X) == []


def test_a_module_without_parameters_has_nothing_to_be_found():
    assert found(tg.Sequential([Activation("relu")]), x=X) == []


def test_several_outputs_are_looked_at_together():
    model = Handmade(lambda m, h: {"a": h, "b": [h * m.spare, 3]}, spare=tg.Parameter(np.ones(4)))
    assert found(model, x=X) == []


def test_what_is_no_optimizer_is_refused():
    with pytest.raises(TypeError, match=r"audit expects an Optimizer, .*; got 3"):
        tg.Sequential([layers.Dense(2, input_shape=3)]).audit(optimizer=3)
