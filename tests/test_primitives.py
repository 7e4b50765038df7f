"""How an operation is defined, called, and told apart; what the laws cannot say."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.errors import DtypeError, SettingError
from tinygrad_bn.primitives import Function, Primitive, derived, primitive, ufunc


@pytest.fixture(autouse=True)
def registry():
    """What a test defines is gone after it."""
    before = list(Function.registry)
    yield
    Function.registry[:] = before


def make_cube():
    @tg.primitive
    def cube(x, *, scale=1.0):
        """scale * x ** 3."""
        return scale * x * x * x

    cube.defvjp(lambda g, y, x, *, scale: g * (3 * scale) * tg.square(x))
    return cube


def test_a_users_operation_is_one_function_and_one_rule():
    cube = make_cube()
    x = np.array([1.0, 2.0])
    np.testing.assert_array_equal(cube(x), [1, 8])
    np.testing.assert_array_equal(cube(x, scale=2.0), [2, 16])
    np.testing.assert_array_equal(cube(x, 2.0), [2, 16])
    np.testing.assert_array_equal(tg.grad(lambda x: cube(x, scale=2.0).sum())(x), 6 * x * x)
    np.testing.assert_array_equal(tg.hessian(lambda x: cube(x).sum())(x), np.diag(6 * x))
    assert cube in Function.registry


def test_it_keeps_its_name_docstring_and_signature():
    cube = make_cube()
    assert (cube.__name__, cube.__doc__, cube.__module__) == ("cube", "scale * x ** 3.", __name__)
    assert str(inspect.signature(cube)) == "(x, *, scale=1.0)"
    assert repr(cube) == "<primitive cube>"
    assert repr(tg.silu) == "<derived silu>"


@pytest.mark.parametrize(
    ("forward", "arity", "settings"),
    [
        (lambda x: x, 1, ()),
        (lambda x, y: x, 2, ()),
        (lambda x, y, /, axis=None, keepdims=False: x, 2, ("axis", "keepdims")),
        (lambda x, *, axis, epsilon=1e-3: x, 1, ("axis", "epsilon")),
        (lambda *xs, axis=0: xs[0], None, ("axis",)),
        (lambda *, shape, rng: shape, 0, ("shape", "rng")),
        (np.add, 2, ()),
        (np.exp, 1, ()),
    ],
)
def test_arrays_stand_before_the_slash_or_the_star_and_settings_after_it(forward, arity, settings):
    function = Primitive(forward)
    assert (function.arity, function.settings) == (arity, settings)


def test_settings_without_a_default_are_asked_for():
    with pytest.raises(
        TypeError, match="standardize expects 1 array and the settings axis, epsilon; epsilon is missing"
    ):
        tg.standardize(np.ones((2, 2)), axis=0)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("f {x}", r"unknown setting 'x' in the label 'f {x}' of f\. Choices: axis, scale\."),
        ("f {scal:g}", r"unknown setting 'scal' in the label .* of f\. Did you mean 'scale'\?"),
        ("f {scale", r"the label 'f {scale' of f is no format: expected '}'"),
    ],
)
def test_a_label_names_settings(label, message):
    def f(x, *, scale=1.0, axis=()):
        return scale * x

    with pytest.raises(SettingError, match=message):
        tg.primitive(label=label)(f)
    assert tg.primitive(label="f {scale:g} {axis[0]}")(f).label == "f {scale:g} {axis[0]}"


def test_an_array_by_name_is_answered_with_how_to_write_a_setting():
    @primitive
    def scaled(x, alpha=2.0):
        return alpha * x

    with pytest.raises(
        TypeError, match=r"expects 2 arrays; got 1 by position and alpha by name: .* \(\*, alpha\) makes it a setting"
    ):
        scaled(np.ones(2), alpha=3.0)


@pytest.mark.parametrize(
    "rule",
    [
        lambda g, y, x: g,
        lambda g, y, x, *, scales: g,
        lambda g, *, scale: g,
        lambda g, y, x, scale, /: g,
    ],
)
def test_a_rule_takes_what_it_is_called_with(rule):
    cube = make_cube()
    with pytest.raises(TypeError, match=r"cube calls its rules as rule\(g, y, x, scale=scale\); <lambda> takes"):
        cube.defvjp(rule)
    for right in (lambda g, y, x, scale: g, lambda *args, **settings: args[0], lambda g, y, *xs, scale: g):
        cube.defvjp(right)
    total = Primitive(lambda *xs, weight: xs[0], name="total")
    with pytest.raises(
        TypeError, match=r"total calls its rules as rule\(i, g, y, \*arrays, weight=weight\); <lambda> takes"
    ):
        total.defvjp_each(lambda i, g, y, *xs: g)


def test_what_is_no_number_is_answered_in_our_words_by_a_users_primitive_too():
    for text in ("a", np.array(["a"]), ["a"]):
        with pytest.raises(DtypeError, match=r"^cube expects num"):
            make_cube()(text)


def test_as_many_rules_as_arrays():
    with pytest.raises(TypeError, match="cube takes 1 arrays; got 2 rules"):
        make_cube().defvjp(None, None)
    with pytest.raises(TypeError, match="use defvjp_each"):
        primitive(lambda *xs: xs[0]).defvjp(None)


def test_without_a_rule_the_derivative_says_how_to_give_one():
    @primitive
    def bare(x, /):
        return x * x

    assert bare(3.0) == 9
    with pytest.raises(NotImplementedError, match=r"bare has no derivative yet: give one with bare\.defvjp"):
        tg.grad(bare)(np.array(3.0))


def test_a_rule_of_none_stops_the_gradient():
    @primitive
    def half(x, y, /):
        return x * y

    half.defvjp(lambda g, z, x, y: g * y, None)
    x = np.array(2.0)
    assert tg.grad(lambda x: half(x, x * 3))(x) == 6  # and nothing through the second argument


def test_rules_of_any_number_of_arrays():
    @primitive
    def total(*xs, weight=1.0):
        return weight * sum(xs)

    total.defvjp_each(lambda i, g, y, *xs, weight: g * weight * (i + 1))
    gradient = tg.grad(lambda *xs: total(*xs, weight=2.0), argnums=(0, 1, 2))(*map(np.array, (1.0, 1.0, 1.0)))
    assert [float(g) for g in gradient] == [2, 4, 6]
    assert total([1.0, 2.0], 3.0) == 9


def test_a_broadcast_argument_gets_its_cotangent_summed_and_in_its_own_dtype():
    @primitive
    def product(x, y, /):
        return x * y

    product.defvjp(lambda g, z, x, y: g * y, lambda g, z, x, y: g * x)
    x, y = np.ones((2, 3), np.float32), np.full((3,), 2.0)
    gx, gy = tg.grad(lambda x, y: product(x, y).sum(), argnums=(0, 1))(x, y)
    assert (gx.dtype, gx.shape) == (np.float32, (2, 3))
    assert (gy.dtype, gy.shape) == (np.float64, (3,))
    np.testing.assert_array_equal(gy, [2, 2, 2])


def test_a_composite_is_named_after_itself_in_its_errors():
    @derived(expects="nothing that fails")
    def outer(x, /):
        return tg.reshape(x, (7,))

    with pytest.raises(ValueError, match=r"outer expects nothing that fails; got float64 of shape \(2,\)"):
        outer(np.ones(2))


def test_a_ufunc_belongs_to_the_module_that_wraps_it():
    wrapped = ufunc(np.cbrt, "The cube root of x", lambda g, y, x: g / (3 * tg.square(y)), name="cube_root")
    assert wrapped.__module__ == __name__
    assert tg.exp.__module__ == "tinygrad_bn.ops.elementary"
    np.testing.assert_allclose(tg.grad(wrapped)(np.array(8.0)), 1 / 12)


def test_lists_beside_tensors_are_as_weak_as_pythons_numbers():
    t = tg.tensor([1.0, 2.0])
    for numbers in ([1.0, 2.0], [0, 1], [True, 2.0], range(2), (np.float64(1.0), 2)):
        for dtype in (np.float16, np.float32, np.float64):
            x = t.astype(dtype)
            for function in (tg.add, tg.prelu, tg.sigmoid_crossentropy, tg.maximum):
                assert function(numbers, x).dtype == function(x, numbers).dtype == dtype
            assert tg.where(x > 1, x, numbers).dtype == tg.concatenate([x, numbers]).dtype == dtype
    assert tg.take(t, [0, 1]).dtype == tg.sparse_softmax_crossentropy([0], t[None]).dtype == np.float32


@pytest.mark.parametrize(
    "function",
    [
        lambda x, number: tg.elu(x, alpha=number),
        lambda x, number: tg.leaky_relu(x, number),
        lambda x, number: tg.celu(x, number),
        lambda x, number: tg.clip(x, number),
    ],
)
def test_a_number_as_a_setting_is_weak_in_whatever_it_comes(function):
    for number in (np.float64(0.5), np.array(0.5)):
        for x in (np.ones(2, np.float32), tg.tensor([1.0, 2.0])):
            assert function(x, number).dtype == np.float32


def test_an_array_changed_after_the_forward_changes_the_gradient():
    """Arrays are not copied; docs/semantics.md says so."""
    array, t = np.array([2.0, 3.0]), tg.tensor(np.ones(2), requires_grad=True)
    y = (t * array).sum()
    array[:] = 7
    y.backward()
    np.testing.assert_array_equal(np.asarray(t.grad), [7, 7])


def test_a_tensor_before_or_after_an_array_takes_over():
    x, t = np.ones(2), tg.tensor([1.0, 2.0], requires_grad=True)
    for result in (tg.multiply(x, t), tg.multiply(t, x), tg.concatenate([x, t]), tg.where(x > 0, x, t)):
        assert isinstance(result, tg.Tensor)
        assert result.requires_grad


def test_functions_are_no_methods_and_can_be_kept_in_classes():
    class Kept:
        activation = tg.relu

    assert Kept().activation(np.array(-1.0)) == 0


def test_every_public_function_is_registered_or_draws_or_composes():
    plain = {name for name in tg.ops.__all__ if not isinstance(getattr(tg.ops, name), Function)}
    assert plain <= {"alpha_dropout", "dropout", "einsum", "generator", "rrelu", "set_random_seed", "split"}


def test_all_functions_have_names_of_their_own():
    named = [function.__name__ for function in Function.registry if function.__module__.startswith("tinygrad_bn.")]
    assert len(named) == len(set(named))


def test_defining_operations_loads_no_module_that_is_slow_to_load():
    slow = ["inspect", "numpy.random", "numpy.typing", "argparse", "zipfile", "csv", "tempfile", "difflib"]
    code = f"""import numpy, sys
before = set(sys.modules)
import tinygrad_bn
print([name for name in {slow} if name in set(sys.modules) - before])"""
    tree = Path(__file__).parents[1]
    ran = subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_what_a_user_raises_in_a_primitive_is_what_the_caller_sees():
    def positive(x):
        raise ValueError("x must be positive")

    made = Primitive(positive)
    with pytest.raises(ValueError, match=r"^x must be positive$"):
        made(np.ones(2))


@pytest.mark.parametrize("result", [None, "a", (np.ones(2), np.ones(2))])
def test_a_primitive_returns_one_array(result):
    made = Primitive(lambda x: result, name="odd")
    for x in (np.ones(2), tg.tensor([1.0])):
        with pytest.raises(DtypeError, match="odd has to return one array; got "):
            made(x)


def test_primitives_and_rules_are_functions():
    for thing in (3, len, int):
        with pytest.raises(TypeError, match="made of a function written in Python, or a NumPy ufunc; got"):
            tg.primitive(thing)
    made = Primitive(lambda x: x)
    with pytest.raises(TypeError, match=r"defvjp expects functions.*; got 'rule'"):
        made.defvjp("rule")


def test_a_rule_for_each_argument_brings_back_a_derivative_that_was_denied():
    double = tg.primitive(lambda x: 2 * x, name="double")
    double.defvjp(None)
    double.defvjp_each(lambda i, g, y, x: 2 * g)
    np.testing.assert_array_equal(tg.grad(lambda x: double(x).sum())(np.ones(2)), [2, 2])
