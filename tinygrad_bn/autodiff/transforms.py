"""Functions from functions: grad, value_and_grad, vjp, jvp, jacobian, hessian, hvp. They nest to any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from tinygrad_bn import ops
from tinygrad_bn.autodiff.gradients import sweep
from tinygrad_bn.errors import DtypeError, ShapeError
from tinygrad_bn.mode import current, using
from tinygrad_bn.tensors import Tensor, as_array

Function = Callable[..., Any]


class _Run:
    """One run of a function on Tensors of its own, and what it takes to hand its derivatives to the caller."""

    def __init__(self, f: Function, args: Sequence[Any], argnums: Sequence[int]) -> None:
        for argnum in argnums:
            if not -len(args) <= argnum < len(args):
                raise TypeError(f"argnums expects positions among {len(args)} arguments; got {argnum}")
        outside = current()
        self.given = [args[argnum] for argnum in argnums]
        called = list(args)
        with using(gradients=True):  # a no_grad outside does not reach in here
            self.primals = [_mapped(_primal, argument) for argument in self.given]
            for argnum, primal in zip(argnums, self.primals, strict=True):
                called[argnum] = primal
            self.result = f(*called)
        self.inputs = [tensor for primal in self.primals for tensor in _leaves(primal)]
        self.outputs = [leaf for leaf in _leaves(self.result) if isinstance(leaf, Tensor)]
        self.nested = outside.gradients and self._reaches_outside()

    def _reaches_outside(self) -> bool:
        """Whether a Tensor took part that is not ours and requires a gradient: then derivatives stay Tensors."""
        seen = set(self.inputs)
        stack = [*self.outputs, *(primal.source[1][0] for primal in self.inputs if primal.source)]
        while stack:
            vertex = stack.pop()
            if not isinstance(vertex, Tensor) or not vertex.requires_grad or vertex in seen:
                continue
            if vertex.source is None:
                return True
            seen.add(vertex)
            stack += vertex.source[1]
        return False

    def pull(self, cotangents: Sequence[Any], *, create_graph: bool = False) -> list[Any]:
        """The cotangent of each chosen argument, in its form; zero where it was not used."""
        found = sweep(self.outputs, cotangents, self.inputs, create_graph or self.nested)

        def handed(given: Any, primal: Tensor) -> Any:
            g = found.get(primal)
            if g is None:
                g = Tensor(np.zeros(primal.shape, primal.dtype))
            return g if create_graph or self.nested or isinstance(given, Tensor) else g.value

        return [_mapped(handed, *pair) for pair in zip(self.given, self.primals, strict=True)]

    def hand(self, result: Any) -> Any:
        """A result of the function, as Tensors only where the caller deals in them."""
        if not isinstance(result, Tensor) or self.nested:
            return result
        deals_in_tensors = any(isinstance(leaf, Tensor) for given in self.given for leaf in _leaves(given))
        return result.detach() if deals_in_tensors else result.value


def vjp(f: Function, *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """f(*primals), and the function that takes a cotangent of it to a tuple with the cotangent of each primal."""
    _refuse_tensors("vjp", f)
    run = _Run(f, primals, range(len(primals)))
    return _mapped(run.hand, run.result), lambda cotangent: tuple(run.pull(_leaves(cotangent)))


def value_and_grad(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """The function that returns the value and the gradient of f. See `grad`."""
    _refuse_tensors("value_and_grad", f)

    @wraps(f)
    def transformed(*args: Any) -> tuple[Any, Any]:
        run = _Run(f, args, [argnums] if isinstance(argnums, int) else argnums)
        if not isinstance(run.result, (Tensor, float, int)) or np.size(run.result) != 1:
            came = f"shape {run.result.shape}" if isinstance(run.result, Tensor) else type(run.result).__name__
            raise ShapeError(f"grad expects a function with a scalar result; got {came}. See tg.jacobian and tg.vjp")
        pulled = run.pull([None] * len(run.outputs))
        return run.hand(run.result), pulled[0] if isinstance(argnums, int) else tuple(pulled)

    return transformed


def grad(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """The gradient of a scalar function, as a function of the same arguments.

    Args:
        f: is called with Tensors in place of the chosen arguments, and returns one element.
        argnums: which arguments to differentiate by, from 0; one gives one gradient, several give a tuple. An argument
            may be an array, a Tensor, or a list or dict of them; its gradient has the same form.

    Raises:
        TypeError: Tensors were given instead of a function; for those there is `gradients`.
        ShapeError: the result of f is not one element.
    """
    _refuse_tensors("grad", f)
    both = value_and_grad(f, argnums)
    return wraps(f)(lambda *args: both(*args)[1])


def jvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """f(*primals), and its derivative along the tangents.

    The pullback is linear in its cotangent, so pulling it back once more pushes the tangents forward.
    """
    _refuse_tensors("jvp", f)
    run = _Run(f, primals, range(len(primals)))
    weights = [Tensor(np.zeros(output.shape, output.dtype), requires_grad=True) for output in run.outputs]
    pushed = iter(_swept(run.pull(weights, create_graph=True), tangents, weights, run.nested))
    return _mapped(run.hand, run.result), _mapped(lambda _: run.hand(next(pushed)), run.result)


def hvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, ...]:
    """The Hessian of a scalar f at the primals times the tangents: a tuple with one product for each primal."""
    _refuse_tensors("hvp", f)
    run = _Run(f, primals, range(len(primals)))
    product = iter(_swept(run.pull([None], create_graph=True), tangents, run.inputs, run.nested))
    return tuple(_mapped(lambda _: run.hand(next(product)), given) for given in run.given)


def jacobian(f: Function, argnums: int = 0) -> Function:
    """The function that returns the derivatives of f, of shape (*result, *x), by the argument x at `argnums`."""
    _refuse_tensors("jacobian", f)

    @wraps(f)
    def transformed(*args: Any) -> Any:
        run = _Run(f, args, [argnums])
        shape = run.result.shape
        directions = np.eye(run.result.size, dtype=run.result.dtype).reshape((-1, *shape))
        rows = [run.pull([direction])[0] for direction in directions]
        return _mapped(lambda *row: ops.stack(row).reshape(shape + row[0].shape), *rows)

    return transformed


def hessian(f: Function, argnums: int = 0) -> Function:
    """The function that returns the second derivatives, of shape (*x, *x), of a scalar f."""
    return jacobian(grad(f, argnums), argnums)


def _swept(
    pulled: Sequence[Any], tangents: Sequence[Any], inputs: Sequence[Tensor], create_graph: bool
) -> list[Tensor]:
    """The gradient, for each input, of the inner product of the cotangents with the tangents."""
    along = [Tensor(as_array(leaf)) if not isinstance(leaf, Tensor) else leaf for t in tangents for leaf in _leaves(t)]
    towards = [leaf for g in pulled for leaf in _leaves(g)]
    if [t.shape for t in along] != [g.shape for g in towards]:
        raise ShapeError(
            f"tangents have the shapes of their primals, {[g.shape for g in towards]}; got {[t.shape for t in along]}"
        )
    with using(gradients=True):
        weighted = [(g * t.astype(g.dtype)).sum() for g, t in zip(towards, along, strict=True)]
    found = sweep(weighted, [None] * len(weighted), inputs, create_graph)
    return [found[t] if t in found else Tensor(np.zeros(t.shape, t.dtype)) for t in inputs]


def _primal(argument: Any) -> Tensor:
    """A Tensor of our own for an argument, through which an outer derivative can still flow."""
    if isinstance(argument, Tensor) and argument.requires_grad:
        return ops.copy(argument)
    value = as_array(argument)
    if value.dtype.kind != "f":
        raise DtypeError(f"a derivative expects floating arguments; got {value.dtype}. Use .astype(np.float32)")
    return Tensor(np.array(value), requires_grad=True)


def _leaves(tree: Any) -> list[Any]:
    """What is in a list, tuple or dict, or the thing itself."""
    return list(tree.values()) if isinstance(tree, dict) else list(tree) if isinstance(tree, (list, tuple)) else [tree]


def _mapped(function: Callable[..., Any], *trees: Any) -> Any:
    """`function` of what is in lists, tuples or dicts of one form, in that form."""
    first = trees[0]
    if isinstance(first, dict):
        return {key: function(*(tree[key] for tree in trees)) for key in first}
    if isinstance(first, (list, tuple)):
        return type(first)([function(*leaves) for leaves in zip(*trees, strict=True)])
    return function(*trees)


def _refuse_tensors(name: str, f: Any) -> None:
    if not callable(f):
        raise TypeError(f"{name} expects a function; got {type(f).__name__}. For Tensors, use tg.gradients")
