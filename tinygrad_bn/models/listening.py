"""What is told how a training goes: the callbacks' base."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from tinygrad_bn.module.settings import Checked

if TYPE_CHECKING:
    from tinygrad_bn.models.model import Model

Logs = Mapping[str, float]
"""The loss and the metrics so far, by name; those of the validation data begin with "val_"."""


class Callback(Checked):
    """Is told what `fit` does. A subclass overrides the hooks that it wants.

    Attributes:
        model: the model that is trained; `model.stop_training = True` ends it after the present batch.
        epochs: how many there are to be, those before `initial_epoch` included.
        initial_epoch: the number of the first one.
        steps: how many batches make an epoch.
        batch_logs: the names in the logs that it is told of after a batch.
        epoch_logs: those after an epoch; None where that is not known, because another callback may write into them.
        adds: the names that it writes itself into the logs of an epoch.
        place: callbacks are told in the order of this, and where it is the same, in that in which they were given: 0;
            1 for who looks at all that the others have done; 2 for who also saves what these have to remember.
    """

    model: Model
    epochs: int
    initial_epoch: int = 0
    steps: int
    batch_logs: Collection[str] = ()
    epoch_logs: Collection[str] | None = None
    adds: tuple[str, ...] = ()
    place: int = 0

    def on_train_begin(self) -> None:
        """Training begins."""

    def on_train_end(self) -> None:
        """Training is over, however it ended: an error or an interrupt comes here too.

        Values that it gives the model's variables here are for who uses the model: a training that is saved after that
        goes on from those before.
        """

    def on_epoch_begin(self, epoch: int) -> None:
        """Epoch number `epoch`, from 0, begins."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """The epoch and its validation are over."""

    def on_train_batch_begin(self, batch: int) -> None:
        """Batch number `batch`, from 0, of this epoch is about to be learned from."""

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Batch number `batch`, from 0, of this epoch has been learned from; logs are means over the epoch so far."""

    def state_dict(self) -> dict[str, Any]:
        """What it has to remember for a training that is saved and goes on: numbers, texts, arrays, lists and dicts."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there, after `on_train_begin`; {} where nothing was saved."""


def told(logs: Logs) -> str:
    """The values in a line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in logs.items())
