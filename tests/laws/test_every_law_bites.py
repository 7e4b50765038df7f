"""For every law a function that breaks it, which the very same law must catch, beside one that does not."""

from __future__ import annotations

from pickle import PicklingError
from typing import Any, NamedTuple

import numpy as np
import pytest

import tests.laws.test_laws  # noqa: F401 the lawbook is filled
from tests.laws.lawbook import LAWS
from tinygrad_bn import ops
from tinygrad_bn.domains import Case, boolean, positive, real
from tinygrad_bn.ops import square
from tinygrad_bn.primitives import Derived, Function, Primitive, ufunc

_before = len(Function.registry)

DOC = """scale * log(1 + x ** 2), over the settings scale and shift."""
FORMULA = {
    "doc": DOC,
    "label": "tame {scale:g}",
    "cases": (Case(), Case(scale=0.5)),
    "reference": lambda x, scale, shift: scale * np.log(1 + x * x) + shift,
}


def tame(x, /, scale=1.0, shift=0.0):
    return scale * np.log1p(np.square(x * 1.0)) + shift


def by_keyword(x, /, *, scale=1.0, shift=0.0):
    return tame(x, scale, shift)


def tame_rule(g, y, x, *, scale, shift):
    return g * (2 * scale) * x / (1 + square(x))


def planted(forward=tame, *rules, kind=Primitive, **changes):
    """The honest function, with another forward, other rules or another record."""
    function = kind(forward, **{**FORMULA, **changes})
    if isinstance(function, Primitive):
        function.defvjp(*(rules or (tame_rule,)))
    return function


honest = planted(name="honest")


def careless_helper(x):
    return x**2


class Careless(Primitive):
    """Hands everything on to the forward as it came."""

    def __call__(self, *args: Any, **params: Any) -> Any:
        return self.evaluate(args, params)


def writes_to_x(x, /, scale=1.0, shift=0.0):
    x += 1
    return tame(x, scale, shift)


def writes_to_g(g, y, x, *, scale, shift):
    g *= 2
    return tame_rule(g, y, x, scale=scale, shift=shift)


def writes_elements(x, /, scale=1.0, shift=0.0):
    y = scale * np.log1p(np.square(x)) + shift
    y[x == 0] = 0
    return y


def uses_errstate(x, /, scale=1.0, shift=0.0):
    with np.errstate(all="ignore"):
        return tame(x, scale, shift)


_calls: list[None] = []


def counts_calls(x, /, scale=1.0, shift=0.0):
    _calls.append(None)
    return tame(x, scale, shift) * len(_calls)


def forgets_the_seed(*, shape, dtype, rng):
    return np.random.default_rng().random(shape).astype(dtype)


def detached(x):
    """The values of x, out of sight of any derivative."""
    return np.asarray(getattr(x, "value", x))


def variance(x, /):
    return np.square(x - np.mean(x)).sum()


def total_rule(g, y, x):
    return g * 2 * (x - x.mean())


def smuggling_rule(g, y, x):
    return g * 2 * (x - detached(x).mean())


def product(x, y, /):
    return x * y


PRODUCT = {"doc": "x * y", "domain": (real,), "cases": (), "reference": None, "label": "*"}
MATRICES = {"doc": "x @ y", "cases": (Case((3, 4), (4, 2)),), "reference": None, "label": "@"}


def matrices(to_y=lambda g, z, x, y: x.T @ g):
    return planted(lambda x, y, /: x @ y, lambda g, z, x, y: g @ y.T, to_y, **MATRICES)


VARIANCE = {"doc": "sum((x - mean(x)) ** 2)", "cases": (Case((3, 4)),), "reference": None, "label": "v"}
DRAWN = {
    "doc": "Numbers of shape and dtype from rng.",
    "cases": (Case(shape=(9,), dtype=np.float32),),
    "reference": None,
}

smuggler = planted(variance, smuggling_rule, **VARIANCE)


class Plant(NamedTuple):
    law: str
    defect: str
    wrong: Function[Any]
    right: Function[Any] = honest


PLANTS = [
    Plant("equals_its_reference", "sign", planted(lambda x, /, scale=1.0, shift=0.0: -tame(x, scale, shift))),
    Plant("equals_its_reference", "missing term", planted(lambda x, /, scale=1.0, shift=0.0: tame(x, 1.0, shift))),
    Plant(
        "rounds_only_as_float32_must",
        "cancellation",
        planted(lambda x, /, scale=1.0, shift=0.0: tame((x + 1e4) - 1e4, scale, shift)),
    ),
    Plant("leaves_its_inputs_untouched", "forward writes", planted(writes_to_x)),
    Plant("leaves_its_inputs_untouched", "rule writes", planted(tame, writes_to_g)),
    Plant(
        "float32_stays_float32",
        "a NumPy number in the forward",
        planted(lambda x, /, scale=1.0, shift=0.0: np.float64(scale) * tame(x, 1.0, shift)),
    ),
    Plant(
        "float32_stays_float32",
        "a Python number times truth values in a rule",
        planted(tame, lambda g, y, x, **settings: tame_rule(g, y, x, **settings) * (1.0 * (x == x))),
    ),
    Plant(
        "settings_are_weak",
        "promotion",
        planted(lambda x, /, scale=1.0, shift=0.0: tame(x, np.float64(scale), shift)),
    ),
    Plant(
        "numbers_are_weak",
        "a ufunc that promotes",
        ufunc(np.float_power, "x ** y", None, None, domain=(positive,)),
        ops.power,
    ),
    Plant(
        "integers_are_numbers",
        "counted in their own dtype",
        planted(lambda x, /, scale=1.0, shift=0.0: tame((x + x) / 2, scale, shift)),
    ),
    Plant("gives_an_array", "a list", planted(lambda x, /, scale=1.0, shift=0.0: x.tolist(), kind=Derived)),
    Plant("gives_an_array", "a cotangent of one number", planted(tame, lambda g, y, x, **settings: g.sum())),
    Plant(
        "broadcasts",
        "it depends on the size",
        planted(lambda x, y, /: x * (y + y.size), lambda g, z, x, y: g * y, lambda g, z, x, y: g * x, **PRODUCT),
        planted(product, lambda g, z, x, y: g * y, lambda g, z, x, y: g * x, **PRODUCT),
    ),
    Plant(
        "memory_layout_does_not_matter",
        "elements in the order of memory",
        planted(lambda x, /, scale=1.0, shift=0.0: tame(x.ravel(order="K").reshape(x.shape), scale, shift)),
    ),
    Plant("is_finite_at_extremes", "overflow", planted(lambda x, /, scale=1.0, shift=0.0: np.log(1 + np.exp(x)))),
    Plant(
        "is_finite_at_extremes",
        "overflow in a rule",
        planted(tame, lambda g, y, x, **settings: g * ops.exp(x) / (1 + ops.exp(x))),
    ),
    Plant("not_a_number_shows", "hidden", planted(lambda x, /, scale=1.0, shift=0.0: np.nan_to_num(tame(x)))),
    Plant("not_a_number_shows", "0 / 0 in a rule", planted(tame, lambda g, y, x, **k: g * (0.0 / (1.0 * (x == x))))),
    Plant(
        "one_seed_gives_the_same_bits",
        "a generator of its own",
        Primitive(forgets_the_seed, random=True, **DRAWN),
        ops.random.normal,
    ),
    Plant("first_derivatives_are_right", "sign", planted(tame, lambda *a, **k: -tame_rule(*a, **k))),
    Plant("first_derivatives_are_right", "a factor", planted(tame, lambda g, y, x, **k: g * 2 * x / (1 + square(x)))),
    Plant(
        "first_derivatives_are_right", "one in 10 ** 8", planted(tame, lambda *a, **k: tame_rule(*a, **k) * (1 + 1e-8))
    ),
    Plant("first_derivatives_are_right", "no rule", planted(tame, None)),
    Plant("first_derivatives_are_right", "transposed", planted(tame, lambda *a, **k: tame_rule(*a, **k)[::-1])),
    Plant(
        "second_derivatives_are_right",
        "a detached mean",
        smuggler,
        planted(variance, total_rule, **VARIANCE),
    ),
    Plant(
        "second_derivatives_are_right",
        "a detached cotangent",
        planted(tame, lambda g, y, x, **settings: detached(g) * tame_rule(1.0, y, x, **settings)),
    ),
    Plant(
        "rules_say_the_same_of_arrays_and_tensors",
        "a branch on the type",
        planted(tame, lambda g, y, x, **k: tame_rule(g, y, x, **k) * (1 + 1e-6 * isinstance(x, np.ndarray))),
    ),
    Plant("replay_gives_the_bits_of_eager", "counts its calls", planted(counts_calls)),
    Plant(
        "replay_draws_anew",
        "a generator of its own",
        Primitive(forgets_the_seed, random=True, **DRAWN),
        ops.random.normal,
    ),
    Plant("captured_gradients_are_right", "sign", planted(tame, lambda *a, **k: -tame_rule(*a, **k))),
    Plant("label_can_be_drawn", "not ASCII", planted(label="λ")),
    Plant("label_can_be_drawn", "two lines", planted(label="one\ntwo")),
    Plant("docstring_says_what_it_is", "none", planted(doc=" ")),
    Plant("docstring_says_what_it_is", "a first line that runs on", planted(doc="scale and\nshift")),
    Plant("docstring_says_what_it_is", "a setting left out", planted(doc="scale * log(1 + x ** 2)")),
    Plant("is_itself_when_copied", "another name", planted(name="somebody_else")),
    Plant("settings_follow_by_position", "not taken", planted(by_keyword, kind=Careless)),
    Plant("unknown_settings_are_answered", "Python's sentence", planted(kind=Careless)),
    Plant("too_few_arrays_are_answered", "Python's sentence", planted(kind=Careless)),
    Plant("what_is_fixed_is_no_tensor", "taken", planted(kind=Careless)),
    Plant("constants_change_no_derivative", "an array's dot", matrices(lambda g, z, x, y: x.T.dot(g)), matrices()),
    Plant(
        "integers_change_no_derivative",
        "counted in their own dtype",
        planted(product, lambda g, z, x, y: g * ((y - 1) + 1.0), lambda g, z, x, y: g * x, **PRODUCT),
        planted(product, lambda g, z, x, y: g * y, lambda g, z, x, y: g * x, **PRODUCT),
    ),
    Plant("is_written_as_a_formula", "a power", planted(lambda x, /, scale=1.0, shift=0.0: scale * x**2 + shift)),
    Plant("is_written_as_a_formula", "a power in a rule", planted(tame, lambda g, y, x, **settings: g * x**2)),
    Plant("is_written_as_a_formula", "a power in a helper", planted(tame, lambda g, y, x, **k: g * careless_helper(x))),
    Plant("is_written_as_a_formula", "errstate", planted(uses_errstate)),
    Plant("is_written_as_a_formula", "elements written", planted(writes_elements)),
    Plant("is_written_as_a_formula", "out=", planted(lambda x, /, scale=1.0, shift=0.0: np.square(x, out=x.copy()))),
]

del Function.registry[_before:]  # nobody else should meet them

BY_NAME = {law.__name__: law for law in LAWS}
CAUGHT = (AssertionError, ArithmeticError, LookupError, TypeError, PicklingError, pytest.fail.Exception)


def judge(plant, function):
    law = BY_NAME[plant.law]
    covered = [case for case in function.cases if law.covers(function, case)]
    assert covered
    for case in covered:
        law(function, case)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: f"{plant.law}: {plant.defect}".replace(" ", "_"))
def test_the_law_catches_what_breaks_it_and_nothing_else(plant):
    judge(plant, plant.right)
    with pytest.raises(CAUGHT):
        judge(plant, plant.wrong)


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_an_honest_function_passes_every_law(law):
    for case in honest.cases:
        if law.covers(honest, case):
            law(honest, case)


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_every_law_has_a_plant_and_is_stated(law):
    assert law.__name__ in {plant.law for plant in PLANTS}
    assert law.__doc__


def test_only_the_second_derivative_sees_a_detached_mean():
    (case,) = smuggler.cases
    BY_NAME["first_derivatives_are_right"](smuggler, case)
    with pytest.raises(AssertionError):
        BY_NAME["second_derivatives_are_right"](smuggler, case)


def test_domains_without_derivatives_are_left_alone():
    choice = planted(lambda c, /: np.logical_not(c), None, domain=(boolean,), cases=(), reference=None, label="not")
    assert not BY_NAME["first_derivatives_are_right"].covers(choice, choice.cases[0])
    Function.registry.remove(choice)
