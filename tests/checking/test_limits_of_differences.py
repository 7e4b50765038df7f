"""Where differences have a hard time: no wrong rule is certified, no right one accused, and NOISE is said instead."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.primitives import Function, primitive


def planted(forward, derivative):
    """Makes primitives of this forward, whose rule is right or has a fault."""

    def with_fault(fault):
        made = primitive(lambda x: forward(x))
        made.defvjp(lambda g, y, x: FAULTS[fault](g * derivative(x, y)))
        Function.registry.remove(made)
        return made

    return with_fault


def last_doubled(d):
    return d * (1 + (np.arange(d.size) == d.size - 1).reshape(d.shape))


FAULTS = {
    "none": lambda d: d,
    "doubled": lambda d: 2 * d,
    "zero": lambda d: 0 * d,
    "sign": lambda d: -d,
    "last doubled": last_doubled,
    "1e-4": lambda d: d * (1 + 1e-4),
}


def wave(k):
    return planted(lambda x: np.sin(k * x), lambda x, y: k * tg.cos(k * x))


def linear(factors, reduce=lambda x: x):
    return planted(lambda x: reduce(x * factors), lambda x, y: factors)


EXP = planted(np.exp, lambda x, y: y)
TAN = planted(np.tan, lambda x, y: 1 + y * y)
LOG = planted(np.log, lambda x, y: 1 / x)
ROOT = planted(np.sqrt, lambda x, y: 0.5 / y)
INVERSE = planted(lambda x: 1 / x, lambda x, y: -y * y)
TANH = planted(np.tanh, lambda x, y: 1 - y * y)
ABS = planted(np.abs, lambda x, y: tg.sign(x))
SINE32 = planted(lambda x: np.sin(x.astype(np.float32)), lambda x, y: tg.cos(x))
HIDDEN32 = planted(lambda x: np.sin(x.astype(np.float32)).astype(np.float64), lambda x, y: tg.cos(x))
LARGE_AND_SMALL = np.array([1e15, 1.0])
SOME = np.random.default_rng(0).standard_normal(4)
POLE = np.pi / 2

HARD = {
    **{f"exp({x})": (EXP, [x]) for x in (300.0, 400.0, 500.0, 700.0, 709.0, -700.0)},
    "exp of all sizes": (EXP, [-300.0, 600.0, 0.0]),
    "exp next to infinity": (EXP, [709.78]),
    **{f"sin({k:g} x)": (wave(k), SOME) for k in (1, 1e2, 1e3, 1e4, 3e4, 1e5, 1e6, 1e7, 1e12)},
    **{f"sin({k:g} x) at 10": (wave(k), [10.0]) for k in (1e3, 1e5, 1e6)},
    **{f"sin({x:g})": (wave(1), [x]) for x in (1e5, 1e8, 1e10, 1e15)},
    "whole periods": (wave(2048 * np.pi), [10.0]),
    **{f"tan {d:g} before its pole": (TAN, [POLE - d]) for d in (1e-2, 1e-5, 1e-7, 1e-9)},
    "two of very different sizes": (linear(LARGE_AND_SMALL), [1.0, 1.0]),
    "their sum": (linear(LARGE_AND_SMALL, np.sum), [1.0, 1.0]),
    **{f"1 / {x:g}": (INVERSE, [x]) for x in (1e-3, 1e-100, -1e-200)},
    "1 / x of all sizes": (INVERSE, [1e-12, 1.0]),
    "1 / x next to a huge one": (INVERSE, [1e-140, 1e100]),
    **{f"sqrt({x:g})": (ROOT, [x, 1.0]) for x in (1e-3, 1e-10, 1e-300, 0.0)},
    **{f"log({x:g})": (LOG, [x]) for x in (1e-3, 1e-300, 5e-324)},
    **{f"tanh({x:g})": (TANH, [0.5, x]) for x in (5.0, 8.0, 12.0, 16.0)},
    **{f"abs({x:g})": (ABS, [1.0, x]) for x in (1e-2, -1e-5, 1e-10)},
    **{f"{c:g} + x": (planted(lambda x, c=c: c + x, lambda x, y: 1.0), [1e-5, 1.0]) for c in (1e10, 1e15, 1e17)},
    "1e17 + x ** 10": (planted(lambda x: 1e17 + x**10, lambda x, y: 10 * x**9), [0.5, 1.0]),
    "1e17 + the sum of squares": (planted(lambda x: 1e17 + np.sum(x * x), lambda x, y: 2 * x), SOME),
    "a small one beside 1e17": (linear(np.array([1e17, 1.0]), np.sum), [1.0, 1.0]),
    "a tail beside others": (planted(lambda x: np.sum(np.exp(x)), lambda x, y: tg.exp(x)), [0.0, -40.0]),
    "float32": (SINE32, SOME),
    "float32 inside": (HIDDEN32, SOME),
    "float32 of large numbers": (SINE32, 1000 * SOME),
}


def verdict(case, fault, seed=0):
    made, x = HARD[case]
    f = made(fault)
    return tg.gradcheck(lambda x: f(x), np.array(x), seed=seed).verdicts["x"]


@pytest.mark.parametrize("case", HARD)
def test_a_right_rule_is_never_accused(case):
    assert {verdict(case, "none", seed).kind for seed in range(2)} <= {"OK", "NOISE"}


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "none"])
@pytest.mark.parametrize("case", HARD)
def test_a_wrong_rule_is_never_certified(case, fault):
    assert verdict(case, fault).kind in ("WRONG", "NOISE")


CLEAR = [f"exp({x})" for x in (300.0, 500.0, 709.0, -700.0)] + [f"sin({k:g} x)" for k in (1, 100, 1000, 1e4)]
CLEAR += ["exp of all sizes", "sin(1000 x) at 10", "two of very different sizes", "whole periods", "log(1e-300)"]
CLEAR += ["tan 0.01 before its pole", "1 / 1e-100", "abs(1e-10)", "sqrt(0.001)"]


@pytest.mark.parametrize("case", CLEAR)
def test_where_differences_can_tell_they_do(case):
    assert (verdict(case, "none").kind, verdict(case, "none").unknown) == ("OK", 0)
    for fault in ("doubled", "sign", "last doubled", "1e-4"):
        assert verdict(case, fault).kind == "WRONG"


@pytest.mark.parametrize("case", ["sin(1e+12 x)", "sin(1e+10)", "tan 1e-09 before its pole", "their sum", "float32"])
def test_where_they_cannot_they_say_so(case):
    certificate = tg.gradcheck(HARD[case][0]("none"), np.array(HARD[case][1]))
    assert not certificate
    assert "NOISE" in str(certificate)


def test_what_vanishes_or_is_small_next_to_others_is_counted_as_not_known():
    x = np.array([[0.3, -1.0, 0.2], [1.0, 0.1, 0.5]])
    certificate = tg.gradcheck(lambda x, b: tg.standardize(x + b, axis=0, epsilon=1e-3), x, x[0])
    assert certificate
    assert {name: verdict.unknown for name, verdict in certificate.verdicts.items()} == {"x": 0, "b": 3}
    assert "b: 3 elements are small next to others, or vanish" in str(certificate)
    assert "good to 1e-06 but for 3 elements" in str(certificate)
    assert certificate.to_dict()["verdicts"]["b"]["unknown"] == 3


def test_what_is_good_in_all_elements_is_said_to_be():
    assert "good to 1e-06, order" in str(tg.gradcheck(lambda x: tg.exp(x), SOME))


def test_the_not_known_of_the_first_order_is_remembered_at_the_second():
    certificate = tg.gradcheck(
        lambda x, b: tg.standardize(x + b, axis=0, epsilon=1e-3), SOME[:, None], SOME[:1], order=2
    )
    assert certificate.verdicts["b"].unknown == 1


def test_numbers_that_overflow_in_the_sum_of_results_are_reported_as_they_are():
    found = verdict("exp(700.0)", "none")
    assert np.isfinite(found.analytic)
    assert found.analytic == pytest.approx(found.numeric, rel=1e-6)
    assert 0.5 * np.exp(700.0) <= abs(found.analytic) <= 1.5 * np.exp(700.0)


def test_a_rule_that_gives_infinity_where_the_slope_is_finite_is_wrong():
    f = planted(np.sin, lambda x, y: tg.cos(x) / np.zeros(()))("none")
    with np.errstate(all="ignore"):
        assert tg.gradcheck(lambda x: f(x), np.array(SOME)).verdicts["x"].kind == "WRONG"


def test_results_that_do_not_move_while_noise_is_measured_are_as_coarse_as_the_others():
    f = HIDDEN32("none")
    x = np.random.default_rng(1).standard_normal(2000)
    assert tg.gradcheck(lambda x: f(x), x, max_elements=40).verdicts["x"].kind == "NOISE"
