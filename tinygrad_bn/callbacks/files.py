"""Callbacks that write files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from errno import ENOENT
from pathlib import Path
from typing import IO, Any, ClassVar

from tinygrad_bn import names
from tinygrad_bn.callbacks.monitoring import Monitoring
from tinygrad_bn.errors import SettingError
from tinygrad_bn.models.listening import Callback, Logs
from tinygrad_bn.module.settings import flag, natural, optional, real


def _frequency(owner: Any, name: str, value: Any) -> str | int:
    return "epoch" if isinstance(value, str) and value == "epoch" else natural(owner, name, value)


class ModelCheckpoint(Monitoring):
    """Saves the model while it is trained, after each epoch or after so many batches.

    A kill at any moment leaves the old file or the new one. What was saved last is in `last`.

    Args:
        filepath: of the file, .npz or .safetensors; {epoch}, from 1, {batch}, from 1, and the names of the logs stand
            for their values, as in "{epoch:02d}-{val_loss:.2f}.npz".
        monitor: the name of the value for `save_best_only`.
        verbose: 1 says when a file is written.
        save_best_only: write only when the value is the best so far.
        save_weights_only: write no configuration: `model.load` reads such files, `tg.models.load` does not.
        mode: "min" if smaller is better, "max" if larger is; "auto" is "max" for accuracies, "min" for all others.
        save_freq: "epoch", or after how many batches.
        initial_value_threshold: with `save_best_only`, what the first value must be better than.
        training_state: write also what `fit` needs to go on as if it had never stopped; see `Model.save`.

    Raises:
        ValueError: an argument lies outside what is allowed; in training, a name is unknown.
    """

    _checks: ClassVar = {
        "filepath": lambda owner, name, value: os.fspath(value),
        "save_best_only": flag,
        "save_weights_only": flag,
        "save_freq": _frequency,
        "initial_value_threshold": optional(real),
        "training_state": flag,
    }

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
        training_state: bool = False,
    ) -> None:
        super().__init__(monitor, mode)
        self.filepath, self.verbose = os.fspath(filepath), verbose
        self.save_best_only, self.save_weights_only = save_best_only, save_weights_only
        self.save_freq, self.training_state = save_freq, training_state
        self.initial_value_threshold = initial_value_threshold
        if self.initial_value_threshold is not None:
            self.best = self.initial_value_threshold
        self.last: str | None = None
        self._epoch = self._batch = 0

    @property
    def place(self) -> int:  # type: ignore[override]
        """After all others, where it also saves what these have to remember."""
        return 2 if self.training_state else 1

    def on_train_begin(self) -> None:
        known = self.epoch_logs if self.save_freq == "epoch" else self.batch_logs
        if self.save_best_only:
            self.expect_in(known)
        if known is not None:
            self._named(dict.fromkeys(known, 0.0))
        _expect_folder(self, self.filepath.partition("{")[0])

    def on_epoch_begin(self, epoch: int) -> None:
        self._epoch, self._batch = epoch, self.steps - 1

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        self._batch = batch
        if self.save_freq != "epoch" and (self._epoch * self.steps + batch + 1) % int(self.save_freq) == 0:
            self._save(logs)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.save_freq == "epoch":
            self._save(logs)

    def _save(self, logs: Logs) -> None:
        if self.save_best_only:
            value = self.read(logs)
            if not self.improves(value, self.best):
                return
            self.best = value
        self.last = self._named(logs)
        self.model.save(self.last, weights_only=self.save_weights_only, training_state=self.training_state)
        if self.verbose:
            print(f"epoch {self._epoch + 1}: saved {self.last}")

    def _named(self, logs: Logs) -> str:
        values = {"epoch": self._epoch + 1, "batch": self._batch + 1, **logs}
        try:
            return self.filepath.format(**values)
        except KeyError as error:
            raise SettingError(names.unknown("name", error.args[0], values, "ModelCheckpoint's filepath")) from None
        except (ValueError, IndexError, TypeError, AttributeError) as error:
            raise SettingError(f"ModelCheckpoint cannot fill in {self.filepath!r}: {error}") from None


def _separator(owner: Any, name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) != 1 or value in '\r\n"':
        raise owner.error(SettingError, f"expects {name} to be one character, such as ';'; got {value!r:.60}")
    return value


class CSVLogger(Callback):
    """Writes a line with the epoch, from 0, and the logs, by name, after each epoch.

    A training that goes on from a saved state goes on in the file too: lines written after the save are removed.

    Args:
        filename: of the file.
        separator: between the values.
        append: go on in a file that is there already, whose first line must be the same.
    """

    _checks: ClassVar = {"filename": lambda owner, name, value: Path(value), "separator": _separator, "append": flag}

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        self.filename, self.separator, self.append = Path(filename), separator, append
        self._file: IO[str] | None = None
        self._length = 0  # of the file, in bytes
        self._names: list[str] = []

    def on_train_begin(self) -> None:
        _expect_folder(self, self.filename)
        self._length = self.filename.stat().st_size if self.append and self.filename.exists() else 0

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        file = self._file or self._open(["epoch", *sorted(logs)])
        self._write(file, [epoch, *(logs.get(name, "NA") for name in self._names[1:])])
        self._length = os.fstat(file.fileno()).st_size

    def on_train_end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def state_dict(self) -> dict[str, Any]:
        return {"length": self._length}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._length = state.get("length", self._length)

    def _open(self, names: list[str]) -> IO[str]:
        """The file, of which only what belongs to this training is left, with these names in its first line."""
        import csv  # what only those who log need

        self._file = file = open(self.filename, "a+", newline="", encoding="utf-8")  # noqa: SIM115 on_train_end closes it
        file.truncate(min(self._length, self.filename.stat().st_size))
        file.seek(0)
        self._names = next(csv.reader(file, delimiter=self.separator), [])
        file.seek(0, os.SEEK_END)
        if not self._names:
            self._names = names
            self._write(file, names)
        elif set(self._names) != set(names):
            wanted, got = (self.separator.join(columns) for columns in (names, self._names))
            raise SettingError(f"CSVLogger expects the columns {wanted} in {str(self.filename)!r}; got {got}")
        return file

    def _write(self, file: IO[str], values: list[Any]) -> None:
        import csv  # what only those who log need

        csv.writer(file, delimiter=self.separator, lineterminator="\n").writerow(values)
        file.flush()


def _expect_folder(callback: Callback, path: str | os.PathLike[str]) -> None:
    """Raise unless there is the folder that the file is to be in: before the first epoch, not after it."""
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        kind = type(callback).__name__
        raise FileNotFoundError(ENOENT, f"{kind} expects the folder to be there: make it before fit", folder)
