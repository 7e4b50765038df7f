"""gradcheck: analytic derivatives against differences, with an honest account of what the differences can tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_bn.checking.certificates import SEVERITY, Certificate, Verdict
from tinygrad_bn.checking.comparison import Argument, Comparison, Elements
from tinygrad_bn.checking.ladder import Array
from tinygrad_bn.checking.projections import Projection
from tinygrad_bn.checking.settings import refuse_settings
from tinygrad_bn.checking.subjects import Subject
from tinygrad_bn.names import checked

DIRECTIONS = 3
"""Random directions that move all elements, for an argument that has too many to be checked one by one."""


@checked
def gradcheck(
    f_or_module: Callable[..., Any],
    /,
    *inputs: Any,
    order: int = 1,
    seed: int = 0,
    step: float | None = None,
    tolerance: float = 1e-6,
    max_elements: int | None = 100,
) -> Certificate:
    """Compare the derivatives by every floating argument, and every parameter of a module, with differences.

    What is differentiated is the sum of all floating results with fixed random weights; for `order=2` then that of all
    gradients. Each element gets central differences with steps h, h/4, h/16, ..., extrapolated to h = 0, and an error
    bound from how the extrapolations differ and from the measured noise of the results that depend on it; large steps
    count for nothing where small ones contradict them. An element is:

    - OK where the two sides agree within this bound and `tolerance` times their size, and the bound is no more than
      `tolerance` times that size: the element's own, not the largest. Beside much larger derivatives, or results, no
      difference is that sharp: there it is still OK if the bound is below sqrt(`tolerance`) times its own size and
      `tolerance` times theirs, or if by the rules it vanishes up to rounding; the report counts these as not known.
      What the rounding of large results merely hides does not vanish.
    - KINK where the slopes on the left and on the right are clear, differ, and have the analytic value between them.
    - WRONG where the two sides differ by more than all this, and the rules themselves, asked at several places within
      the smallest step that tells, say nothing that explains the slope there (the mean value theorem).
    - NOISE otherwise: nothing was shown.

    No finite number of values bounds a derivative of a function of which nothing else is known. What is assumed: phi
    does not change between the steps without the rules, or the noise, changing as well.

    An argument of more than `max_elements` elements is checked at so many, drawn at random, and along random
    directions that move all of them; where a direction disagrees, halving it finds the element.

    All is computed in float64: floating inputs are copied to it, and the variables that the function reads, in a
    module or through a closure, hold float64 copies of themselves while the check lasts, so that layers, which take
    their dtype from them, follow. Only what a function itself casts to float32 stays coarse. Each run is made under
    `frozen_state`, so that random draws through tg are the same in all of them. Inputs, parameters, state, `.grad` and
    generators are left as they were. A module that has not seen an input shape is built.

    Args:
        f_or_module: a function of arrays, or a module; it returns floating Tensors in nested lists, tuples or dicts.
        inputs: its arguments: arrays, Tensors, Python floats, nested lists, tuples or dicts of them; integers and
            anything else are passed on as they are.
        order: the highest derivative to check; the higher ones only where the lower ones are good.
        seed: of the weights, and of the choice of elements and directions.
        step: the largest step, relative to the size of x; 2 ** -8 if None.
        tolerance: to what part of itself a derivative has to be right.
        max_elements: how many elements of an argument to check one by one; None for all.

    Returns:
        A certificate: true when every verdict is OK, UNUSED or KINK. Each verdict tells of the worst element and, of
        several orders, the worst. `unknown` counts the elements that are OK but not known to `tolerance`.

    Raises:
        DtypeError: no argument or no result is floating.
        FloatingPointError: the results at the inputs are not all finite.
        SettingError: a setting is out of range.

    Reference: Ridders (1982), Accurate computation of F'(x) and F'(x)F''(x), for the extrapolation. Gill, Murray,
    Saunders and Wright (1983), Computing forward-difference intervals for numerical optimization, and Moré and Wild
    (2012), Estimating derivatives of noisy simulations, for what noise and step leave of a difference. Higham (2002),
    Accuracy and Stability of Numerical Algorithms, chapter 1, for the rounding of sums that cancel.
    """
    step = 2.0**-8 if step is None else step
    refuse_settings(order, seed, step, tolerance, max_elements)
    subject, rng = Subject(f_or_module, inputs), np.random.default_rng(seed)
    verdicts: dict[str, Verdict] = {}
    projection = None
    with subject.in_float64(), np.errstate(all="ignore"):
        for level in range(1, order + 1):
            projection = Projection(subject, projection, rng)
            for position, name in enumerate(subject.names):
                verdict = _verdict(projection, position, level, rng, max_elements, step=step, tolerance=tolerance)
                verdicts[name] = verdict.or_worse(verdicts.get(name, verdict))
            if not all(verdicts.values()):
                break
    return Certificate(verdicts, subject.skipped, order=order, tolerance=tolerance, seed=seed, runs=subject.runs)


def _verdict(
    projection: Projection,
    position: int,
    order: int,
    rng: np.random.Generator,
    max_elements: int | None,
    **settings: float,
) -> Verdict:
    """What is known of one argument: of its elements, and if those are too many, along directions as well."""
    if projection.wavering:
        return Verdict("NONDETERMINISTIC", order, bound=projection.wavering, size=projection.point[position].size)
    argument = Argument(projection, position, rng, **settings)
    elements = argument.elements(max_elements)
    compared, agreed = argument.along_elements(elements), 0
    if elements.size < argument.size and "WRONG" not in compared.kinds:
        agreed, culprit = argument.along_directions(DIRECTIONS)
        if culprit.size:
            elements = np.union1d(elements, culprit)
            compared = argument.along_elements(elements)
    units = argument.scales[elements] * projection.unit
    verdict = _worst(compared, elements, order, projection.point[position].shape, units)
    verdict.size, verdict.directions = argument.size, agreed
    if verdict.kind == "OK" and order == 1 and not projection.used[position]:
        verdict.kind = "UNUSED"
    return verdict


def _worst(compared: Comparison, elements: Elements, order: int, shape: tuple[int, ...], scales: Array) -> Verdict:
    """The verdict on the element with the worst kind, and among those with the largest difference."""
    severity = np.array([SEVERITY[kind] for kind in compared.kinds])
    analytic, numeric = compared.analytic / scales, compared.numeric / scales
    apart = np.nan_to_num(np.abs(analytic - numeric), nan=np.inf)
    worst = np.lexsort((apart, severity))[-1]
    kind: Any = str(compared.kinds[worst])
    slopes = float(compared.left[worst] / scales[worst]), float(compared.right[worst] / scales[worst])
    return Verdict(
        kind,
        order,
        element=tuple(map(int, np.unravel_index(elements[worst], shape))),
        analytic=float(analytic[worst]),
        numeric=float(numeric[worst]),
        bound=float(compared.bound[worst] / scales[worst]),
        slopes=slopes if kind == "KINK" else None,
        found=int(np.sum(compared.kinds == kind)),
        unknown=int(np.sum((compared.kinds == "OK") & ~compared.known)),
        checked=elements.size,
    )
