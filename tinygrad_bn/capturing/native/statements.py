"""Statements: what a program does outside loop nests, which is to multiply matrices and to join arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tinygrad_bn.capturing.flow import Step, Value
from tinygrad_bn.capturing.native.dialect import c_type, literal
from tinygrad_bn.capturing.native.fusing import Plan
from tinygrad_bn.capturing.native.groups import Joining, Product
from tinygrad_bn.capturing.native.places import Place, Strides, merged, packed
from tinygrad_bn.capturing.native.wording import VARIABLES, comment, indented, passes, wrapped

Address = Callable[..., str]
"""What points to the memory of a root, or to an element there."""


def product(group: Product, plan: Plan, address: Address) -> list[str]:
    """A product of matrices, or of stacks of them one by one."""
    kind, step = c_type(group.result.dtype), group.result.origin
    m, k, n = group.a.shape[-2], group.a.shape[-1], group.b.shape[-1]
    stack = np.broadcast_shapes(group.a.shape[:-2], group.b.shape[:-2])
    steps = [place.along((*stack, *place.shape[-2:]))[: len(stack)] for place in (group.a, group.b)]
    loops = merged(stack, [packed(stack), *steps])
    turned_a, lda = _leading(group.a)
    turned_b, ldb = _leading(group.b)
    a = _stepping(address(group.a.root, group.a.offset), loops, steps[0])
    b = _stepping(address(group.b.root, group.b.offset), loops, steps[1])
    c = _stepping(address(group.result), loops, tuple(stride * m * n for stride in packed(stack)))
    alpha = "-" * group.negative + _number(group.alpha, "1", plan, address)
    said = [turned_a, turned_b, m, n, k, alpha, a, lda, b, ldb, _number(group.beta, "0", plan, address), c, n]
    about = f"{_titled(step, 'product')}: {m} x {k} times {k} x {n}{', into the velocity' * group.negative}"
    return [comment(about), *_nested(loops, wrapped(f"gemm_{kind}(", list(map(str, said)), ");"))]


def joining(group: Joining, address: Address) -> list[str]:
    """The parts are copied, each as a block of rows."""
    lines, start = [comment(_titled(group.result.origin, "concatenate"))], 0
    c_type(group.result.dtype)  # or it cannot be said
    steps = packed(group.result.shape)
    for place in group.parts:
        loops = merged(place.shape, [place.strides, steps])
        target, source = address(group.result, start * steps[group.axis]), address(place.root, place.offset)
        to, of = _stepping(f"({target})[0", loops, steps), _stepping(f"({source})[0", loops, place.strides)
        lines += _nested(loops, [f"{to}] = {of}];"])
        start += place.shape[group.axis]
    return lines


def _titled(step: Step, otherwise: str) -> str:
    return f"{step.scope + ': ' if step.scope else ''}{step.label or otherwise}"


def _number(value: Value | None, absent: str, plan: Plan, address: Address) -> str:
    """A constant, or what is read at run time."""
    if value is None:
        return absent
    number = plan.uniform(value)
    return f"*{address(plan.place(value).root)}" if number is None else literal(number, value.dtype)


def _nested(loops: Sequence[tuple[int, int]], lines: Sequence[str]) -> list[str]:
    """The lines within loops."""
    heads = [passes(variable, 0, length) for variable, (length, _) in zip(VARIABLES, loops, strict=False)]
    return [line for level, head in enumerate(heads) for line in indented([head], level)] + indented(lines, len(loops))


def _stepping(pointer: str, loops: Sequence[tuple[int, int]], strides: Strides) -> str:
    steps = [
        f"{strides[axis]} * {variable}" for variable, (_, axis) in zip(VARIABLES, loops, strict=False) if strides[axis]
    ]
    return " + ".join([pointer, *steps])


def _leading(place: Place) -> tuple[int, int]:
    """Whether a matrix lies transposed, and how far apart its rows, or then its columns, are."""
    rows, columns = place.shape[-2:]
    down, across = place.strides_matter()[-2:]
    if across == 1 and (down >= columns or rows == 1):
        return 0, max(down, columns)
    return 1, max(across, rows)
