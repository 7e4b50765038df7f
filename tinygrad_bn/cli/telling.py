"""The demo's findings in words: a table, and one sentence on what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log

from tinygrad_bn.cli.measuring import Outcome
from tinygrad_bn.diagnostics.tables import number, table


def findings(outcomes: Sequence[Outcome]) -> str:
    """A row for each recipe: what its signal is like before training, and what came of it."""
    last = len(outcomes[0].before.hidden)
    header = (
        "recipe",
        "activations\nlayer 1",
        f"\nlayer {last}",
        f"signal\n1 / {last}",
        f"weight gradient\n1 / {last}",
        "test\naccuracy",
        "\nseconds",
    )
    return table(header, map(_row, outcomes))


def _row(outcome: Outcome) -> list[str]:
    first, *_, last = outcome.before.hidden
    ratios = [outcome.first_to_last("signal"), outcome.first_to_last("gradient")]
    measured = [number(value) for value in (first.activation, last.activation, *ratios)]
    return [outcome.recipe.name, *measured, f"{outcome.accuracy:.3f}", f"{outcome.seconds:.1f}"]


def conclusion(outcomes: Sequence[Outcome]) -> str:
    """What the numbers say about which recipes trained, in one sentence."""
    failed = [outcome for outcome in outcomes if not outcome.trained]
    trained = [outcome for outcome in outcomes if outcome.trained]
    if not failed:
        return f"All trained, where the signal in layer 1 is {_range(trained)} times that in the last hidden layer."
    if not trained:
        return f"None trained, where the signal in layer 1 is {_range(failed)} times that in the last hidden layer."
    names = _listed([f"{outcome.recipe.name} ({outcome.accuracy:.0%})" for outcome in failed])
    told = (
        f"{names} did not train: back-propagated to layer 1 the signal is {_range(failed)} times what it is in the "
        f"last hidden layer, against {_range(trained)} times in what did"
    )
    return f"{told}{_misled(failed, trained)}."


def _misled(failed: Sequence[Outcome], trained: Sequence[Outcome]) -> str:
    """The clause on where the weight gradients, taken alone, point the wrong way; empty if they do not."""
    even = min(failed, key=lambda outcome: _unevenness(outcome, "gradient"))
    uneven = max(trained, key=lambda outcome: _unevenness(outcome, "gradient"))
    by_signal = min(_unevenness(o, "signal") for o in failed) > max(_unevenness(o, "signal") for o in trained)
    by_gradient = _unevenness(even, "gradient") > _unevenness(uneven, "gradient")
    if by_gradient or not by_signal:
        return ""
    ratios = [number(outcome.first_to_last("gradient")) for outcome in (even, uneven)]
    return (
        f"; the weight gradients alone would not tell, being {ratios[0]} times those of the last hidden layer in "
        f"{even.recipe.name} and {ratios[1]} times in {uneven.recipe.name}"
    )


def _unevenness(outcome: Outcome, field: str) -> float:
    ratio = outcome.first_to_last(field)
    return abs(log(ratio)) if 0 < ratio < inf else inf


def _range(outcomes: Sequence[Outcome]) -> str:
    """The ratios of the signal, as `a`, or `a to b`."""
    ratios = sorted(outcome.first_to_last("signal") for outcome in outcomes)
    return " to ".join(dict.fromkeys(number(ratio) for ratio in (ratios[0], ratios[-1])))


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
