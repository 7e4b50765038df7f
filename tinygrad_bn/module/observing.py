"""One call of a module as its graph: which parameters met which operations, and what came back to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn import ops
from tinygrad_bn.autodiff.gradients import gradients
from tinygrad_bn.mode import frozen_state, using
from tinygrad_bn.nests import leaves
from tinygrad_bn.recorders import Following
from tinygrad_bn.tensors import Tensor, as_array
from tinygrad_bn.tensors.graph import MOVES, arguments, consumers, made, source
from tinygrad_bn.variables import Parameter, Variable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tinygrad_bn.module.modules import Module

_SAMPLES = 16  # enough for batch statistics


class Observed(Following):
    """One call of `model` in training mode; the model is as before afterwards.

    Attributes:
        model: the module.
        paths: of its variables.
        results: every result of the call with the module that made it, in the order of creation.
        outputs: what the call returned, where those are Tensors.
        gradients: of a sum of the outputs with random weights, for each trainable parameter; None where none came.
    """

    def __init__(self, model: Module, x: Any) -> None:
        super().__init__()
        self.model = model
        self.results: dict[Tensor, Module] = {}
        x = Tensor(as_array(x))
        model.build_on(x)
        self.paths: dict[Variable, str] = {variable: path for path, variable in model.named_variables()}
        with frozen_state(), using(gradients=True):
            with using(recorder=self):
                returned = model(x, training=True)
            self.outputs = list(tensors(returned))
            self._consumers = consumers(self.results)
            wanted = [parameter for parameter in self.parameters if parameter.trainable]
            reached = [output for output in self.outputs if output.requires_grad]
            weights = [uneven(output) for output in reached]
            found = gradients(reached, wanted, grad_outputs=weights, allow_unused=True) if reached else ()
            self.gradients = dict(zip(wanted, found or [None] * len(wanted), strict=True))
            self.cancelled = dict(self._cancelled())

    @property
    def parameters(self) -> list[Parameter]:
        """The parameters, in the order of definition."""
        return [variable for variable in self.paths if isinstance(variable, Parameter)]

    def note(self, tensor: Any) -> None:
        self.results[tensor] = self.open[-1]

    def path_of(self, result: Tensor) -> str:
        """The path of the module that made `result`."""
        maker = self.results[result]
        return next((path for path, module in self.model.named_modules() if module is maker), "")

    def made_by(self, *primitives: Any) -> Iterator[Tensor]:
        """The results of these primitives."""
        return (result for result in self.results if made(result) in primitives)

    def consumers(self, result: Tensor) -> list[Tensor]:
        """What was computed from `result`."""
        return self._consumers.get(result, [])

    def kernels_into(self, tensors: Sequence[Tensor], stops: tuple[Any, ...] = ()) -> Iterator[Parameter]:
        """The kernels of the products that lead to these through anything but the primitives `stops`."""
        pending, seen = list(tensors), set[Tensor]()
        while pending:
            tensor = pending.pop()
            if tensor in seen or made(tensor) in stops:
                continue
            seen.add(tensor)
            inside = arguments(tensor)
            if made(tensor) in (ops.matmul, ops.affine):
                yield from (kernel for kernel in inside[1:2] if isinstance(kernel, Parameter))
            else:
                pending += inside

    def _cancelled(self) -> Iterator[tuple[Parameter, Tensor]]:
        """The parameters whose addition a standardization takes away again, each with its result.

        The derivative of the result along such a parameter is a sum of terms that cancel: it is compared with the sum
        of their sizes.
        """
        for result in self.made_by(ops.standardize):
            (x,) = arguments(result)
            shifts = [shift for shift in shifts_of(x) if shift in self.gradients]
            if not shifts or not x.requires_grad:
                continue
            to_x = gradients(result, x, grad_outputs=uneven(result)).value
            sums = gradients(x, shifts, grad_outputs=to_x)
            sizes = gradients(x, shifts, grad_outputs=np.abs(to_x))
            for shift, total, size in zip(shifts, sums, sizes, strict=True):
                if np.abs(total.value).max() < 1e-3 * np.abs(size.value).max():
                    yield shift, result


def example(model: Any, samples: int = _SAMPLES) -> NDArray[Any] | None:
    """Standard normal samples for a module that knows the shape of its inputs, else None."""
    shape = getattr(model, "batch_shape", None)
    if shape is None:
        return None
    lengths = [samples, *(length or 2 for length in shape[1:])]
    return np.random.default_rng(0).standard_normal(lengths).astype(np.float32)


def named(result: Tensor) -> str:
    """The function that made it, as its user calls it: rrelu is a prelu with a slope drawn for each element."""
    primitive, args, _ = source(result)
    drawn = primitive is ops.prelu and not isinstance(args[1], Tensor) and np.shape(args[1]) == result.shape
    return "rrelu" if drawn else str(primitive.__name__)


def shifts_of(x: Tensor) -> Iterator[Parameter]:
    """The parameters that have been added to make x."""
    pending = [x]
    while pending:
        tensor = pending.pop()
        if isinstance(tensor, Parameter):
            yield tensor
        elif made(tensor) in (ops.affine, ops.scale_and_shift):
            pending += [arg for arg in source(tensor)[1][-1:] if isinstance(arg, Tensor)]
        elif made(tensor) in (ops.add, ops.subtract, *MOVES):
            pending += arguments(tensor)


def uneven(result: Tensor) -> NDArray[Any]:
    """Weights for a result that no layer's derivative cancels: those of equal size a softmax would."""
    return np.random.default_rng(1).standard_normal(result.shape).astype(result.dtype)


def tensors(returned: Any) -> Iterator[Tensor]:
    """The Tensors that a module returned: one, or lists, tuples and dicts of them."""
    return (leaf for leaf in leaves(returned) if isinstance(leaf, Tensor))
