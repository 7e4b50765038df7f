import numpy as np
import pytest

import tinygrad_bn as tg
from tests.callbacks.problem import Says, X, Y, model
from tinygrad_bn.callbacks import Callback, EarlyStopping, TerminateOnNaN
from tinygrad_bn.layers import Dense


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
        ({"baseline": 1.5}, [3, 2, 2, 1, 0], 1, 2),
        ({"baseline": 1.5, "patience": 2}, [3, 2, 1, 1, 1], 2, 4),
        ({"start_from_epoch": 2}, [1, 2, 3, 2, 5], 3, 4),
        ({"mode": "max", "baseline": 3}, [4, 5, 6, 7, 6], 3, 4),
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
    with pytest.raises(ValueError, match="EarlyStopping expects monitor to be the name of a value; got 3"):
        EarlyStopping(monitor=3)
    with pytest.raises(ValueError, match="unknown mode 'maximum'"):
        EarlyStopping(mode="maximum")
    for patience in (-1, "3", 1.5):
        with pytest.raises(ValueError, match=f"EarlyStopping expects patience to be .* 0; got {patience!r}"):
            EarlyStopping(patience=patience)
    with pytest.raises(ValueError, match="EarlyStopping expects min_delta to be a finite number not below 0; got -1"):
        EarlyStopping(min_delta=-1)


def test_early_stopping_says_so_if_it_is_asked_to(capsys):
    model().fit(X, Y, epochs=5, callbacks=[Says(v=[2, 1, 3, 0, 0]), EarlyStopping("v", verbose=1)], verbose=0)
    assert capsys.readouterr().out == "epoch 3: early stopping; best was epoch 2\n"


def test_without_any_improvement_the_first_weights_that_were_looked_at_come_back():
    made = model()
    kernels = []

    class Watch(Callback):
        def on_epoch_end(self, epoch, logs):
            kernels.append(self.model.layers[0].kernel.numpy())

    stopping = EarlyStopping("v", patience=2, restore_best_weights=True)
    made.fit(X, Y, epochs=5, callbacks=[Watch(), Says(v=[np.nan] * 5), stopping], verbose=0)
    assert len(kernels) == 2
    np.testing.assert_array_equal(made.layers[0].kernel.numpy(), kernels[0])


@pytest.mark.parametrize("restore", [False, True])
def test_what_was_best_is_known_after_the_end_too(restore, tmp_path):
    """A training that is saved then, and goes on, does not take its next epoch for the best."""
    settings = {"monitor": "v", "patience": 5, "restore_best_weights": restore}
    made = model()
    made.fit(X, Y, epochs=3, callbacks=[Says(v=[2, 1, 3]), EarlyStopping(**settings)], verbose=0)
    made.save(tmp_path / "model.npz", training_state=True)
    again, stopping = tg.models.load(tmp_path / "model.npz", training_state=True), EarlyStopping(**settings)
    again.fit(X, Y, epochs=5, callbacks=[Says(v=[None, None, None, 3, 2]), stopping], verbose=0)
    assert (stopping.best, stopping.best_epoch, stopping.wait) == (1, 1, 3)
    assert (again.layers[0].kernel.numpy().tobytes() == made.layers[0].kernel.numpy().tobytes()) == restore


def test_the_best_weights_of_other_layers_are_forgotten(tmp_path):
    def stopping():
        return EarlyStopping("v", patience=5, restore_best_weights=True)

    made = model()
    made.fit(X, Y, epochs=2, callbacks=[Says(v=[1, 2]), stopping()], verbose=0)
    made.add(Dense(1))
    made.save(tmp_path / "model.npz", training_state=True)
    again, best = tg.models.load(tmp_path / "model.npz", training_state=True), stopping()
    again.fit(X, Y, epochs=4, callbacks=[Says(v=[None, None, 4, 5]), best], verbose=0)
    assert (best.best, best.best_epoch) == (4, 2)
