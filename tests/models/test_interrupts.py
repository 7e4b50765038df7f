"""Ctrl-C in `fit` comes between batches: what is saved then goes on, to the last bit, as if none had come."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.interrupts import interrupted
from tests.models.a_training import EPOCHS, LABELS, Slowly, X, new_model
from tinygrad_bn.callbacks import Callback
from tinygrad_bn.models.interrupts import Interrupts

pytestmark = pytest.mark.usefixtures("exact")


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


class At(Callback):
    """Does something once, behind a batch."""

    def __init__(self, do, number=3):
        self.do, self.left, self.batches = do, number, 0

    def on_train_batch_end(self, batch, logs):
        self.batches += 1
        if self.batches == self.left:
            self.do()


def fit(model, *callbacks, executor="eager"):
    return model.fit(
        X, LABELS, batch_size=16, epochs=EPOCHS, validation_split=0.3, callbacks=callbacks, verbose=0, executor=executor
    )


def outcome(model):
    arrays = {**model.state_dict(), **model.optimizer.state_dict()}
    return {name: value.tobytes() for name, value in arrays.items()}, model.history.epoch, model.history.history


def resumed(model, path, executor):
    model.save(path, training_state=True)
    tg.set_random_seed(99)
    model = tg.models.load(path, training_state=True)
    fit(model, executor=executor)
    return model


@pytest.mark.parametrize(("executor", "latest", "tries"), [("eager", 600_000, 20), ("numpy", 2_200_000, 8)])
def test_an_interrupt_at_any_moment_leaves_whole_batches(executor, latest, tries, tmp_path):
    whole = new_model()
    fit(whole, executor=executor)
    moments = random.Random(0)
    came = 0
    for _ in range(tries):
        model = new_model()
        came += interrupted(lambda model=model: fit(model, executor=executor), moments.randrange(latest), ctrl_c)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        np.testing.assert_equal(outcome(resumed(model, tmp_path / "model.npz", executor)), outcome(whole))
    assert came > tries / 2


class Interrupted(tg.layers.Layer):
    """Ctrl-C in the middle of a forward."""

    times = 1

    def forward(self, x):
        Interrupted.calls += 1
        if Interrupted.calls == 3:
            for _ in range(self.times):
                ctrl_c()
        return x


def with_an_interrupt(times):
    model = new_model()
    Interrupted.calls, Interrupted.times = 0, times
    model.layers.insert(3, Interrupted())
    return model


def test_the_batch_is_ended_first_but_a_second_interrupt_comes_at_once():
    for times, steps in ((1, 3), (2, 2)):
        model, counts = with_an_interrupt(times), At(None, 99)
        with pytest.raises(KeyboardInterrupt):
            fit(model, counts)
        assert counts.batches == model.optimizer.iterations == steps
        assert not model.layers[1].training
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_in_the_last_batch_is_not_lost():
    model = new_model()
    with pytest.raises(KeyboardInterrupt):
        fit(model, At(ctrl_c, number=4 * EPOCHS))
    assert len(model.history.epoch) in (EPOCHS - 1, EPOCHS)


def test_one_that_waits_while_a_callback_fails_is_not_lost():
    def fail():
        ctrl_c()
        raise OSError

    with pytest.raises(KeyboardInterrupt) as caught:
        fit(new_model(), At(fail))
    assert isinstance(caught.value.__context__, OSError)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_in_validation_comes_at_once(monkeypatch, tmp_path):
    whole = new_model()
    fit(whole)

    def measure(*_):
        ctrl_c()
        raise AssertionError

    model = new_model()
    monkeypatch.setattr(model, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        fit(model)
    monkeypatch.undo()
    np.testing.assert_equal(outcome(resumed(model, tmp_path / "model.npz", "eager")), outcome(whole))


def test_a_fit_within_a_fit_ends_behind_its_own_batch():
    inner, ends = new_model(), At(ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        fit(new_model(), At(lambda: fit(inner, ends)))
    assert ends.batches == inner.optimizer.iterations == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_handlers_of_others_stay():
    came = []

    def own(number, frame):
        came.append(number)

    before = signal.signal(signal.SIGINT, own)
    try:
        fit(new_model(), At(ctrl_c))  # goes on: its owner wants no exception
        assert came == [signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) is own
        signal.signal(signal.SIGINT, before)
        fit(new_model(), At(lambda: signal.signal(signal.SIGINT, own)))
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_handler_that_outlives_its_fit_is_pythons():
    kept = []
    fit(new_model(), At(lambda: kept.append(signal.getsignal(signal.SIGINT))))
    assert isinstance(kept[0], Interrupts)
    with pytest.raises(KeyboardInterrupt):
        kept[0](signal.SIGINT, None)


def test_other_threads_fit_without_a_handler():
    histories = []
    thread = Thread(target=lambda: histories.append(fit(new_model())))
    thread.start()
    thread.join()
    assert len(histories[0].epoch) == EPOCHS


# With signals of the system


def a_training(path, result):
    """Goes on where it was interrupted."""
    model = tg.models.load(path, training_state=True) if path.exists() else new_model()
    print("begun", flush=True)
    try:
        fit(model, Slowly(), executor="numpy")
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        model.save(path, training_state=True)
        sys.exit(2)
    np.savez(result, **model.state_dict(), loss=model.history.history["loss"])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT for one process")
def test_real_signals_at_random_moments(tmp_path):
    command = [sys.executable, __file__, str(tmp_path / "model.npz"), str(tmp_path / "result.npz")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    moments, interrupts = random.Random(0), 0
    for _ in range(60):
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            process.stdout.readline()
            time.sleep(moments.uniform(0, 0.03))
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
        if (tmp_path / "result.npz").exists():
            break
        interrupts += process.returncode == 2
    assert interrupts > 2
    whole = new_model()
    fit(whole, executor="numpy")
    with np.load(tmp_path / "result.npz") as result:
        values = {**whole.state_dict(), "loss": np.array(whole.history.history["loss"])}
        assert {name: result[name].tobytes() for name in result} == {n: v.tobytes() for n, v in values.items()}


if __name__ == "__main__":
    a_training(*map(Path, sys.argv[1:]))
