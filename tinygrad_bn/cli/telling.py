"""The demo's findings in words: a table, and one sentence on what it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import inf, log10

from tinygrad_bn.checking import Certificate
from tinygrad_bn.cli.measuring import PROBE, Outcome
from tinygrad_bn.cli.recipes import BN_MOMENTUM
from tinygrad_bn.diagnostics.tables import number, table


def findings(outcomes: Sequence[Outcome]) -> str:
    """A row for each recipe: what its signal is like before training, and what came of it."""
    ratio = f"layer 1 : {len(outcomes[0].before.hidden)}"
    header = (
        "recipe",
        "activations\nlayer 1",
        f"activations\nlayer {len(outcomes[0].before.hidden)}",
        f"signal\n{ratio}",
        f"weight gradient\n{ratio}",
        "test\naccuracy",
        "seconds",
    )
    return table(header, map(_row, outcomes))


def _row(outcome: Outcome) -> list[str]:
    first, *_, last = outcome.before.hidden
    measured = [first.activation, last.activation, outcome.ratio("signal"), outcome.ratio("gradient")]
    return [outcome.recipe.name, *map(number, measured), f"{outcome.accuracy:.3f}", f"{outcome.seconds:.1f}"]


def explanation(outcomes: Sequence[Outcome]) -> str:
    """What the columns mean, and how the recipes differ beyond their names."""
    notes = [
        f"All but the last two columns are measured before training, on the first {PROBE} training images. "
        "Activations: their standard deviation over the images. Signal: what is propagated back, d loss / d activation "
        "(rms), in the first hidden layer relative to the last. Weight gradient: d loss / d kernel, likewise."
    ]
    if any(outcome.recipe.standardize for outcome in outcomes):
        standardized = [outcome.recipe.name for outcome in outcomes if outcome.recipe.standardize]
        notes.append(f"{_listed(standardized)} gets standardized pixels, the others pixels from 0 to 1.")
    if any(outcome.recipe.batch_normalization for outcome in outcomes):
        notes.append(
            "BN, batch normalization, stands before the activation and keeps "
            f"{BN_MOMENTUM:g} of its moving averages at each step; the default 0.99 is for longer trainings."
        )
    if any(outcome.recipe.activation == "prelu" for outcome in outcomes):
        notes.append("PReLU starts as ReLU, with alpha = 0.")
    return " ".join(notes)


def certified(certificate: Certificate) -> str:
    """What the finite differences say."""
    verdicts = certificate.verdicts
    kinds = Counter(path.rpartition(".")[2] for path in verdicts if path != "x")
    parts = _listed(["the inputs", *(f"{count} {kind}{'s' * (count > 1)}" for kind, count in kinds.items())])
    worst = max(verdicts.values(), key=lambda verdict: abs(verdict.analytic - verdict.numeric))
    off = f"{number(abs(worst.analytic - worst.numeric))} at a derivative of {number(worst.analytic)}"
    return (
        "Checked by finite differences: the derivatives of the loss of a small network with batch normalization and "
        f"PReLU by {parts}, all {sum(verdict.checked for verdict in verdicts.values())} elements of them: "
        f"{'right' if certificate else 'NOT right'}; the two sides are at most {off} apart."
    )


def conclusion(outcomes: Sequence[Outcome]) -> str:
    """What the numbers say about which recipes train, in one sentence."""
    enough = max(0.9 * max(outcome.accuracy for outcome in outcomes), 0.5)
    trained = [outcome for outcome in outcomes if outcome.accuracy >= enough]
    lagging = [outcome for outcome in outcomes if outcome.accuracy < enough]
    last = len(outcomes[0].before.hidden)
    if not trained or not lagging:
        which = "All recipes train" if trained else "No recipe trains"
        return f"{which}, with a signal in layer 1 of {_range(outcomes)} times that in layer {last}."
    least = min(outcome.ratio("signal") for outcome in trained)
    vanished = [outcome for outcome in lagging if outcome.ratio("signal") < least / 10]
    others = [outcome for outcome in lagging if outcome not in vanished]
    clauses = []
    if vanished:
        clauses.append(
            f"{_named(vanished)} lag{_s(vanished)} behind, and there the signal vanishes on its way back: in layer 1 "
            f"it is {_range(vanished)} times what it is in layer {last}, in the recipes that train "
            f"{_range(trained)} times"
        )
    if others:
        clauses.append(f"{_named(others)} lag{_s(others)} behind although the signal arrives ({_range(others)} times)")
    return "; ".join([*clauses, *_misleading(vanished, trained)]) + "."


def _misleading(vanished: Sequence[Outcome], trained: Sequence[Outcome]) -> list[str]:
    """The clause on where the weight gradients, taken alone, point the wrong way, if they do."""
    even = min(vanished, key=_unevenness, default=None)
    uneven = max(trained, key=_unevenness)
    if even is None or _unevenness(even) >= _unevenness(uneven):
        return []
    return [
        f"the weight gradients alone would not tell, for their ratio is {number(even.ratio('gradient'))} in "
        f"{even.recipe.name} and {number(uneven.ratio('gradient'))} in {uneven.recipe.name}"
    ]


def _unevenness(outcome: Outcome) -> float:
    """How far the weight gradients of the first and the last hidden layer are apart, in orders of magnitude."""
    ratio = outcome.ratio("gradient")
    return abs(log10(ratio)) if 0 < ratio < inf else inf


def _range(outcomes: Sequence[Outcome]) -> str:
    """The ratios of the signal, as `a`, or `a to b`."""
    ratios = [outcome.ratio("signal") for outcome in outcomes]
    return " to ".join(dict.fromkeys([number(min(ratios)), number(max(ratios))]))


def _named(outcomes: Sequence[Outcome]) -> str:
    return _listed([f"{outcome.recipe.name} ({outcome.accuracy:.0%})" for outcome in outcomes])


def _s(outcomes: Sequence[Outcome]) -> str:
    return "s" * (len(outcomes) == 1)


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)
