"""Borders, running sums, first extrema and sums of products, in calls that the dialect knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.capturing.flow import Value
from tinygrad_bn.capturing.native.dialect import Inexpressible

if TYPE_CHECKING:
    from tinygrad_bn.capturing.native.expanding import Writer


def bordered(write: Writer, x: Value, axis: int, before: int, after: int, border: Any = 0) -> Value:
    """x with so many times `border` before and after it along an axis."""
    shape = list(x.shape)
    parts = []
    for length in (before, None, after):
        if length is None:
            parts.append(x)
        elif length:
            shape[axis] = length
            parts.append(write(np.broadcast_to, write.constant(x.dtype.type(border)), tuple(shape)))
    return write(np.concatenate, parts, axis=axis) if len(parts) > 1 else x


def padded(write: Writer, x: Value, widths: Any, mode: str = "constant", constant_values: Any = 0) -> Value:
    """np.pad with a border of one number."""
    if mode != "constant" or np.ndim(constant_values):
        raise Inexpressible("pad with borders of several numbers")
    widths = np.broadcast_to(widths.sample if isinstance(widths, Value) else widths, (x.sample.ndim, 2)).tolist()
    for axis, (before, after) in enumerate(widths):
        x = bordered(write, x, axis, before, after, constant_values)
    return x


def running_sum(write: Writer, x: Value, axis: int | None = None, **options: Any) -> Value:
    """np.cumsum: after the n-th round each element is the sum of the last 2**n up to it."""
    if any(option is not None for option in options.values()):
        raise Inexpressible("cumsum with options")
    if axis is None or not x.sample.ndim:
        x, axis = write(np.ndarray.reshape, x, (-1,)), 0
    axis %= x.sample.ndim
    length, distance = x.shape[axis], 1
    before = (slice(None),) * axis
    while distance < length:
        first, last, late = (
            write(np.ndarray.__getitem__, x, (*before, part, ...))
            for part in (slice(None, distance), slice(None, -distance), slice(distance, None))
        )
        x = write(np.concatenate, [first, write(np.add, late, last)], axis=axis)
        distance *= 2
    return x


def first_extremum(better: np.ufunc, write: Writer, x: Value, axis: int | None = None, **options: Any) -> Value:
    """np.argmax, or np.argmin: the smallest index of those where the extremum is. NaN is more extreme than all else."""
    if any(option is not None and option is not False for option in options.values()):
        raise Inexpressible("argmax with options")
    if axis is None:
        x, axis = write(np.ndarray.reshape, x, (-1,)), 0
    axis %= max(x.sample.ndim, 1)
    n = x.shape[axis]
    places = np.arange(n).reshape((n, *(1,) * (x.sample.ndim - axis - 1)))
    found = write(np.equal, x, write(better.reduce, x, axis=axis, keepdims=True))
    if x.dtype.kind == "f":
        found = write(np.logical_or, found, write(np.isnan, x))
    candidates = write(np.where, found, write.constant(places), write.constant(np.array(n - 1)))
    return write(np.minimum.reduce, candidates, axis=axis)


def contracted(write: Writer, subscripts: str, *operands: Value, optimize: Any = False) -> Value:
    """np.einsum with an explicit result, in the order in which NumPy takes the operands."""
    inputs, result = subscripts.split("->")
    terms = [_of_diagonals(write, term, x) for term, x in zip(inputs.split(","), operands, strict=True)]
    path = np.einsum_path(subscripts, *(x.sample for x in operands), optimize=optimize)[0][1:]
    for taken in path:
        first, *others = [terms.pop(place) for place in sorted(taken, reverse=True)][::-1]
        term, x = first
        for number, (other, y) in enumerate(others, 1):
            wanted = set(result).union(*(later for later, _ in [*others[number:], *terms]))
            term, x = _multiplied(write, *_summed(write, term, x, wanted | set(other)), other, y, wanted)
        terms.append((term, x))
    return _ordered(write, *_summed(write, *terms[0], set(result)), result)


def _of_diagonals(write: Writer, term: str, x: Value) -> tuple[str, Value]:
    """The operand with each letter once: of two axes with one letter it is the diagonal."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            first = term.index(letter)
            second = term.index(letter, first + 1)
            x = write(np.diagonal, x, 0, first, second)
            term = "".join(c for place, c in enumerate(term) if place not in (first, second)) + letter
    return term, x


def _summed(write: Writer, term: str, x: Value, wanted: set[str]) -> tuple[str, Value]:
    """Without the axes that nobody wants."""
    over = tuple(axis for axis, letter in enumerate(term) if letter not in wanted)
    if over:
        x = write(np.add.reduce, x, axis=over)
    return "".join(letter for letter in term if letter in wanted), x


def _ordered(write: Writer, term: str, x: Value, result: str) -> Value:
    order = tuple(term.index(letter) for letter in result)
    return x if order == tuple(range(len(order))) else write(np.ndarray.transpose, x, order)


def _multiplied(write: Writer, term: str, x: Value, other: str, y: Value, wanted: set[str]) -> tuple[str, Value]:
    """Two operands as one: a product of matrices for what they have in common and nobody else wants."""
    other, y = _summed(write, other, y, wanted | set(term))
    lengths = dict(zip(term + other, x.shape + y.shape, strict=True))
    both = "".join(letter for letter in term if letter in other and letter in wanted)
    over = "".join(letter for letter in term if letter in other and letter not in wanted)
    rows = "".join(letter for letter in term if letter not in other)
    columns = "".join(letter for letter in other if letter not in term)

    def shaped(term: str, x: Value, *groups: str) -> Value:
        x = _ordered(write, term, x, "".join(groups))
        shape = [int(np.prod([lengths[letter] for letter in group], dtype=int)) for group in groups[-2:]]
        return write(np.ndarray.reshape, x, (*(lengths[letter] for letter in both), *shape))

    result = both + rows + columns
    if over:
        product = write(np.matmul, shaped(term, x, both, rows, over), shaped(other, y, both, over, columns))
    else:
        product = write(np.multiply, shaped(term, x, both, rows, ""), shaped(other, y, both, "", columns))
    return result, write(np.ndarray.reshape, product, tuple(lengths[letter] for letter in result))
