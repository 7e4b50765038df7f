from tinygrad_bn.cli.measuring import Outcome
from tinygrad_bn.cli.recipes import Recipe
from tinygrad_bn.cli.telling import conclusion, findings
from tinygrad_bn.diagnostics import GradientFlow, LayerFlow


def outcome(name, accuracy, signal, gradient):
    """An outcome whose ratios, first to last hidden layer, are these."""
    layers = [LayerFlow("a", 0.5, signal, gradient), LayerFlow("b", 0.25, 1.0, 1.0), LayerFlow("c", 1.0, 1.0, 1.0)]
    flow = GradientFlow(layers, 2.3)
    return Outcome(Recipe(name, "relu", "he_normal"), flow, flow, {}, accuracy, 1.5)


FINE = outcome("fine", 0.98, 2.0, 30.0)
ALSO_FINE = outcome("also fine", 0.97, 0.5, 1.0)
VANISHED = outcome("vanished", 0.1, 1e-9, 1e-8)
FLAT = outcome("flat", 0.3, 1e-3, 2.0)
SATURATED = outcome("saturated", 0.8, 0.6, 0.2)


def test_the_table_has_a_row_for_each_recipe():
    *titles, rule, first, second = findings([FINE, VANISHED]).splitlines()
    assert titles[-1].startswith("recipe  ")
    assert first.split() == ["fine", "0.5", "0.25", "2", "30", "0.980", "1.5"]
    assert second.split() == ["vanished", "0.5", "0.25", "1e-09", "1e-08", "0.100", "1.5"]
    assert len({len(line) for line in (rule, first, second)}) == 1


def test_where_the_signal_vanishes_the_sentence_says_so():
    assert conclusion([FINE, ALSO_FINE, VANISHED]) == (
        "vanished (10%) lags behind, and there the signal vanishes on its way back: in layer 1 it is 1e-09 times what "
        "it is in layer 2, in the recipes that train 0.5 to 2 times."
    )


def test_weight_gradients_that_mislead_are_named():
    said = conclusion([FINE, VANISHED, FLAT])
    assert said.startswith("vanished (10%) and flat (30%) lag behind")
    assert said.endswith("the weight gradients alone would not tell, for their ratio is 2 in flat and 30 in fine.")


def test_no_vanishing_is_claimed_where_the_signal_arrives():
    assert conclusion([FINE, ALSO_FINE, SATURATED]) == (
        "saturated (80%) lags behind although the signal arrives (0.6 times)."
    )


def test_all_or_none():
    assert conclusion([FINE]).startswith("All recipes train, with a signal in layer 1 of 2 times")
    assert conclusion([VANISHED, FLAT]).startswith("No recipe trains, with a signal in layer 1 of 1e-09 to 0.001 times")


def test_numbers_that_are_not_finite_can_be_told():
    broken = outcome("diverged", 0.1, float("nan"), float("inf"))
    assert "diverged (10%)" in conclusion([FINE, broken])
    assert "nan" in findings([broken])
