import sys
from functools import partial

import pytest

from tests.callbacks.problem import Says, X, Y, model
from tinygrad_bn.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    GradientFlow,
    ModelCheckpoint,
    ProgressBar,
    ReduceLROnPlateau,
)
from tinygrad_bn.errors import SettingError
from tinygrad_bn.models import History
from tinygrad_bn.optimizers import SGD


def test_the_hooks_in_order():
    told = []

    class Listener(Callback):
        def on_train_begin(self):
            told.append(("begin", self.epochs, self.steps))

        def on_epoch_begin(self, epoch):
            told.append(("epoch", epoch))

        def on_train_batch_begin(self, batch):
            told.append(("opens", batch))

        def on_train_batch_end(self, batch, logs):
            told.append(("batch", batch, sorted(logs)))

        def on_epoch_end(self, epoch, logs):
            told.append(("over", epoch, sorted(logs)))

        def on_train_end(self):
            told.append(("end",))

    made, listener = model(), Listener()
    made.fit(X, Y, batch_size=15, epochs=2, validation_data=(X, Y), callbacks=[listener], verbose=0)
    assert listener.model is made
    epochs = [
        [
            ("epoch", n),
            *(each for b in (0, 1) for each in (("opens", b), ("batch", b, ["loss", "mae"]))),
            ("over", n, ["loss", "mae", "val_loss", "val_mae"]),
        ]
        for n in (0, 1)
    ]
    assert told == [("begin", 2, 2), *epochs[0], *epochs[1], ("end",)]


def test_hooks_as_keras_writes_them():
    told = []

    class Listener(Callback):
        def on_train_begin(self, logs=None):
            told.append(logs)

        def on_epoch_begin(self, epoch, logs=None):
            told.append((epoch, logs))

        def on_train_batch_begin(self, batch, logs=None):
            told.append((batch, logs))

        def on_epoch_end(self, epoch, logs=None):
            told.append((epoch, logs["loss"]))

        def on_train_end(self, logs=None):
            told.append(logs)

    history = model().fit(X, Y, callbacks=[Listener()], verbose=0)
    assert told == [None, (0, None), (0, None), (0, history.history["loss"][0]), None]


def test_what_a_callback_adds_to_the_logs_is_in_the_history():
    history = model().fit(X, Y, epochs=2, callbacks=[Says(score=[3.0, 4.0])], verbose=0)
    assert history.history["score"] == [3.0, 4.0]


def test_an_epoch_in_which_a_callback_fails_is_in_the_history_all_the_same():
    class Fails(Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 1:
                raise RuntimeError("fails")

    made = model()
    with pytest.raises(RuntimeError, match="fails"):
        made.fit(X, Y, epochs=4, callbacks=[Says(score=[3.0, 4.0]), Fails(), Says(late=[5.0, 6.0])], verbose=0)
    assert made.history.epoch == [0, 1]
    assert made.history.history["score"] == [3.0, 4.0]
    assert made.history.history["late"] == [5.0]
    assert len(made.history.history["loss"]) == 2


def test_evaluating_in_a_batch_does_not_touch_the_metrics_of_the_training():
    class Evaluates(Callback):
        def on_train_batch_end(self, batch, logs):
            logs["mae"]
            self.model.evaluate(X[:2], Y[:2])

    def history(callbacks):
        made = model()
        made.compile("sgd", "mse", ["mae"])
        return made.fit(X, Y, batch_size=5, callbacks=callbacks, verbose=0, seed=0).history

    assert history([Evaluates()])["mae"] == pytest.approx(history([])["mae"])


def test_history(tmp_path):
    made = model()
    history = made.fit(X, Y, epochs=3, validation_split=0.2, verbose=0)
    assert history is made.history
    assert history.epoch == [0, 1, 2]
    assert list(history.history) == ["loss", "mae", "val_loss", "val_mae"]
    assert all(len(values) == 3 and type(values[0]) is float for values in history.history.values())
    assert repr(history).startswith(f"History(3 epochs: loss {history.history['loss'][-1]:.4g}, ")
    pytest.importorskip("matplotlib")
    for name, start in [("h.svg", b"<?xml"), ("h.png", b"\x89PNG")]:
        history.plot(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)
    with pytest.raises(RuntimeError, match="at least one epoch"):
        History().plot(tmp_path / "none.svg")


class FailsAt(Callback):
    """Raises in one of the hooks."""

    def __init__(self, hook):
        setattr(self, hook, self.fail)

    def fail(self):
        raise KeyError("the real error")


@pytest.mark.parametrize("title", [None, "run"])
@pytest.mark.parametrize("style", ["bar", "lines"])
def test_the_error_of_another_callback_is_not_hidden(title, style, capsys):
    bar = ProgressBar(style, title=title)
    with pytest.raises(KeyError, match="the real error"):
        model().fit(X, Y, callbacks=[FailsAt("on_train_begin"), bar], verbose=0)
    model().fit(X, Y, callbacks=bar, verbose=0)
    capsys.readouterr()
    with pytest.raises(KeyError, match="the real error"):
        model().fit(X, Y, callbacks=[FailsAt("on_train_begin"), bar], verbose=0)
    assert capsys.readouterr().out == ""


def test_all_are_told_the_end_even_where_one_fails():
    told = []

    class Ends(Callback):
        def on_train_end(self):
            told.append(self.model.training)

    made = model()
    with pytest.raises(KeyError, match="the real error"):
        made.fit(X, Y, callbacks=[Ends(), FailsAt("on_train_end"), Ends()], verbose=0)
    assert told == [False, False]


def test_silence(capsys):
    model().fit(X, Y, epochs=2, verbose=0)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("verbose", ["auto", 2])
def test_a_plain_line_for_each_epoch_where_nothing_can_be_drawn_over(verbose, capsys):
    model().fit(X, Y, epochs=2, validation_split=0.2, verbose=verbose)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": loss ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert all("val_mae" in line and line.endswith(" s") and line.isascii() for line in lines)


def test_a_bar_for_each_epoch(capsys):
    pytest.importorskip("tqdm")
    model().fit(X, Y, batch_size=1, epochs=2, verbose=1)
    out = capsys.readouterr().out
    assert "epoch 1/2: 100%" in out
    assert "epoch 2/2: 100%" in out
    assert "20/20" in out
    assert "mae" in out


def test_without_tqdm_a_bar_becomes_plain_lines(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    model().fit(X, Y, verbose=1)
    assert capsys.readouterr().out.startswith("epoch 1/1: loss")


@pytest.mark.parametrize(("style", "shown"), [("bar", "100%"), ("lines", "ReLU + He, epoch 3/3: loss")])
def test_a_title_makes_one_of_the_whole_training(style, shown, capsys):
    if style == "bar":
        pytest.importorskip("tqdm")
    model().fit(X, Y, epochs=3, callbacks=[ProgressBar(style, title="ReLU + He")], verbose=0)
    out = capsys.readouterr().out
    assert shown in out
    assert out.count("\n") == 1


def test_a_bar_is_closed_when_training_is_interrupted(capsys):
    tqdm = pytest.importorskip("tqdm.auto").tqdm

    class Interrupt(Callback):
        def on_train_batch_end(self, batch, logs):
            if batch == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model().fit(X, Y, batch_size=1, callbacks=[Interrupt()], verbose=1)
    assert not list(getattr(tqdm, "_instances", []))
    assert "3/20" in capsys.readouterr().out


def test_styles():
    with pytest.raises(ValueError, match=r"unknown style 'bars' in ProgressBar\. Did you mean 'bar'"):
        ProgressBar("bars")


# What callbacks expect is known before the first step


@pytest.mark.parametrize(
    "kind", [EarlyStopping, ReduceLROnPlateau, partial(ModelCheckpoint, "x.npz", save_best_only=True)]
)
@pytest.mark.parametrize(
    ("monitor", "settings"), [("val_loss", {}), ("val_los", {"validation_split": 0.2}), ("accuracy", {})]
)
def test_a_monitor_that_will_not_exist_is_refused_before_anything_is_trained(kind, monitor, settings):
    made = model()
    before = made.state_dict()
    with pytest.raises(ValueError, match=f"unknown monitor '{monitor}' in"):
        made.fit(X, Y, callbacks=[kind(monitor=monitor)], verbose=0, **settings)
    assert all(value.tobytes() == before[path].tobytes() for path, value in made.state_dict().items())


@pytest.mark.parametrize("monitor", ["loss", "mae", "val_loss", "val_mae", "clipping_rate", "gradient_norm"])
def test_a_monitor_that_will_exist_is_waited_for(monitor):
    made = model()
    made.compile(SGD(0.1, clipnorm=1.0), "mse", ["mae"])
    assert made.fit(X, Y, validation_split=0.2, callbacks=EarlyStopping(monitor), verbose=0).epoch == [0]


def test_what_another_callback_writes_can_be_monitored():
    callbacks = [
        ReduceLROnPlateau("loss"),
        EarlyStopping("learning_rate", mode="max"),
        Says(own=[1.0]),
        EarlyStopping("own"),
    ]
    assert model().fit(X, Y, callbacks=callbacks, verbose=0).epoch == [0]
    with pytest.raises(ValueError, match="unknown monitor 'own' in EarlyStopping"):
        model().fit(X, Y, callbacks=[Says(other=[1.0]), EarlyStopping("own")], verbose=0)


def test_what_is_told_of_a_batch_is_less_than_of_an_epoch(tmp_path):
    by_batches = partial(ModelCheckpoint, save_freq=1)
    for checkpoint in (by_batches(tmp_path / "x.npz", save_best_only=True), by_batches(tmp_path / "{val_loss}.npz")):
        with pytest.raises(ValueError, match=r"unknown .* 'val_loss' in ModelCheckpoint"):
            model().fit(X, Y, validation_split=0.2, callbacks=checkpoint, verbose=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("template", ["{los}", "{}", "{loss:d}", "{loss", "{loss[0]}", "{loss.best}"])
def test_a_template_that_cannot_be_filled_in_is_refused_before_anything_is_trained(template, tmp_path):
    made = model()
    before = made.state_dict()
    with pytest.raises(ValueError, match="ModelCheckpoint"):
        made.fit(X, Y, callbacks=ModelCheckpoint(tmp_path / template), verbose=0)
    assert all(value.tobytes() == before[path].tobytes() for path, value in made.state_dict().items())


@pytest.mark.parametrize("kind", [ModelCheckpoint, CSVLogger])
@pytest.mark.parametrize("file", ["nowhere/file", "nowhere/{epoch}/file"])
def test_a_folder_that_is_not_there_is_known_before_anything_is_trained(kind, file, tmp_path):
    made = model()
    before = made.state_dict()
    with pytest.raises(FileNotFoundError, match=f"{kind.__name__} expects the folder to be there.*nowhere"):
        made.fit(X, Y, callbacks=kind(tmp_path / file), verbose=0)
    assert all(value.tobytes() == before[path].tobytes() for path, value in made.state_dict().items())


@pytest.mark.parametrize("separator", ["ab", "", "\n", '"', 3])
def test_a_separator_is_one_character(separator, tmp_path):
    with pytest.raises(ValueError, match="CSVLogger expects separator to be one character, such as ';'; got"):
        CSVLogger(tmp_path / "log.csv", separator=separator)


@pytest.mark.parametrize(
    ("callback", "name", "wrong"),
    [
        (EarlyStopping(), "restore_best_weights", "no"),
        (EarlyStopping(), "patience", -1),
        (EarlyStopping(), "verbose", "no"),
        (EarlyStopping(), "baseline", "a"),
        (EarlyStopping(), "mode", "maximum"),
        (EarlyStopping(), "monitor", 3),
        (ReduceLROnPlateau(), "factor", 1),
        (ReduceLROnPlateau(), "cooldown", 0.5),
        (ModelCheckpoint("a.npz"), "save_best_only", "no"),
        (ModelCheckpoint("a.npz"), "save_weights_only", 2),
        (ModelCheckpoint("a.npz"), "training_state", None),
        (ModelCheckpoint("a.npz"), "save_freq", "batch"),
        (CSVLogger("a.csv"), "append", "no"),
        (CSVLogger("a.csv"), "separator", ""),
        (GradientFlow(X, Y), "every", 0),
        (ProgressBar(), "style", "bars"),
        (ProgressBar(), "leave", "no"),
    ],
    ids=lambda thing: thing if isinstance(thing, str) else type(thing).__name__,
)
def test_a_setting_is_checked_whenever_it_is_set(callback, name, wrong):
    before = getattr(callback, name)
    with pytest.raises(SettingError, match=rf"{type(callback).__name__}|^unknown {name}"):
        setattr(callback, name, wrong)
    assert getattr(callback, name) == before
