"""Functions from functions: grad, value_and_grad, vjp, jvp, jacobian, hessian, hvp. They nest to any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from operator import index
from typing import Any

import numpy as np

from tinygrad_bn import ops
from tinygrad_bn.autodiff.gradients import sweep
from tinygrad_bn.errors import DtypeError, SettingError, ShapeError
from tinygrad_bn.mode import current, using
from tinygrad_bn.names import checked
from tinygrad_bn.nests import aligned, leaves, mapped
from tinygrad_bn.tensors import Tensor, as_array, fitting, next_serial
from tinygrad_bn.tensors.graph import arguments

Function = Callable[..., Any]


class _Run:
    """One run of a function on Tensors of its own, and what it takes to hand its derivatives to the caller."""

    def __init__(self, f: Function, args: Sequence[Any], argnums: Sequence[int]) -> None:
        outside, self.start = current(), next_serial()
        self.given = [args[argnum] for argnum in argnums]
        called = list(args)
        taken: list[tuple[Tensor, str]] = []
        with using(gradients=True, taken=taken):  # a no_grad outside does not reach in here
            primals = [mapped(argument, _primal) for argument in self.given]
            self.inputs: list[Tensor] = list(leaves(primals))  # before f, which may put others into its nests
            for argnum, primal in zip(argnums, primals, strict=True):
                called[argnum] = primal
            self.result = mapped(f(*called), _result)
        self.outputs: list[Tensor] = list(leaves(self.result))
        self._expect_in_the_graph(taken)
        if outside.taken is not None:
            outside.taken.extend(taken)
        self.nested = outside.gradients and self._reaches_outside()

    def _expect_in_the_graph(self, taken: list[tuple[Tensor, str]]) -> None:
        """Raise if nothing of the result depends on the arguments but by numbers that were taken out of Tensors."""
        left = [request for tensor, request in taken if tensor.serial > self.start]
        if left and not any(output.requires_grad for output in self.outputs):
            raise TypeError(
                f"the function left the graph for plain numbers, by {left[0]} (float() and NumPy do so too), and would "
                "have derivative 0: compute with tg functions, or use .detach() first if that is meant"
            )

    def _reaches_outside(self) -> bool:
        """Whether a Tensor took part that is older and requires a gradient: then derivatives stay Tensors."""
        seen = set(self.inputs)
        stack = [*self.outputs, *(primal.source[1][0] for primal in self.inputs if primal.source)]
        while stack:
            vertex = stack.pop()
            if vertex.requires_grad and vertex not in seen:
                if vertex.serial < self.start:
                    return True
                seen.add(vertex)
                stack += arguments(vertex)
        return False

    def expect_scalar(self, name: str) -> None:
        """Raise, in the name of `name`, if the result is not one floating number."""
        result = self.result
        if not isinstance(result, Tensor) or result.size != 1:
            came = f"shape {result.shape}" if isinstance(result, Tensor) else f"a {type(result).__name__}"
            raise ShapeError(f"{name} expects a function with a scalar result; got {came}. See tg.jacobian and tg.vjp")
        self.expect_floating(name)

    def expect_floating(self, name: str) -> None:
        """Raise, in the name of `name`, if not all of the result is floating."""
        for output in self.outputs:
            if output.dtype.kind != "f":
                raise DtypeError(f"{name} expects a function with a floating result; got {output.dtype}")

    def pull(
        self, cotangents: Sequence[Any], outputs: Sequence[Tensor] | None = None, *, create_graph: bool = False
    ) -> list[Any]:
        """The cotangent of each chosen argument, in its form; zero where it was not used."""
        outputs = self.outputs if outputs is None else outputs
        found = sweep(outputs, cotangents, self.inputs, create_graph or self.nested)
        primals = iter(self.inputs)

        def handed(given: Any) -> Any:
            primal = next(primals)
            g = found[primal] if primal in found else Tensor(np.zeros(primal.shape, primal.dtype))
            keep = create_graph or self.nested or isinstance(given, Tensor)
            return g if keep else g.value.copy()  # the same memory may be another argument's gradient, or read-only

        return [mapped(given, handed) for given in self.given]

    def hand(self, result: Tensor) -> Any:
        """A result of the function, as a Tensor only where the caller deals in them."""
        if self.nested:
            return result
        deals_in_tensors = any(isinstance(leaf, Tensor) for leaf in leaves(self.given))
        return result.detach() if deals_in_tensors else result.value.copy()  # the pullback may still need the value


def vjp(f: Function, *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """f(*primals), and the function that takes a cotangent of it to a tuple with the cotangent of each primal."""
    _expect_function("vjp", f)
    run = _Run(f, primals, range(len(primals)))

    def pulled(cotangent: Any) -> tuple[Any, ...]:
        return tuple(run.pull(aligned("a cotangent", cotangent, run.result)))

    return mapped(run.result, run.hand), pulled


@checked
def value_and_grad(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """The function that returns the value and the gradient of f. See `grad`."""
    _expect_function("value_and_grad", f)

    @wraps(f)
    def transformed(*args: Any, **settings: Any) -> tuple[Any, Any]:
        run = _Run(partial(f, **settings), args, _positions(argnums, len(args)))
        run.expect_scalar("grad")
        pulled = run.pull([None])
        return run.hand(run.result), tuple(pulled) if isinstance(argnums, Sequence) else pulled[0]

    return transformed


@checked
def grad(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """The gradient of a scalar function, as a function of the same arguments.

    Args:
        f: is called with Tensors in place of the chosen arguments, and returns one element.
        argnums: which arguments to differentiate by, from 0; one gives one gradient, several give a tuple. An argument
            may be an array, a Tensor, or lists, tuples and dicts of them, in each other too; its gradient has the
            same form.

    Raises:
        TypeError: Tensors were given instead of a function; for those there is `gradients`. Or f has computed
            all of its result with numbers taken out of Tensors, by float() or NumPy, say.
        ShapeError: the result of f is not one element.
        DtypeError: the result, or a chosen argument, is not floating.
    """
    _expect_function("grad", f)
    both = value_and_grad(f, argnums)
    return wraps(f)(lambda *args, **settings: both(*args, **settings)[1])


def jvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """f(*primals), and its derivative along the tangents.

    The pullback is linear in its cotangent, so pulling it back once more pushes the tangents forward.
    """
    _expect_function("jvp", f)
    run, along = _along("jvp", f, primals, tangents)
    run.expect_floating("jvp")
    weights = [Tensor(np.ones(output.shape, output.dtype), requires_grad=True) for output in run.outputs]
    pushed = iter(_swept(run.pull(weights, create_graph=True), along, weights, run.nested))
    return mapped(run.result, run.hand), mapped(run.result, lambda _: run.hand(next(pushed)))


def hvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, ...]:
    """The Hessian of a scalar f at the primals times the tangents: a tuple with one product for each primal."""
    _expect_function("hvp", f)
    run, along = _along("hvp", f, primals, tangents)
    run.expect_scalar("hvp")
    product = iter(_swept(run.pull([None], create_graph=True), along, run.inputs, run.nested))
    return tuple(mapped(given, lambda _: run.hand(next(product))) for given in run.given)


@checked
def jacobian(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """The function that returns the derivatives of f, of shape (*result, *x), by the argument x at `argnums`.

    Where the result of f or the argument is a list, tuple or dict, so is what comes back: the result's form, and in it
    the argument's.
    """
    _expect_function("jacobian", f)

    @wraps(f)
    def transformed(*args: Any, **settings: Any) -> Any:
        run = _Run(partial(f, **settings), args, _positions(argnums, len(args)))

        def derivatives(output: Tensor) -> Any:
            directions = np.eye(output.size, dtype=output.dtype).reshape((output.size, *output.shape))
            rows = zip(*(leaves(run.pull([direction], [output])) for direction in directions), strict=True)
            primals = iter(run.inputs)

            def joined(_: Any) -> Any:
                primal, row = next(primals), next(rows, ())
                shape = output.shape + primal.shape
                return ops.stack(row).reshape(shape) if row else run.hand(Tensor(np.zeros(shape, primal.dtype)))

            found = [mapped(given, joined) for given in run.given]
            return tuple(found) if isinstance(argnums, Sequence) else found[0]

        return mapped(run.result, derivatives)

    return transformed


@checked
def hessian(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """The function that returns the second derivatives, of shape (*x, *x), of a scalar f."""
    return jacobian(grad(f, argnums), argnums)


def _along(name: str, f: Function, primals: Any, tangents: Any) -> tuple[_Run, list[Tensor]]:
    """A run of f by all of its arguments, and a tangent for each of its inputs."""
    for what, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, (list, tuple)):
            raise TypeError(f"{name} expects a tuple of {what}; got {type(given).__name__}")
    run = _Run(f, primals, range(len(primals)))
    given = aligned("tangents", tangents, run.given)
    pairs = zip(given, run.inputs, strict=True)
    return run, [fitting(tangent, primal, "a tangent", "primal") for tangent, primal in pairs]


def _swept(
    pulled: Sequence[Any], along: Sequence[Tensor], inputs: Sequence[Tensor], create_graph: bool
) -> list[Tensor]:
    """The gradient, for each input, of the inner product of the cotangents with the tangents."""
    towards = leaves(pulled)
    with using(gradients=True):
        weighted = [(g * t).sum() for g, t in zip(towards, along, strict=True)]
    found = sweep(weighted, [None] * len(weighted), inputs, create_graph)
    return [found[t] if t in found else Tensor(np.zeros(t.shape, t.dtype)) for t in inputs]


def _positions(argnums: Any, count: int) -> list[int]:
    """`argnums`, one or several, as positions among `count` arguments."""
    try:
        chosen = [index(argnum) for argnum in (argnums if isinstance(argnums, Sequence) else (argnums,))]
    except TypeError:
        raise TypeError(f"argnums expects an int or a tuple of ints; got {argnums!r}") from None
    if not all(-count <= argnum < count for argnum in chosen):
        raise SettingError(f"argnums expects positions among {count} arguments; got {argnums!r}")
    if len({argnum % count for argnum in chosen}) < len(chosen):
        raise SettingError(f"argnums expects each position once; got {argnums!r}")
    return chosen


def _primal(argument: Any) -> Tensor:
    """A Tensor of our own for an argument, through which an outer derivative can still flow."""
    if isinstance(argument, Tensor) and argument.requires_grad:
        return argument.copy()
    given = argument if isinstance(argument, Tensor) else Tensor(as_array(argument, name="a derivative"))
    if given.dtype.kind != "f":
        raise DtypeError(f"a derivative expects floating arguments; got {given.dtype}. Use .astype(np.float32)")
    primal = given.copy().detach()
    primal.requires_grad = True
    return primal


def _result(leaf: Any) -> Tensor:
    """A result as a Tensor; it is a constant if it is none."""
    if isinstance(leaf, Tensor):
        return leaf
    number = float(leaf) if isinstance(leaf, int) else leaf
    return Tensor(as_array(number, name="the result of a differentiated function"))


def _expect_function(name: str, f: Any) -> None:
    if not callable(f):
        raise TypeError(f"{name} expects a function; got {type(f).__name__}. For Tensors, use tg.gradients")
