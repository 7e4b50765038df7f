"""Unknown names list the choices and the nearest one."""

import pytest

from tinygrad_bn.names import nearest, unknown

MODES = ("fan_in", "fan_out", "fan_avg")


@pytest.mark.parametrize(
    ("name", "choices", "meant"),
    [
        ("fav_avg", MODES, "fan_avg"),
        ("FAN_IN", MODES, "fan_in"),
        ("rellu", ("relu", "selu", "elu"), "relu"),
        ("adam", ("Adam", "SGD"), "Adam"),
        ("sgd", ("Adam", "SGD"), "SGD"),
        ("lr", ("learning_rate", "momentum"), "learning_rate"),
        ("quaternion", MODES, None),
        ("", MODES, None),
        ("x", (), None),
    ],
)
def test_the_nearest_choice(name, choices, meant):
    assert nearest(name, choices) == meant


def test_the_sentence_says_what_came_where_what_was_meant_and_what_exists():
    assert unknown("mode", "fav_avg", MODES, "VarianceScaling") == (
        "unknown mode 'fav_avg' in VarianceScaling. Did you mean 'fan_avg'? Choices: fan_avg, fan_in, fan_out."
    )


def test_the_sentence_leaves_out_what_it_does_not_know():
    assert unknown("mode", "zzz", MODES) == "unknown mode 'zzz'. Choices: fan_avg, fan_in, fan_out."
    assert unknown("mode", 3, iter(MODES)) == "unknown mode 3. Choices: fan_avg, fan_in, fan_out."
    assert unknown("argument", "dtype", (), "sum()") == "unknown argument 'dtype' in sum(). Choices: none."
