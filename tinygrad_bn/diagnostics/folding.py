"""Folding: a layer that in inference is a multiplication and an addition becomes part of the Dense layer before it."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any, TypeVar

import numpy as np

from tinygrad_bn import ops
from tinygrad_bn.diagnostics.subjects import expect_module
from tinygrad_bn.errors import NotBuiltError, SettingError
from tinygrad_bn.layers import Activation, BatchNormalization, Dense
from tinygrad_bn.mode import expect_outside, frozen_state, using
from tinygrad_bn.models import Sequential
from tinygrad_bn.module import Module, called
from tinygrad_bn.module.functional import places
from tinygrad_bn.module.observing import example, tensors
from tinygrad_bn.names import checked
from tinygrad_bn.recorders import Following
from tinygrad_bn.tensors import Tensor, as_array
from tinygrad_bn.tensors.graph import arguments, made, moved
from tinygrad_bn.variables import Parameter, Variable

AnyModule = TypeVar("AnyModule", bound=Module)


@checked
def fold_batch_normalization(model: AnyModule, x: Any = None, *, partial: bool = False) -> AnyModule:
    """A copy of the model, in inference mode, whose Dense layers do the work of the BatchNormalization after them.

    With slope = gamma / sqrt(moving_variance + epsilon) the kernel becomes kernel * slope, and the bias
    (bias - moving_mean) * slope + beta, both computed in float64. In inference the copy gives what the model gives, but
    for rounding, and normalization costs nothing. In a Sequential the layers that were folded are gone; in any other
    module, and where a Sequential would be left without layers, an Activation that does nothing stands in their place.

    Which layer comes before which is read off one call in inference mode, so dropout in between does no harm.

    Args:
        model: a Module; it stays as it is.
        x: a batch of inputs, where the model does not know their shape.
        partial: leave the layers that cannot be folded as they are, instead of raising.

    Raises:
        SettingError: a layer cannot be folded: none but a Dense without activation may come before it, nobody else may
            use what that gives or its kernel, and `axis` must be the last. The message names the layer.
        TypeError: it is no Module.
        NotBuiltError: the model has no parameters yet, or the shape of its inputs is not known and there is no x.
    """
    expect_outside("fold_batch_normalization")
    expect_module("fold_batch_normalization", model)
    folded = copy.deepcopy(model)
    folded.named_variables()
    x = example(model) if x is None else x
    if x is None:
        raise NotBuiltError(
            "fold_batch_normalization expects a batch of inputs, since the model does not know their shape: "
            "fold_batch_normalization(model, x)"
        )
    calls = _Calls(folded, Tensor(as_array(x)))
    for path, layer in list(folded.named_modules()):
        if isinstance(layer, BatchNormalization):
            before = calls.dense_before(layer)
            if isinstance(before, Dense):
                _remove(layer, folded)
                _fold(before, layer)
            elif not partial:
                raise SettingError(f"fold_batch_normalization cannot fold {called(layer, path)}: {before}")
    return folded.eval()


class _Calls(Following):
    """One call of `model` in inference mode: which result was made inside which modules."""

    def __init__(self, model: Module, x: Tensor) -> None:
        super().__init__()
        self._paths = {module: path for path, module in model.named_modules()}
        self._homes: dict[Tensor, tuple[Module, ...]] = {}
        self._times = Counter[Module]()
        with frozen_state(), using(recorder=self, gradients=False):
            self._outputs = set(tensors(model(x, training=False)))

    def note(self, tensor: Any) -> None:
        self._homes[tensor] = tuple(self.open)

    def enter(self, module: Any) -> None:
        self._times[module] += 1
        super().enter(module)

    def dense_before(self, layer: BatchNormalization) -> Dense | str:
        """The Dense that this layer can be folded into, or why there is none."""
        if self._times[layer] != 1:
            return f"it is called {self._times[layer]} times, and can become part of one layer only"
        inside = {result for result, home in self._homes.items() if layer in home}
        entering = {argument for result in inside for argument in arguments(result)} - inside
        (x,) = (argument for argument in entering if not isinstance(argument, Variable))
        if moved(x).source is None:
            return "it is the first to see the inputs, no Dense comes before it"
        dense = self._homes[x][-1] if self._homes[x] else None
        if not isinstance(dense, Dense) or not _is_product(x, dense):
            maker = f" of {self._named(dense)}" if self._named(dense) else ""
            return f"{made(x).__name__}{maker} comes before it, and only the kernel of a Dense can take it in"
        axes = layer.axis if isinstance(layer.axis, (list, tuple)) else (layer.axis,)
        if [axis % x.ndim for axis in axes] != [x.ndim - 1]:
            return f"its axis={layer.axis!r} is not the last alone, along which the kernel has its units"
        if x.dtype != layer.dtype:
            return f"it computes in {layer.dtype}, and {self._named(dense)} in {x.dtype}"
        return self._trouble_with(dense, x, inside) or dense

    def _trouble_with(self, dense: Dense, x: Tensor, inside: set[Tensor]) -> str | None:
        """Why the parameters of `dense`, which made x, cannot be changed for the results in `inside` alone."""
        if self._users(x) - inside or x in self._outputs:
            return f"{self._named(dense)} gives its result to others too"
        for parameter in (dense.kernel, dense.bias):
            if parameter is not None and self._users(parameter) - {x}:
                return f"{self._named(dense)} is used in several places"
        return None

    def _users(self, tensor: Tensor) -> set[Tensor]:
        return {result for result in self._homes if tensor in set(arguments(result))}

    def _named(self, module: Module | None) -> str:
        return called(module, self._paths[module]) if module is not None and self._paths[module] else ""


def _is_product(x: Tensor, dense: Dense) -> bool:
    """Whether x is something times the kernel, plus the bias if there is one, and nothing else."""
    others = [dense.kernel] if dense.bias is None else [dense.kernel, dense.bias]
    return made(x) in (ops.matmul, ops.affine) and [*map(id, arguments(x)[1:])] == [*map(id, others)]


def _fold(dense: Dense, layer: BatchNormalization) -> None:
    """Let `dense` do the work of `layer`."""

    def double(variable: Variable | None, instead: float) -> Any:
        return np.float64(instead) if variable is None else variable.value.astype(np.float64)

    slope = double(layer.gamma, 1.0) / np.sqrt(double(layer.moving_variance, 1.0) + layer.epsilon)
    bias = (double(dense.bias, 0.0) - double(layer.moving_mean, 0.0)) * slope + double(layer.beta, 0.0)
    dense.kernel.assign(double(dense.kernel, 0.0) * slope, "fold_batch_normalization")
    if dense.bias is None:
        dense.bias = Parameter(bias.astype(dense.dtype), name="bias", trainable=dense.trainable)
        vars(dense)["use_bias"] = True  # which a built layer does not let others set
    else:
        dense.bias.assign(bias, "fold_batch_normalization")


def _remove(layer: BatchNormalization, model: Module) -> None:
    """Take the layer out of the Sequential that it is in, or else put one in its place that does nothing."""
    for module in list(model.modules()):
        if isinstance(module, Sequential) and type(module).forward is Sequential.forward and len(module.layers) > 1:
            module.layers = [each for each in module.layers if each is not layer]
    assert layer.batch_shape is not None  # it has been called
    nothing = Activation(None, dtype=layer.dtype, name=layer.name)
    nothing.build(layer.batch_shape)
    for holder, key, _ in places(model, [layer]):
        holder[key] = nothing
    if layer in model.modules():
        raise SettingError("fold_batch_normalization expects layers in attributes, lists and dicts, not in tuples")
