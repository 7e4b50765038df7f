import json
from collections import namedtuple

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.errors import DtypeError, GradientError, SettingError
from tinygrad_bn.primitives import Function, primitive
from tinygrad_bn.tensors import Tensor

RNG = np.random.default_rng(0)
SQUARE = RNG.standard_normal((4, 4))
MATRIX = RNG.standard_normal((4, 3))
LABELS = np.array([0, 2, 1, 1])


def with_rules(forward, *rules):
    """A primitive that only its test knows: the registry, and with it the laws, never see it."""
    made = primitive(forward)
    made.defvjp(*rules)
    Function.registry.remove(made)
    return made


def kinds(certificate):
    return {name: verdict.kind for name, verdict in certificate.verdicts.items()}


# Right gradients pass

RIGHT = {
    "one argument": (lambda x: tg.tanh(x), MATRIX),
    "several": (lambda x, w, b: tg.softmax(x @ w + b), SQUARE, MATRIX, MATRIX[0]),
    "broadcasting": (lambda x, y: x * y / (1 + tg.exp(y)), MATRIX[:, :1], MATRIX),
    "a scalar": (lambda x: x * tg.sin(x), 0.7),
    "labels": (lambda y, x: tg.sparse_softmax_crossentropy(y, x), LABELS, SQUARE),
    "linear": (lambda x: x.T[::2, ::-1], SQUARE),
    "standardize": (lambda x: tg.standardize(x, axis=0, epsilon=1e-3), MATRIX),
    "indexing": (lambda x, i: x[i, i] ** 3, SQUARE, np.array([0, 0, 3])),
    "wide range": (lambda x: tg.log(x), np.array([1e-3, 1.0, 1000.0])),
    "on a large offset": (lambda x: 1e6 + tg.sin(x), MATRIX),
    "of large numbers": (lambda x: tg.tanh(x * 1e-8), 1e8 * MATRIX),
    "of small numbers": (lambda x: tg.tanh(x * 1e8), 1e-8 * MATRIX),
    "steep": (lambda x: tg.sin(300 * x), MATRIX),
    "a named tuple": (lambda p: tg.exp(p.w) @ p.b, namedtuple("Layer", ["w", "b"])(SQUARE, MATRIX)),
    "containers": (lambda p: {"a": (tg.exp(p["w"]), [p["w"] @ p["b"]])}, {"w": SQUARE, "b": MATRIX}),
    "its own transform": (lambda x: tg.grad(lambda z: tg.sum(z * tg.exp(z)))(x), MATRIX),
}


@pytest.mark.parametrize(("f", "inputs"), [(f, inputs) for f, *inputs in RIGHT.values()], ids=list(RIGHT))
def test_a_right_gradient_is_certified_to_the_second_order(f, inputs):
    certificate = tg.gradcheck(f, *inputs, order=2)
    assert certificate
    assert set(kinds(certificate).values()) == {"OK"}
    certificate.raise_if_wrong()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("f", [tg.sin, tg.exp, tg.tanh, tg.square, tg.erf], ids=lambda f: f.__name__)
def test_the_numeric_value_is_as_close_as_its_bound_says(f, seed):
    x = np.random.default_rng(seed).uniform(-3, 3, 30)
    verdict = tg.gradcheck(lambda x: f(x), x, seed=seed).verdicts["x"]
    assert abs(verdict.analytic - verdict.numeric) <= verdict.bound < 1e-8 * max(1, abs(verdict.analytic))


# Wrong gradients are caught


def values(x):
    return x.value if isinstance(x, Tensor) else x


def one_of_many(g, y, x):
    error = np.zeros(10_000)
    error[4321] = 1e-3
    return g * tg.cos(x) * (1 + error)


WRONG = {
    "sign": (with_rules(lambda x: np.tanh(x), lambda g, y, x: -g * (1 - y * y)), MATRIX),
    "missing term": (with_rules(lambda x: x * np.exp(x), lambda g, y, x: g * tg.exp(x)), MATRIX),
    "cotangent ignored": (with_rules(lambda x: np.square(x), lambda g, y, x: 2 * x), MATRIX),
    "scaled by 1.001": (with_rules(lambda x: np.sin(x), lambda g, y, x: g * tg.cos(x) * 1.001), MATRIX),
    "detached factor": (lambda x: x * x.detach(), MATRIX),
    "no graph at all": (lambda x: np.exp(x.numpy()), MATRIX),
    "nan": (with_rules(lambda x: np.square(x), lambda g, y, x: g * x * np.nan), MATRIX),
    "in half precision": (with_rules(lambda x: 1 * x, lambda g, y, x: g.astype("f2").astype("f8")), MATRIX),
}


@pytest.mark.parametrize(("f", "x"), WRONG.values(), ids=list(WRONG))
def test_a_wrong_gradient_is_caught(f, x):
    certificate = tg.gradcheck(f, x)
    assert not certificate
    assert set(kinds(certificate).values()) == {"WRONG"}
    with pytest.raises(GradientError, match="is wrong at element"):
        tg.testing.assert_gradients(f, x)


BIAS_OF_ONE_ROW = with_rules(lambda x, b: x + b, lambda g, y, x, b: g, lambda g, y, x, b: g[0])
TRANSPOSED = with_rules(lambda x, w: x @ w, lambda g, y, x, w: g @ w.T, lambda g, y, x, w: g.T @ x)


@pytest.mark.parametrize(
    ("f", "x", "y"),
    [(BIAS_OF_ONE_ROW, MATRIX, MATRIX[0]), (TRANSPOSED, SQUARE, SQUARE[::-1])],
    ids=["missing sum over a broadcast axis", "transposed"],
)
def test_of_two_arguments_only_the_wrong_one_is_blamed(f, x, y):
    certificate = tg.gradcheck(lambda right, wrong: f(right, wrong), x, y)
    assert kinds(certificate) == {"right": "OK", "wrong": "WRONG"}
    with pytest.raises(GradientError, match="the derivative by wrong is wrong"):
        certificate.raise_if_wrong()


def test_one_wrong_element_of_ten_thousand_is_found():
    f = with_rules(lambda x: np.sin(x), one_of_many)
    x = np.random.default_rng(1).uniform(-1, 1, 10_000)
    for seed in range(3):
        verdict = tg.gradcheck(lambda x: f(x), x, seed=seed, max_elements=20).verdicts["x"]
        assert (verdict.kind, verdict.element) == ("WRONG", (4321,))
        assert verdict.analytic == pytest.approx(1.001 * verdict.numeric, rel=1e-6)
        assert (verdict.found, verdict.checked, verdict.size) == (1, 21, 10_000)


def test_a_large_right_argument_is_checked_in_part_and_along_directions():
    x = np.random.default_rng(2).standard_normal((100, 30))
    certificate = tg.gradcheck(lambda x: tg.relu(x) * x, x, max_elements=10)
    verdict = certificate.verdicts["x"]
    assert (verdict.kind, verdict.checked, verdict.size, verdict.directions) == ("OK", 10, 3000, 3)
    assert "10 of 3000, 3 directions of all" in str(certificate)
    assert tg.gradcheck(lambda x: tg.tanh(x), x[:10], max_elements=None).verdicts["x"].checked == 300


def test_a_statistic_passed_around_the_graph_is_wrong_at_the_second_order_only():
    f = with_rules(
        lambda x: np.square(x - x.mean()),
        lambda g, y, x: 2 * g * (x - values(x).mean()) - tg.mean(2 * g * (x - values(x).mean())),
    )
    assert kinds(tg.gradcheck(lambda x: f(x), MATRIX)) == {"x": "OK"}
    verdict = tg.gradcheck(lambda x: f(x), MATRIX, order=2).verdicts["x"]
    assert (verdict.kind, verdict.order) == ("WRONG", 2)


def test_the_report_says_what_is_wrong_and_by_how_much():
    f = with_rules(lambda x: x * np.array([1.0, 2.0, 3.0]), lambda g, y, x: g * np.array([1.0, 2.0, 4.0]))
    certificate = tg.gradcheck(lambda x: f(x), np.ones(3))
    verdict = certificate.verdicts["x"]
    assert verdict.element == (2,)
    assert verdict.analytic / verdict.numeric == pytest.approx(4 / 3)
    assert verdict.bound < 1e-9
    with pytest.raises(GradientError) as caught:
        certificate.raise_if_wrong()
    for said in ("x", "(2,)", f"{verdict.analytic:.10g}", f"{verdict.numeric:.10g}", f"{verdict.bound:.1e}", "1 of 3"):
        assert said in str(caught.value)
    assert "WRONG" in str(certificate)


# Kinks

AT_KINKS = {
    "relu": (tg.relu, [0.0, 1.0]),
    "leaky_relu": (tg.leaky_relu, [0.0, -1.0]),
    "elu": (lambda x: tg.elu(x, alpha=0.5), [0.0, 1.0]),
    "selu": (tg.selu, [0.0, 1.0]),
    "hard_sigmoid": (tg.hard_sigmoid, [-3.0, 0.0, 3.0]),
    "clip": (lambda x: tg.clip(x, -1.0, 2.0), [-1.0, 0.5, 2.0]),
    "abs": (tg.abs, [0.0, 2.0]),
    "norm": (tg.norm, [0.0, 0.0, 0.0]),
    "std of a constant": (tg.std, [3.0, 3.0, 3.0]),
    "max of ties": (tg.max, [1.0, 1.0, 0.0, 1.0]),
    "min of ties": (tg.min, [1.0, 1.0, 2.0]),
    "maximum of ties": (lambda x: tg.maximum(x, 1.0), [1.0, 2.0]),
    "a jump": (tg.floor, [1.0, 1.5]),
}


@pytest.mark.parametrize(("f", "x"), AT_KINKS.values(), ids=list(AT_KINKS))
def test_at_a_kink_the_published_choice_lies_between_the_slopes(f, x):
    certificate = tg.gradcheck(lambda x: f(x), np.array(x))
    verdict = certificate.verdicts["x"]
    assert certificate
    assert verdict.kind == "KINK"
    low, high = sorted(verdict.slopes)
    assert low - 1e-6 <= verdict.analytic <= high + 1e-6


@pytest.mark.parametrize("f", [tg.relu, tg.abs], ids=["relu", "abs"])
def test_a_gradient_that_jumps_is_a_kink_of_the_second_order(f):
    assert kinds(tg.gradcheck(lambda x: f(x), np.array([-1.0, 0.0, 2.0]), order=2)) == {"x": "KINK"}


def test_a_choice_beyond_both_slopes_is_wrong_even_at_a_kink():
    f = with_rules(lambda x: np.maximum(x, 0), lambda g, y, x: g * ((x > 0) + 1.5 * (x == 0)))
    assert kinds(tg.gradcheck(lambda x: f(x), np.array([0.0, 1.0]))) == {"x": "WRONG"}


@pytest.mark.parametrize("others", [1.0, 0.0, 1000.0])
@pytest.mark.parametrize("f", [tg.relu, tg.selu, lambda x: tg.abs(tg.sin(x)) * x + x], ids=["relu", "selu", "mixed"])
def test_near_a_kink_a_right_gradient_stays_good(f, others):
    for distance in 10.0 ** -np.arange(1, 17):
        for x in (distance, -distance):
            assert tg.gradcheck(lambda x: f(x), np.array([x, others]))


def test_a_network_full_of_kinks_is_no_trouble():
    rng = np.random.default_rng(4)
    x, w, v = rng.standard_normal((20, 10)), rng.standard_normal((10, 50)), rng.standard_normal((50, 3))
    found = kinds(tg.gradcheck(lambda x, w, v: tg.relu(x @ w) @ v, x, w, v, max_elements=20))
    assert found == {"x": "OK", "w": "OK", "v": "OK"}


# What the numeric side cannot tell, and what it must not be asked


def test_float32_inside_is_noise_and_not_an_error():
    certificate = tg.gradcheck(lambda x: tg.exp(x.astype(np.float32)), MATRIX)
    verdict = certificate.verdicts["x"]
    assert verdict.kind == "NOISE"
    assert not certificate
    assert abs(verdict.analytic - verdict.numeric) <= verdict.bound
    with pytest.raises(GradientError, match=r"cannot be checked.*float32"):
        certificate.raise_if_wrong()


@pytest.mark.parametrize("offset", [0.0, 10.0, 1e3, 1e4])
def test_the_coarser_the_function_the_less_is_claimed_and_never_that_a_right_gradient_is_wrong(offset):
    offset = np.float32(offset)
    assert kinds(tg.gradcheck(lambda x: tg.tanh(x.astype(np.float32)) + offset, MATRIX)) == {"x": "NOISE"}


def test_a_wrong_sign_is_seen_through_the_noise_of_float32():
    f = with_rules(lambda x: np.tanh(x), lambda g, y, x: -g * (1 - y * y))
    assert kinds(tg.gradcheck(lambda x: f(x.astype(np.float32)), MATRIX)) == {"x": "WRONG"}


def test_no_value_on_one_side_is_noise():
    assert kinds(tg.gradcheck(lambda x: tg.sqrt(x), np.array([0.0, 1.0]))) == {"x": "NOISE"}


def test_draws_that_tg_does_not_know_of_are_nondeterministic():
    certificate = tg.gradcheck(lambda x: x * np.random.default_rng().random(), MATRIX, order=2)
    assert kinds(certificate) == {"x": "NONDETERMINISTIC"}
    assert certificate.verdicts["x"].bound > 0
    with pytest.raises(GradientError, match="two runs"):
        certificate.raise_if_wrong()


def test_a_result_that_depends_on_how_often_it_was_asked_is_nondeterministic():
    calls = []
    assert kinds(tg.gradcheck(lambda x: (calls.append(1), x * len(calls))[1], MATRIX)) == {"x": "NONDETERMINISTIC"}


def test_what_changes_its_argument_in_place_is_told_of_it():
    doubled = primitive(lambda x: np.multiply(x, 2, out=x))
    doubled.defvjp(lambda g, y, x: 2 * g)
    Function.registry.remove(doubled)
    certificate = tg.gradcheck(lambda x: doubled(x), MATRIX)
    assert kinds(certificate) == {"x": "NONDETERMINISTIC"}
    assert "in place" in str(certificate)


def test_draws_through_tg_are_the_same_in_every_run_and_leave_no_trace():
    rng, shared = np.random.default_rng(5), tg.generator()
    before = rng.bit_generator.state, shared.bit_generator.state
    for f in (lambda x: tg.dropout(x, 0.5), lambda x: tg.dropout(x, 0.5, rng=rng), lambda x: tg.rrelu(x)):
        assert kinds(tg.gradcheck(f, MATRIX)) == {"x": "OK"}
    assert (rng.bit_generator.state, shared.bit_generator.state) == before


def test_an_unused_argument_is_good_but_reported():
    certificate = tg.gradcheck(lambda x, unused: tg.exp(x), MATRIX, SQUARE, order=2)
    assert certificate
    assert kinds(certificate) == {"x": "OK", "unused": "UNUSED"}
    assert "UNUSED" in str(certificate)


def test_integers_and_other_things_are_passed_on_and_named_as_skipped():
    certificate = tg.gradcheck(lambda x, i, flag, none: x[i] if flag else none, MATRIX, LABELS, True, None)
    assert kinds(certificate) == {"x": "OK"}
    assert certificate.skipped == {"i": "int64 of shape (4,)", "flag": "bool", "none": "NoneType"}


def test_what_is_in_containers_is_named_by_its_path():
    certificate = tg.gradcheck(lambda p, x: tg.tanh(x[0] @ p["w"] + p["b"]), {"w": MATRIX, "b": MATRIX[0]}, [SQUARE])
    assert kinds(certificate) == {"p.w": "OK", "p.b": "OK", "x[0]": "OK"}


def test_functions_without_readable_signatures_are_checked_by_position():
    assert kinds(tg.gradcheck(lambda *xs: xs[0] @ xs[1], SQUARE, MATRIX)) == {"argument 0": "OK", "argument 1": "OK"}


# Settings, inputs, reports


def test_float32_inputs_are_checked_in_float64_and_left_alone():
    x = MATRIX.astype(np.float32)
    t = tg.tensor(x, requires_grad=True)
    before = x.copy()
    for given in (x, t, np.asfortranarray(x), x[::-1, ::2]):
        verdict = tg.gradcheck(lambda x: tg.softmax(x), given).verdicts["x"]
        assert verdict.kind == "OK"
        assert verdict.bound < 1e-9
    np.testing.assert_array_equal(x, before)
    assert t.grad is None


def test_no_grad_around_it_does_not_matter():
    with tg.no_grad():
        assert kinds(tg.gradcheck(lambda x: tg.exp(x), MATRIX)) == {"x": "OK"}


def test_the_same_seed_gives_the_same_report():
    f, g = (lambda x: tg.tanh(x)), (lambda x: tg.tanh(x))
    assert str(tg.gradcheck(f, MATRIX, seed=3)) == str(tg.gradcheck(g, MATRIX, seed=3))
    assert tg.gradcheck(f, MATRIX, seed=3).to_dict() != tg.gradcheck(f, MATRIX, seed=4).to_dict()


def test_the_step_and_the_tolerance_are_the_callers():
    f = with_rules(lambda x: np.sin(x), lambda g, y, x: g * tg.cos(x) * (1 + 1e-5))
    assert not tg.gradcheck(lambda x: f(x), MATRIX)
    assert tg.gradcheck(lambda x: f(x), MATRIX, tolerance=1e-4)
    assert tg.gradcheck(lambda x: tg.sin(x), MATRIX, step=1e-5)


@pytest.mark.parametrize(
    "setting",
    [
        *({"order": order} for order in (0, "a", 1.5, True, None)),
        *({"seed": seed} for seed in (-1, "a", 1.5, True, None)),
        *({"step": step} for step in (0.0, 2.0, "a", np.nan)),
        *({"tolerance": tolerance} for tolerance in (0.0, "a", None)),
        *({"max_elements": most} for most in (0, "a", 1.5)),
    ],
    ids=str,
)
def test_a_setting_out_of_range_is_refused(setting):
    with pytest.raises(SettingError, match=f"{next(iter(setting))} expects"):
        tg.gradcheck(lambda x: x, MATRIX, **setting)


def test_what_cannot_be_differentiated_is_refused():
    with pytest.raises(DtypeError, match=r"floating argument.*x: int64 of shape \(4,\)"):
        tg.gradcheck(lambda x: x, LABELS)
    with pytest.raises(DtypeError, match=r"floating result.*int64"):
        tg.gradcheck(lambda x: tg.argmax(x), MATRIX)
    with pytest.raises(FloatingPointError, match=r"finite results at the inputs; 1 elements are not.*tg\.debug"):
        tg.gradcheck(lambda x: tg.log(x), np.array([0.0, 1.0]))
    with pytest.raises(TypeError, match="a function or a module first; got ndarray"):
        tg.gradcheck(MATRIX, MATRIX)


def test_a_certificate_is_a_table_a_dict_and_a_picture(tmp_path):
    f = with_rules(lambda x: np.sqrt(np.abs(x)), lambda g, y, x: g * x)
    good = tg.gradcheck(lambda x, w: x @ w, SQUARE, MATRIX)
    bad = tg.gradcheck(lambda x, y: f(x) * np.random.default_rng().random() + tg.sqrt(y), MATRIX, np.zeros(3))
    for certificate in (good, bad, tg.gradcheck(lambda y: tg.sqrt(y), np.zeros(3))):
        said = json.loads(json.dumps(certificate.to_dict()))
        assert set(said["verdicts"]) == set(certificate.verdicts)
        assert all(said["verdicts"][name]["kind"] == v.kind for name, v in certificate.verdicts.items())
        assert str(certificate).isascii()
        certificate.plot(tmp_path / "certificate.svg")
        assert "<svg" in (tmp_path / "certificate.svg").read_text()
    lines = str(good).splitlines()
    assert [line.split()[0] for line in lines] == ["argument", "x", "w", "good"]
