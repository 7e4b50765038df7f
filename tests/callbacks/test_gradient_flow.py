from xml.etree import ElementTree

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.autodiff import gradients as autodiff
from tinygrad_bn.callbacks import Callback, ModelCheckpoint
from tinygrad_bn.callbacks.gradient_flow import GradientFlow
from tinygrad_bn.diagnostics import gradient_flow
from tinygrad_bn.errors import SettingError

X = np.random.default_rng(0).standard_normal((96, 6)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 96)


def network():
    tg.set_random_seed(0)
    layers = [
        tg.layers.Input(6),
        tg.layers.Dense(8, "relu"),
        tg.layers.BatchNormalization(),
        tg.layers.Dense(8, "relu"),
        tg.layers.Dropout(0.2),
        tg.layers.RReLU(seed=3),
        tg.layers.Dense(3, activation="softmax"),
    ]
    model = tg.Sequential(layers)
    model.compile(tg.optimizers.Adam(0.01), "sparse_categorical_crossentropy", ["accuracy"])
    return model


@pytest.mark.parametrize("executor", ["eager", "numpy"])
def test_training_is_the_same_bits_with_and_without(executor):
    trained = {}
    for watched in (False, True):
        model = network()
        callbacks = [GradientFlow(X[:32], Y[:32])] if watched else []
        history = model.fit(X, Y, epochs=4, validation_split=0.2, callbacks=callbacks, verbose=0, executor=executor)
        trained[watched] = model.state_dict(), history.history, tg.ops.generator().random()
    (alone, logs, drawn), (watched, watched_logs, watched_drawn) = trained[False], trained[True]
    assert all(np.array_equal(alone[path], watched[path]) for path in alone)
    assert logs == watched_logs
    assert drawn == watched_drawn


class Counted(tg.layers.Dense):
    """A Dense that says how often it computes."""

    forwards = 0

    def forward(self, x):
        self.forwards += 1
        return super().forward(x)


def test_a_measurement_is_one_forward_one_sweep_and_two_more_through_each_activation_alone(monkeypatch):
    model = tg.Sequential([tg.layers.Input(6), *(Counted(8, "tanh") for _ in range(4)), Counted(3, "softmax")])
    model.compile(tg.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
    sweeps, pullback = [], autodiff.pullback

    def counted(outputs, *given, **options):
        sweeps.append(outputs[0])
        return pullback(outputs, *given, **options)

    monkeypatch.setattr(autodiff, "pullback", counted)
    callback = GradientFlow(X[:32], Y[:32])
    for epochs, callbacks, measurements in ((2, [], 0), (2, [callback], 3), (3, [callback], 4)):
        for layer in model.layers[1:]:
            layer.forwards = 0
        sweeps.clear()
        model.fit(X, Y, epochs=epochs, batch_size=32, callbacks=callbacks, verbose=0, executor="eager")
        steps = 3 * epochs
        assert [layer.forwards for layer in model.layers[1:]] == [steps + measurements] * 5
        assert sum(output.size == 1 for output in sweeps) == steps + measurements
        assert sum(output.size > 1 for output in sweeps) == 2 * 4 * measurements


def test_it_measures_before_training_and_after_every_epoch():
    model, probe = network(), (X[:32], Y[:32])
    before = gradient_flow(model, *probe, model.loss)
    callback = GradientFlow(*probe)
    model.fit(X, Y, epochs=3, callbacks=[callback], verbose=0)
    assert callback.epoch == [0, 1, 2, 3]
    assert callback.history[0].to_dict() == before.to_dict()
    assert callback.history[0].loss > callback.history[-1].loss
    model.fit(X, Y, epochs=1, callbacks=[callback], verbose=0)
    assert callback.epoch == [0, 1]  # of the last training only, as with History


def test_every_so_many_epochs_and_after_the_last():
    callback = GradientFlow(X, Y, every=2)
    network().fit(X, Y, epochs=5, callbacks=[callback], verbose=0)
    assert callback.epoch == [0, 2, 4, 5]


def test_after_the_epoch_in_which_training_is_stopped():
    class Stop(Callback):
        def on_epoch_end(self, epoch, logs):
            self.model.stop_training = epoch == 2

    callback = GradientFlow(X, Y, every=10)
    network().fit(X, Y, epochs=9, callbacks=[Stop(), callback], verbose=0)
    assert callback.epoch == [0, 3]


@pytest.mark.usefixtures("exact")
def test_a_training_that_goes_on_keeps_what_was_measured(tmp_path):
    def fit(model, epochs):
        flow = GradientFlow(X, Y)
        saving = ModelCheckpoint(tmp_path / "model.npz", training_state=True)
        model.fit(X, Y, epochs=epochs, callbacks=[flow, saving], verbose=0)
        return flow.epoch, [each.to_dict() for each in flow.history]

    whole = fit(network(), 4)
    fit(network(), 2)
    assert fit(tg.models.load(tmp_path / "model.npz", training_state=True), 4) == whole


def test_it_counts_from_the_initial_epoch():
    flow = GradientFlow(X, Y)
    network().fit(X, Y, initial_epoch=3, epochs=4, callbacks=[flow], verbose=0)
    assert flow.epoch == [3, 4]


@pytest.mark.filterwarnings("ignore:fit. the loss is nan")
def test_a_training_that_diverges_is_recorded_to_its_end(tmp_path):
    model = network()
    model.compile(tg.optimizers.SGD(1e30), "sparse_categorical_crossentropy")
    callback = GradientFlow(X, Y)
    with np.errstate(all="ignore"):
        model.fit(X, Y, epochs=2, callbacks=[callback], verbose=0)
    assert callback.history[-1].verdict == "not finite"
    callback.plot(tmp_path / "epochs.svg")


def test_the_picture(tmp_path):
    callback = GradientFlow(X, Y)
    network().fit(X, Y, epochs=3, callbacks=[callback], verbose=0)
    for name in ("one.svg", "two.svg", "one.png"):
        callback.plot(tmp_path / name)
    assert ElementTree.parse(tmp_path / "one.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(SettingError, match="GradientFlow expects every to be a positive integer; got 0"):
        GradientFlow(X, Y, every=0)
    with pytest.raises(RuntimeError, match="expects a measurement; there was none"):
        GradientFlow(X, Y).plot(tmp_path / "epochs.svg")
