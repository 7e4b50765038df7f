import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn import layers
from tinygrad_bn.errors import GradientError
from tinygrad_bn.primitives import Function, primitive
from tinygrad_bn.variables import Parameter, State

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 4)).astype(np.float32)


class Affine:
    """The least that is checked as a module: parameters with paths, a call, and here a state that each call updates."""

    def __init__(self):
        self.kernel = Parameter(RNG.standard_normal((4, 3)).astype(np.float32))
        self.bias = Parameter(np.zeros(3, np.float32))
        self.spare = Parameter(np.ones(2, np.float32))
        self.frozen = Parameter(np.full(3, 0.5, np.float32), trainable=False)
        self.average = State(np.zeros(3, np.float32))

    def named_parameters(self):
        return [(name, v) for name, v in vars(self).items() if isinstance(v, Parameter)]

    def __call__(self, x):
        y = tg.tanh(x.astype(self.kernel.dtype) @ self.kernel + self.bias) * self.frozen
        shifted = y + self.average
        self.average.assign(0.9 * self.average + 0.1 * tg.mean(y, axis=0))
        return shifted


def network():
    return tg.Sequential(
        [
            layers.Dense(5, kernel_initializer="he_normal"),
            layers.BatchNormalization(),
            layers.PReLU(),
            layers.Dropout(0.5),
            layers.Dense(3, activation="softmax"),
        ]
    )


def kinds(certificate):
    return {name: verdict.kind for name, verdict in certificate.verdicts.items()}


def test_every_parameter_of_a_module_is_checked_by_its_path():
    certificate = tg.gradcheck(Affine(), X, order=2)
    assert certificate
    assert kinds(certificate) == {"x": "OK", "kernel": "OK", "bias": "OK", "spare": "UNUSED"}
    assert certificate.skipped == {"frozen": "not trainable"}
    assert max(verdict.bound for verdict in certificate.verdicts.values()) < 1e-7


@pytest.mark.parametrize("fails", [False, True], ids=["returns", "raises"])
def test_a_module_is_left_as_it_was(fails):
    module = Affine()
    variables = list(vars(module).values())
    held = [(v.value, v.value.copy(), v.version) for v in variables]
    y = tg.sum(module.kernel * module.kernel)
    runs = []

    def f(x):
        runs.append(1)
        if fails and len(runs) == 20:
            raise KeyError("in the middle")
        return module(x)

    f.named_parameters = module.named_parameters
    if fails:
        with pytest.raises(KeyError, match="in the middle"):
            tg.gradcheck(f, X)
    else:
        assert tg.gradcheck(f, X)
    for variable, (memory, before, version) in zip(variables, held, strict=True):
        assert variable.value is memory
        assert variable.version is version
        assert variable.grad is None
        np.testing.assert_array_equal(memory, before)
    y.backward()  # a graph from before the check is not stale
    np.testing.assert_array_equal(module.kernel.grad.numpy(), 2 * module.kernel.numpy())


def test_what_a_function_reads_through_its_closure_is_float64_too():
    module = Affine()
    verdict = tg.gradcheck(lambda x: tg.sum(tg.square(module(x))), X).verdicts["x"]
    assert verdict.kind == "OK"
    assert verdict.bound < 1e-7


def test_a_whole_network_is_built_checked_and_left_in_its_dtype():
    tg.set_random_seed(0)
    model = network()
    certificate = tg.gradcheck(model, X, order=2)
    assert certificate
    assert set(certificate.verdicts) == {"x", *dict(model.named_parameters())}
    assert set(kinds(certificate).values()) == {"OK"}
    assert {value.dtype for value in model.state_dict().values()} == {np.dtype(np.float32)}
    assert model(X).dtype == np.float32


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_network_keeps_its_moving_statistics_and_draws_in_either_mode(mode):
    tg.set_random_seed(1)
    model = network()
    model(X)
    getattr(model, mode)()
    before = model.state_dict()
    assert tg.gradcheck(lambda x: tg.losses.MeanSquaredError()(np.ones((6, 3)), model(x)), X)
    assert tg.gradcheck(model, X)
    after = model.state_dict()
    assert list(after) == list(before)
    for path, value in before.items():
        np.testing.assert_array_equal(after[path], value, err_msg=path)


def test_a_wrong_rule_deep_in_a_model_is_named_by_path():
    halved = primitive(lambda x, alpha: x * alpha)
    halved.defvjp(lambda g, y, x, alpha: g * alpha, lambda g, y, x, alpha: 0.5 * g * x)
    Function.registry.remove(halved)

    class Scale(tg.Module):
        def __init__(self):
            super().__init__()
            self.alpha = Parameter(np.ones(5, np.float32))

        def forward(self, x):
            return halved(x, self.alpha)

    model = tg.Sequential([layers.Dense(5), Scale(), layers.Dense(2)])
    certificate = tg.gradcheck(model, X)
    wrong = [name for name, kind in kinds(certificate).items() if kind == "WRONG"]
    assert wrong == ["layers.1.alpha"]
    with pytest.raises(GradientError, match=r"by layers\.1\.alpha is wrong at element \(\d,\)"):
        certificate.raise_if_wrong()


@pytest.mark.parametrize("check", [tg.gradcheck, tg.checking.taylor_test])
def test_a_module_that_is_not_built_is_built_with_parameters_that_nothing_else_will_be_given(check):
    tg.set_random_seed(3)
    first, second = tg.Sequential([layers.Dense(3)]), tg.Sequential([layers.Dense(3)])
    assert check(first, X)
    second(X)
    assert not np.array_equal(first.layers[0].kernel.numpy(), second.layers[0].kernel.numpy())
