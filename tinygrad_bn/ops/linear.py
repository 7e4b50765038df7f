"""Products of matrices."""

from __future__ import annotations

import string
from collections.abc import Sequence

import numpy as np

from tinygrad_bn.domains import Case
from tinygrad_bn.errors import ShapeError
from tinygrad_bn.functions import arrayed
from tinygrad_bn.ops.shape import expand_dims, squeeze
from tinygrad_bn.primitives import Array, primitive


@primitive(
    label="@",
    cases=(
        Case((3, 4), (4, 2)),
        Case((4,), (4,)),
        Case((4,), (4, 2)),
        Case((3, 4), (4,)),
        Case((2, 1, 3, 4), (5, 4, 2)),
        Case((2, 3, 4), (4,)),
        Case((4,), (2, 4, 3)),
    ),
    expects="x of shape (..., n, k) and y of shape (..., k, m)",
    reference=lambda x, y: np.matmul(x, y),
)
def matmul(x: Array, y: Array, /) -> Array:
    """The matrix product x @ y: sum over k of x[..., n, k] * y[..., k, m]; vectors stand for a row or a column."""
    return x.dot(y) if x.ndim == y.ndim == 2 else np.matmul(x, y)


def _product(x: Array, y: Array) -> Array:
    """x @ y, of two matrices by the method of arrays, as in the forward: it is faster, and its bits are those."""
    return x.dot(y) if type(x) is type(y) is np.ndarray and x.ndim == y.ndim == 2 else x @ y


def _transposed(x: Array) -> Array:
    """Every matrix of x transposed."""
    return x.transpose((*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def _as_matrices(g: Array, x: Array, y: Array) -> tuple[Array, Array, Array]:
    """A vector x is a row, a vector y is a column, and g is what their product would be."""
    g = g if x.ndim > 1 or y.ndim == 1 else expand_dims(g, axis=-2)
    g = g if y.ndim > 1 else expand_dims(g, axis=-1)
    g = g if x.ndim > 1 or y.ndim > 1 else expand_dims(g, axis=-1)
    return g, x if x.ndim > 1 else expand_dims(x, axis=0), y if y.ndim > 1 else expand_dims(y, axis=1)


def _to_x(g: Array, z: Array, x: Array, y: Array, *_: Array) -> Array:
    if x.ndim == y.ndim == 2:
        return _product(g, y.T)
    if x.ndim > 1 and y.ndim > 1:
        return g @ _transposed(y)
    g, _, column = _as_matrices(g, x, y)
    product = _product(g, _transposed(column))
    return product if x.ndim > 1 else squeeze(product, axis=-2)


def _to_y(g: Array, z: Array, x: Array, y: Array, *_: Array) -> Array:
    if x.ndim == y.ndim == 2:
        return _product(x.T, g)
    if x.ndim > 1 and y.ndim > 1:
        return _transposed(x) @ g
    g, row, _ = _as_matrices(g, x, y)
    product = _product(_transposed(row), g)
    return product if y.ndim > 1 else squeeze(product, axis=-1)


matmul.defvjp(_to_x, _to_y)  # and the rules of `affine`, whose bias comes behind


@primitive(
    label="affine",
    cases=(Case((3, 4), (4, 2), (2,)), Case((2, 3, 4), (4, 2), (2,))),
    expects="x of shape (..., n), kernel of shape (n, m), bias of shape (m,)",
    reference=lambda x, kernel, bias: np.einsum("...n,nm->...m", x, kernel) + bias,
)
def affine(x: Array, kernel: Array, bias: Array, /) -> Array:
    """x @ kernel + bias.

    Raises:
        ShapeError: the shapes do not fit; the bias never repeats the product.
    """
    product = x.dot(kernel) if x.ndim == kernel.ndim == 2 else np.matmul(x, kernel)
    y = product + bias
    if y.shape != product.shape:
        raise ValueError
    return y


affine.defvjp(_to_x, _to_y, lambda g, y, x, kernel, bias: g)


@primitive(
    label="einsum {subscripts}",
    cases=(
        Case((3, 4), (4, 2), subscripts="ij,jk->ik"),
        Case((3, 3), subscripts="ii->i"),
        Case((3, 3), subscripts="ii->"),
        Case((3, 4), (2,), (4,), subscripts="ij,k,j->ki"),
        Case((2, 3), subscripts="ij->j"),
    ),
    expects="operands whose axes fit the subscripts",
)
def contract(*operands: Array, subscripts: str) -> Array:
    """The sum of products that the `subscripts` describe, with an explicit result and no ellipsis."""
    if len(operands) > 2:  # the first two are multiplied in their own dtype, in which the product need not fit
        common = np.result_type(*[x.dtype for x in operands])
        operands = tuple([x if x.dtype == common else x.astype(common) for x in operands])
    return np.einsum(subscripts, *operands, optimize=len(operands) > 1)


@contract.defvjp_each
def _(position: int, g: Array, y: Array, *operands: Array, subscripts: str) -> Array:
    """The same contraction with g in the place of the operand, whose subscripts become the result's.

    An axis that no other has in its length is filled by ones; one named twice in it, a diagonal, by an identity.
    """
    inputs, result = subscripts.split("->")
    terms = inputs.split(",")
    operand = operands[position]
    factors = [(result, g), *((t, x) for i, (t, x) in enumerate(zip(terms, operands, strict=True)) if i != position)]
    known = {axis for term, x in factors for axis in zip(term, x.shape, strict=True)}
    wanted, fresh = "", (letter for letter in string.ascii_letters if letter not in subscripts)
    for name, length in zip(terms[position], operand.shape, strict=True):
        if name in wanted:
            twin = next(fresh)
            factors.append((name + twin, np.eye(length, dtype=operand.dtype)))
            name = twin
        elif (name, length) not in known:
            factors.append((name, np.ones(length, operand.dtype)))
        wanted += name
    return contract(*(x for _, x in factors), subscripts=",".join(t for t, _ in factors) + "->" + wanted)


def einsum(subscripts: str, *operands: Array) -> Array:
    """The sum of products over the subscripts that the result lacks, in NumPy's notation.

    Raises:
        TypeError: the first argument is not a string of subscripts.
        ShapeError: the subscripts do not fit the operands.
    """
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum expects subscripts such as 'ij,jk->ik' first; got a {type(subscripts).__name__}")
    arrays = arrayed("einsum", operands)
    shapes = [array.shape for array in arrays]
    try:
        return contract(*arrays, subscripts=_spelled_out(subscripts, [len(shape) for shape in shapes]))
    except ShapeError:
        raise ShapeError(f"einsum expects operands whose axes fit {subscripts!r}; got shapes {shapes}") from None


def _spelled_out(subscripts: str, dimensions: Sequence[int]) -> str:
    """The subscripts with letters for every ellipsis, and with the result that NumPy would imply.

    Raises:
        ShapeError: they are for other numbers of operands or axes.
    """
    inputs, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    hidden = [n - len(t.replace("...", "")) for t, n in zip(terms, dimensions, strict=False)]
    wrong = [extra < 0 or (extra > 0 and "..." not in t) for t, extra in zip(terms, hidden, strict=False)]
    if len(terms) != len(dimensions) or any(wrong) or (arrow and max(hidden) and "..." not in result):
        raise ShapeError(subscripts)
    free = [letter for letter in string.ascii_letters if letter not in subscripts]
    letters = "".join(free[: max(hidden)])
    terms = [t.replace("...", letters[len(letters) - extra :]) for t, extra in zip(terms, hidden, strict=True)]
    if not arrow:
        joined = "".join(terms)
        result = letters + "".join(sorted(c for c in set(joined) - set(letters) if joined.count(c) == 1))
    return ",".join(terms) + "->" + result.replace("...", letters)
