"""Unknown names list the choices and the nearest one."""

import pytest

from tinygrad_bn.errors import SettingError
from tinygrad_bn.names import Answering, arguments, checked, nearest, resolve, unknown

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


class Base(Answering):
    def __init__(self, width, *, depth=1):
        self.depth = depth


class Handing(Base):
    def __init__(self, colour="red", **others):
        super().__init__(1, **others)


class Keeping(Base):
    def __init__(self, **kept):
        super().__init__(1)
        self.kept = kept


def test_a_constructor_answers_for_those_that_it_hands_arguments_on_to():
    assert Handing("blue", depth=2).depth == 2
    with pytest.raises(TypeError) as told:
        Handing(dept=2)
    assert str(told.value) == (
        "unknown argument 'dept' in Handing(). Did you mean 'depth'? Choices: colour, depth, width."
    )
    assert arguments(Handing) == ["colour", "width", "depth"]
    assert arguments(Base) == ["width", "depth"]


def test_what_takes_any_name_or_is_no_function_of_python_is_left_alone():
    assert Keeping(dept=2).kept == {"dept": 2}
    assert checked(Keeping.__init__) is Keeping.__init__
    assert checked(len) is len


def test_a_thing_is_meant_by_itself_its_class_or_its_name():
    thing = Base(1)
    assert resolve("base", thing, Base, {}) is thing
    assert type(resolve("base", Handing, Base, {})) is type(resolve("base", "hand", Base, {"hand": Handing})) is Handing
    for wrong in (3, int, "hnd", None):
        with pytest.raises(SettingError, match=r"^unknown base .* in a test\..* Choices: hand\.$"):
            resolve("base", wrong, Base, {"hand": Handing}, "a test")
