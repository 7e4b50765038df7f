import sys

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.callbacks import Callback, EarlyStopping, ProgressBar, TerminateOnNaN
from tinygrad_bn.layers import Dense
from tinygrad_bn.models import History
from tinygrad_bn.optimizers import SGD

X = np.random.default_rng(0).normal(size=(20, 2))
Y = X @ [[1.0], [2.0]]


def model(rate=0.1):
    made = tg.Sequential([Dense(1, kernel_initializer="zeros", input_shape=(2,))])
    made.compile(SGD(rate), "mse", ["mae"])
    return made


class Says(Callback):
    """Writes values of its own into the logs, as if they had been measured."""

    def __init__(self, **values):
        self.values = values

    def on_epoch_end(self, epoch, logs):
        logs |= {name: values[epoch] for name, values in self.values.items()}


def test_the_hooks_in_order():
    told = []

    class Listener(Callback):
        def on_train_begin(self):
            told.append(("begin", self.epochs, self.steps))

        def on_epoch_begin(self, epoch):
            told.append(("epoch", epoch))

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
            *(("batch", b, ["loss", "mae"]) for b in (0, 1)),
            ("over", n, ["loss", "mae", "val_loss", "val_mae"]),
        ]
        for n in (0, 1)
    ]
    assert told == [("begin", 2, 2), *epochs[0], *epochs[1], ("end",)]


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


def test_terminate_on_nan_ends_after_the_batch():
    made = model(rate=1e30)
    history = made.fit(X, Y, batch_size=2, epochs=5, callbacks=[TerminateOnNaN()], verbose=0)
    assert len(history.epoch) == 1
    assert not np.isfinite(history.history["loss"][0])


@pytest.mark.parametrize(
    ("settings", "values", "best", "stopped"),
    [
        ({}, [3, 2, 2, 1, 1], 1, 2),
        ({"patience": 1}, [3, 2, 2, 1, 1], 1, 2),
        ({"patience": 2}, [3, 2, 2, 1, 1], 3, None),
        ({"patience": 2}, [3, 2, 2, 2, 1], 1, 3),
        ({"min_delta": 0.5}, [3, 2, 1.6, 1, 0], 1, 2),
        ({"monitor": "accuracy"}, [0.1, 0.3, 0.2, 0.4, 0.5], 1, 2),
        ({"mode": "max"}, [3, 4, 2, 5, 6], 1, 2),
        ({}, [np.nan, 1, 2, 0, 0], 1, 2),
    ],
)
def test_early_stopping(settings, values, best, stopped):
    stopping = EarlyStopping(**{"monitor": "value", **settings})
    says = Says(**{stopping.monitor: values})
    history = model().fit(X, Y, epochs=5, callbacks=[says, stopping], verbose=0)
    assert (stopping.best_epoch, stopping.stopped_epoch) == (best, stopped)
    assert len(history.epoch) == (5 if stopped is None else stopped + 1)


def test_early_stopping_can_go_back_to_the_best_weights():
    made = model()
    kernels = []

    class Watch(Callback):
        def on_epoch_end(self, epoch, logs):
            kernels.append(self.model.layers[0].kernel.numpy())

    stopping = EarlyStopping("value", patience=2, restore_best_weights=True)
    made.fit(X, Y, epochs=5, callbacks=[Watch(), Says(value=[3, 1, 2, 2, 0]), stopping], verbose=0)
    assert len(kernels) == 4
    np.testing.assert_array_equal(made.layers[0].kernel.numpy(), kernels[1])


def test_early_stopping_wants_what_exists():
    with pytest.raises(ValueError, match=r"unknown monitor 'val_los' in EarlyStopping\. Did you mean 'val_loss'"):
        model().fit(X, Y, validation_split=0.5, callbacks=EarlyStopping("val_los"), verbose=0)
    with pytest.raises(ValueError, match="unknown mode 'maximum'"):
        EarlyStopping(mode="maximum")
    for patience in (-1, "3", 1.5):
        with pytest.raises(ValueError, match=f"EarlyStopping expects patience to be .* 0; got {patience!r}"):
            EarlyStopping(patience=patience)
    with pytest.raises(ValueError, match="EarlyStopping expects min_delta to be a finite number not below 0; got -1"):
        EarlyStopping(min_delta=-1)


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
