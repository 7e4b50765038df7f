"""The steps of a model, captured: that of learning, and those that change nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from operator import is_
from typing import TYPE_CHECKING, Any

from tinygrad_bn.callers import warn
from tinygrad_bn.capturing import capture, chosen
from tinygrad_bn.errors import CaptureBusyError, CaptureError, SettingError
from tinygrad_bn.losses import Loss
from tinygrad_bn.mode import changed, using
from tinygrad_bn.models.data import expect_result
from tinygrad_bn.optimizers import Optimizer
from tinygrad_bn.regularizers import penalty
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.variables import Parameter

if TYPE_CHECKING:
    from tinygrad_bn.models.model import Model


class Step:
    """One step of learning: forward, loss, backward, update.

    The loss that is told includes the penalties, whose gradient the optimizer adds.
    """

    def __init__(self, model: Model, optimizer: Optimizer, loss: Loss) -> None:
        self.model, self.optimizer, self.loss = model, optimizer, loss
        self.parameters: tuple[Parameter, ...] = tuple(model.parameters())
        optimizer.learn_names(model.named_parameters())

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        changed()

    def __call__(self, x: Any, y: Any) -> tuple[Any, Any]:
        """The loss of a batch before the step, with the penalties, and the predictions."""
        y_pred = expect_result(self.model, self.model(x), x)
        loss = self.loss.unchecked(y, y_pred)
        if not isinstance(loss, Tensor) or not loss.requires_grad:
            left = "the loss" if isinstance(y_pred, Tensor) and y_pred.requires_grad else "some layer"
            raise TypeError(
                f"fit expects a loss that depends on the parameters: {left} left the graph for plain numbers"
            )
        self._forget()
        loss.backward()
        told = penalized(loss, self.parameters)
        self.optimizer.step(self.parameters)
        self._forget()
        return told, y_pred

    def does(self, optimizer: Optimizer, loss: Loss, parameters: list[Parameter]) -> bool:
        """Whether this is the step with these."""
        same = len(parameters) == len(self.parameters) and all(map(is_, parameters, self.parameters))
        return same and self.optimizer is optimizer and self.loss is loss

    def _forget(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None


def penalized(loss: Any, parameters: Collection[Parameter]) -> Any:
    """The loss plus the penalties of the parameters' regularizers."""
    if all(parameter.regularizer is None for parameter in parameters):
        return loss
    with using(gradients=False):
        own = penalty(parameters)
        return loss if own is None else loss + own


_MOST_SHAPES = 8
"""Batches of so many shapes are captured; those of others run eagerly."""


class Replayed:
    """A step that is captured, and runs eagerly where it cannot be, after saying why.

    Attributes:
        step: the step itself.
    """

    def __init__(self, step: Any, executor: str | None) -> None:
        self.step = step
        self.executor = chosen(executor)
        self._shapes: set[Any] = set()
        self._run: Callable[..., Any] = step if self.executor == "eager" else capture(step, executor=self.executor)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.step, self.executor)  # copies are captured anew

    def __call__(self, *arrays: Any) -> Any:
        shapes = tuple([array.shape for array in arrays])
        if shapes not in self._shapes:
            if len(self._shapes) == _MOST_SHAPES:  # recording each anew would take longer than it saves
                return self.step(*arrays)
            self._shapes.add(shapes)
        try:
            return self._run(*arrays)
        except CaptureBusyError:  # another thread's call; this one need not wait
            return self.step(*arrays)
        except CaptureError as error:
            warn(f"this model runs without capture, and so more slowly: {error}")
            self._run = self.step
            return self._run(*arrays)


def learning_step(model: Model, optimizer: Optimizer, loss: Loss, executor: str | None) -> Replayed:
    """The captured step of the last `fit`, if it does the same; else a new one.

    Raises:
        SettingError: nothing is to be learned.
    """
    known, parameters = model._captured.get("step"), model.parameters()
    if not any(parameter.trainable for parameter in parameters):
        raise SettingError("fit expects a model with trainable parameters; this one has none")
    if known is None or known.executor != chosen(executor) or not known.step.does(optimizer, loss, parameters):
        known = model._captured["step"] = Replayed(Step(model, optimizer, loss), executor)
    return known


def inference(model: Model, name: str, executor: str | None = None) -> Replayed:
    """A method of the model that changes nothing, captured."""
    executor = chosen(executor)
    if name not in model._captured or model._captured[name].executor != executor:
        model._captured[name] = Replayed(getattr(model, name), executor)
    return model._captured[name]
