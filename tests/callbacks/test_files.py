"""Callbacks that write files."""

import csv

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.callbacks.problem import Says, X, Y, model
from tinygrad_bn.callbacks import Callback, CSVLogger, ModelCheckpoint
from tinygrad_bn.errors import SettingError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class Watch(Callback):
    """Keeps the kernel after each epoch."""

    def __init__(self):
        self.kernels = []

    def on_epoch_end(self, epoch, logs):
        self.kernels.append(self.model.layers[0].kernel.numpy())


# ModelCheckpoint


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_a_checkpoint_after_each_epoch(tmp_path, ending):
    pytest.importorskip("safetensors")
    made, watch = model(), Watch()
    checkpoint = ModelCheckpoint(tmp_path / ("{epoch:02d}-{v:.1f}." + ending))
    made.fit(X, Y, epochs=3, callbacks=[checkpoint, watch, Says(v=[3, 1, 2])], verbose=0)
    assert names(tmp_path) == [f"01-3.0.{ending}", f"02-1.0.{ending}", f"03-2.0.{ending}"]
    assert checkpoint.last == str(tmp_path / f"03-2.0.{ending}")
    for name, kernel in zip(names(tmp_path), watch.kernels, strict=True):
        np.testing.assert_array_equal(tg.models.load(tmp_path / name).layers[0].kernel.numpy(), kernel)


@pytest.mark.parametrize(
    ("settings", "values", "saved"),
    [
        ({}, [3, 1, 2], ["1", "2"]),
        ({"mode": "max"}, [3, 1, 4], ["1", "3"]),
        ({"monitor": "accuracy"}, [0.3, 0.1, 0.4], ["1", "3"]),
        ({"initial_value_threshold": 2.5}, [3, 1, 2], ["2"]),
        ({}, [float("nan"), 5, 6], ["2"]),
    ],
)
def test_only_the_best(tmp_path, settings, values, saved):
    settings = {"monitor": "v", **settings}
    checkpoint = ModelCheckpoint(tmp_path / "{epoch}", save_best_only=True, **settings)
    model().fit(X, Y, epochs=3, callbacks=[checkpoint, Says(**{settings["monitor"]: values})], verbose=0)
    assert names(tmp_path) == saved


def test_after_so_many_batches(tmp_path):
    checkpoint = ModelCheckpoint(tmp_path / "{epoch}-{batch}", save_freq=3)
    model().fit(X, Y, batch_size=5, epochs=2, callbacks=[checkpoint], verbose=0)
    assert names(tmp_path) == ["1-3", "2-2"]


def test_the_batch_of_an_epoch_that_is_ended_early_is_the_last_that_was_taken(tmp_path):
    class Stops(Callback):
        def on_train_batch_end(self, batch, logs):
            self.model.stop_training = batch == 1

    model().fit(X, Y, batch_size=5, callbacks=[Stops(), ModelCheckpoint(tmp_path / "{batch}")], verbose=0)
    assert names(tmp_path) == ["2"]


def test_weights_only(tmp_path, capsys):
    made, other = model(), model()
    made.fit(X, Y, callbacks=ModelCheckpoint(tmp_path / "w.npz", save_weights_only=True, verbose=1), verbose=0)
    assert capsys.readouterr().out == f"epoch 1: saved {tmp_path / 'w.npz'}\n"
    other.load(tmp_path / "w.npz")
    np.testing.assert_array_equal(other.layers[0].kernel.numpy(), made.layers[0].kernel.numpy())
    with pytest.raises(SettingError, match="values without a model"):
        tg.models.load(tmp_path / "w.npz")


def test_saving_does_not_change_training(tmp_path):
    plain, saved = model(), model()
    for made, callbacks in ((plain, []), (saved, [ModelCheckpoint(tmp_path / "m", save_freq=1, training_state=True)])):
        made.fit(X, Y, batch_size=5, epochs=2, seed=1, callbacks=callbacks, verbose=0)
    assert plain.layers[0].kernel.numpy().tobytes() == saved.layers[0].kernel.numpy().tobytes()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda folder: ModelCheckpoint(folder / "{epok}"),
            "unknown name 'epok' in ModelCheckpoint's.*'epoch'",
        ),
        (lambda folder: ModelCheckpoint(folder / "{epoch:q}"), "ModelCheckpoint cannot fill in .*epoch:q"),
        (lambda folder: ModelCheckpoint(folder / "{}"), "ModelCheckpoint cannot fill in"),
        (lambda folder: ModelCheckpoint(folder / "m", save_best_only=True), "unknown monitor 'val_loss'"),
        (lambda folder: ModelCheckpoint(folder / "m", save_freq=0), "save_freq to be a positive integer; got 0"),
        (lambda folder: ModelCheckpoint(folder / "m", save_freq="batch"), "save_freq .* got 'batch'"),
        (lambda folder: ModelCheckpoint(folder / "m", mode="best"), "unknown mode 'best' in ModelCheckpoint"),
    ],
)
def test_wrong_settings(tmp_path, make, message):
    with pytest.raises(ValueError, match=message):
        model().fit(X, Y, callbacks=make(tmp_path), verbose=0)
    assert names(tmp_path) == []


# CSVLogger


def rows(path, separator=","):
    with open(path, newline="") as file:
        return list(csv.reader(file, delimiter=separator))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_line_for_each_epoch(tmp_path, separator):
    path = tmp_path / "log.csv"
    path.write_text("older")
    history = model().fit(X, Y, epochs=2, validation_split=0.2, callbacks=CSVLogger(path, separator), verbose=0).history
    columns = ["loss", "mae", "val_loss", "val_mae"]
    expected = [[str(epoch), *(repr(history[name][epoch]) for name in columns)] for epoch in (0, 1)]
    assert rows(path, separator) == [["epoch", *columns], *expected]


def test_append_goes_on_under_the_same_columns(tmp_path):
    path = tmp_path / "log.csv"
    for initial in (0, 2):
        logger = CSVLogger(path, append=True)
        model().fit(X, Y, initial_epoch=initial, epochs=initial + 2, callbacks=logger, verbose=0)
    assert [row[0] for row in rows(path)] == ["epoch", "0", "1", "2", "3"]
    with pytest.raises(SettingError, match=r"expects the columns epoch,loss,mae,val_loss,val_mae in .*; got epoch,"):
        model().fit(X, Y, validation_split=0.2, callbacks=CSVLogger(path, append=True), verbose=0)
    assert len(rows(path)) == 5


def test_append_goes_on_where_a_name_holds_the_separator(tmp_path):
    path = tmp_path / "log.csv"
    for initial in (0, 1):
        callbacks = [Says(**{"a, b": [0.5, 0.25]}), CSVLogger(path, append=True)]
        model().fit(X, Y, initial_epoch=initial, epochs=initial + 1, callbacks=callbacks, verbose=0)
    assert [row[:2] for row in rows(path)] == [["epoch", "a, b"], ["0", "0.5"], ["1", "0.25"]]


def test_a_line_is_there_as_soon_as_its_epoch_is_over(tmp_path):
    path, seen = tmp_path / "log.csv", []

    class Look(Callback):
        def on_epoch_end(self, epoch, logs):
            seen.append(len(rows(path)))

    model().fit(X, Y, epochs=2, callbacks=[CSVLogger(path), Look()], verbose=0)
    assert seen == [2, 3]


def test_a_value_that_an_epoch_lacks_is_told_as_such(tmp_path):
    class Once(Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 0:
                logs["extra"] = 1.5

    model().fit(X, Y, epochs=2, callbacks=[Once(), CSVLogger(tmp_path / "log.csv")], verbose=0)
    assert [row[1] for row in rows(tmp_path / "log.csv")] == ["extra", "1.5", "NA"]
