"""A training that was saved and goes on is, to the last bit, the one that was never interrupted."""

import copy
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.models.a_training import EPOCHS, LABELS, X, new_model, train
from tinygrad_bn.callbacks import Callback, ModelCheckpoint
from tinygrad_bn.errors import SettingError, ShapeError
from tinygrad_bn.module.arrays import read_arrays, write_arrays
from tinygrad_bn.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop
from tinygrad_bn.saving import Generators

pytestmark = pytest.mark.usefixtures("exact")

LOSS = tg.losses.SparseCategoricalCrossentropy(from_logits=True)
SCRIPT = Path(__file__).with_name("a_training.py")


def bits(arrays):
    return {name: (value.dtype.str, value.shape, value.tobytes()) for name, value in arrays.items()}


def outcome(model, history):
    return bits(model.state_dict()), bits(model.optimizer.state_dict()), history.epoch, history.history


class Killed(BaseException):
    pass


class KillAfter(Callback):
    place = 3

    def __init__(self, batches):
        self.left = batches

    def on_train_batch_end(self, batch, logs):
        self.left -= 1
        if not self.left:
            raise Killed


class KillAtOnce(Callback):
    def on_epoch_begin(self, epoch):
        raise Killed


# In other processes


def started(folder, name, seed):
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2])}
    command = [sys.executable, str(SCRIPT), str(folder / f"{name}.npz"), str(folder / f"{name} result.npz"), *seed]
    return subprocess.Popen(command, env=environment)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")
@pytest.mark.parametrize("seed", [[], ["7"]], ids=["shared generator", "seed"])
def test_killed_at_random_moments(tmp_path, seed):
    assert started(tmp_path, "whole", seed).wait() == 0
    checkpoint, moments, kills = tmp_path / "killed.npz", random.Random(len(seed)), 0
    for _ in range(40):
        process = started(tmp_path, "killed", seed)
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while process.poll() is None and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before):
            time.sleep(0.001)  # until it has written one of its own, so that all in all it gets on
        time.sleep(moments.uniform(0, 0.03))
        process.kill()
        if process.wait() == 0:
            break
        kills += 1
        tg.models.load(checkpoint, training_state=True)  # whole, whenever it was
    assert kills >= 2
    with np.load(tmp_path / "whole result.npz") as whole, np.load(tmp_path / "killed result.npz") as killed:
        assert bits(killed) == bits(whole)
        assert len(whole["history loss"]) == EPOCHS
        assert whole["clipped"] > 0
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


# In this process


@pytest.mark.parametrize("executor", ["numpy", "eager"])
@pytest.mark.parametrize("seed", [None, 4])
@pytest.mark.parametrize("batches", [7, 8, 15, 20])
def test_stopped_in_the_middle_or_at_the_end_of_an_epoch(tmp_path, batches, seed, executor):
    tg.set_random_seed(0)
    whole = outcome(*train(tmp_path / "whole.npz", seed=seed, executor=executor))
    with pytest.raises(Killed):
        train(tmp_path / "killed.npz", callbacks=[KillAfter(batches)], seed=seed, executor=executor)
    tg.set_random_seed(99)  # another process would have drawn other numbers by now
    np.testing.assert_equal(outcome(*train(tmp_path / "killed.npz", seed=seed, executor=executor)), whole)
    assert (tmp_path / "killed.npz.csv").read_text() == (tmp_path / "whole.npz.csv").read_text()


def test_callbacks_that_stand_behind_the_checkpoint_are_in_it(tmp_path):
    whole = outcome(*train(tmp_path / "whole.npz", save_freq="epoch"))
    train(tmp_path / "part.npz", epochs=2, save_freq="epoch")
    np.testing.assert_equal(outcome(*train(tmp_path / "part.npz", save_freq="epoch")), whole)


def test_other_checkpoints_know_what_they_saved_last(tmp_path):
    """Killed right after an epoch: no worse epoch takes the place of the best one."""

    class Says(Callback):
        def on_epoch_end(self, epoch, logs):
            logs["v"] = (1.0, 0.5, 0.8, 0.9)[epoch]

    def checkpoints(name):
        last = ModelCheckpoint(tmp_path / f"{name}.npz", training_state=True)
        return [last, ModelCheckpoint(tmp_path / f"{name} {{epoch}}.npz", "v", save_best_only=True), Says()]

    model = new_model()
    model.fit(X, LABELS, epochs=2, callbacks=checkpoints("best"), verbose=0)
    model = tg.models.load(tmp_path / "best.npz", training_state=True)
    model.fit(X, LABELS, epochs=4, callbacks=checkpoints("best"), verbose=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best 1.npz", "best 2.npz", "best.npz"]


def test_a_training_that_was_stopped_early_stays_stopped(tmp_path):
    """Killed between its last checkpoint and its end: the best weights come back all the same."""
    whole = outcome(*train(tmp_path / "whole.npz", epochs=30, save_freq="epoch", patience=1))
    assert len(whole[2]) < 30
    again = outcome(*train(tmp_path / "whole.npz", epochs=30, save_freq="epoch", patience=1))
    np.testing.assert_equal(again, whole)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("then", [True, False])
def test_an_epoch_goes_on_in_the_order_in_which_it_was_begun_and_the_next_as_is_said_now(first, then, tmp_path):
    path, seen = tmp_path / "model.npz", []

    class Sees(tg.layers.Layer):
        def forward(self, x):
            if self.training:
                seen.append(x[:, 0].tolist())
            return x

    def fit(model, shuffle, *callbacks, epochs=3):
        rows = np.arange(60.0).repeat(5).reshape(60, 5)
        settings = {"batch_size": 20, "shuffle": shuffle, "executor": "eager", "verbose": 0}
        model.fit(rows, LABELS[:60], epochs=epochs, callbacks=callbacks, **settings)

    def orders():
        return np.reshape(seen, (3, 60)).tolist()

    def new():
        seen.clear()
        tg.set_random_seed(0)
        return compiled(tg.Sequential([Sees(input_shape=(5,)), tg.layers.Dense(2)]))

    model = new()
    for epochs, shuffle in enumerate([first, then, then], 1):
        fit(model, shuffle, epochs=epochs)
        model.save(path, training_state=True)
        model.load(path, training_state=True)
    whole = orders()
    model = new()
    for killed, shuffle in ((1, first), (4, then)):  # in the first epoch, and in the next
        with pytest.raises(Killed):
            fit(model, shuffle, KillAfter(killed))
        model.save(path, training_state=True)
        tg.set_random_seed(99)
        model.load(path, training_state=True)
    fit(model, then)
    assert orders() == whole
    assert [order == sorted(order) for order in whole] == [not first, not then, not then]


def test_a_state_that_is_saved_before_the_first_batch_of_an_epoch_keeps_its_order(tmp_path):
    path = tmp_path / "model.npz"

    class Saves(Callback):
        def on_train_batch_begin(self, batch):
            if self.model.optimizer.iterations == 3:
                self.model.save(path, training_state=True)

    model = new_model()
    whole = outcome(model, model.fit(X, LABELS, epochs=3, callbacks=Saves(), verbose=0))
    tg.set_random_seed(99)
    model = tg.models.load(path, training_state=True)
    np.testing.assert_equal(outcome(model, model.fit(X, LABELS, epochs=3, verbose=0)), whole)


def test_what_was_saved_after_fit_goes_on_too(tmp_path):
    def trained(*parts, through=None):
        model = new_model()
        for number, epochs in enumerate(parts):
            if number and through:
                model.save(tmp_path / through, training_state=True)
                tg.set_random_seed(99)
                model = tg.models.load(tmp_path / through, training_state=True)
            history = model.fit(X, LABELS, epochs=epochs, verbose=0)
        return outcome(model, history)

    whole = trained(5)
    for name in ("a.npz", "a.safetensors"):
        if name.endswith("s"):
            pytest.importorskip("safetensors")
        np.testing.assert_equal(trained(2, 4, 5, through=name), whole)


def test_a_model_made_by_hand_takes_over_a_training(tmp_path):
    whole = outcome(*train(tmp_path / "whole.npz"))
    with pytest.raises(Killed):
        train(tmp_path / "killed.npz", callbacks=[KillAfter(11)])
    model = new_model()
    model.load(tmp_path / "killed.npz", training_state=True)
    model.save(tmp_path / "killed.npz", training_state=True)  # what is not yet taken up is not lost
    np.testing.assert_equal(outcome(*train(tmp_path / "killed.npz")), whole)


def test_a_schedule_goes_on_where_it_stood(tmp_path):
    def trained(first):
        model = new_model()
        model.compile(tg.optimizers.SGD(tg.schedules.CosineDecay(0.1, 20), momentum=0.9, nesterov=True), model.loss)
        model.fit(X, LABELS, epochs=first, verbose=0, seed=1)
        model.save(tmp_path / "model.npz", training_state=True)
        model = tg.models.load(tmp_path / "model.npz", training_state=True) if first < 6 else model
        history = model.fit(X, LABELS, epochs=6, verbose=0, seed=1) if first < 6 else model.history
        return outcome(model, history)

    np.testing.assert_equal(trained(3), trained(6))


@pytest.mark.parametrize("saved", ["within", "after"])
def test_an_interrupt_among_the_callbacks_of_an_epoch_leaves_no_hole(tmp_path, saved):
    path = tmp_path / "model.npz"

    class Interrupts(Callback):
        def on_epoch_end(self, epoch, logs):
            logs["score"] = float(epoch)
            if epoch == 2:
                if saved == "within":
                    self.model.save(path, training_state=True)
                raise Killed

    class Scores(Callback):
        def on_epoch_end(self, epoch, logs):
            logs["score"] = float(epoch)

    model = new_model()
    whole = outcome(model, model.fit(X, LABELS, epochs=5, callbacks=Scores(), verbose=0))
    model = new_model()
    with pytest.raises(Killed):
        model.fit(X, LABELS, epochs=5, callbacks=Interrupts(), verbose=0)
    if saved == "after":
        model.save(path, training_state=True)
    tg.set_random_seed(99)
    model = tg.models.load(path, training_state=True)
    np.testing.assert_equal(outcome(model, model.fit(X, LABELS, epochs=5, callbacks=Scores(), verbose=0)), whole)


# Slots go with their parameters


def compiled(model, optimizer=None):
    model.compile(optimizer or SGD(0.01, momentum=0.9, nonfinite="skip"), LOSS)
    return model


def two_layers(optimizer=None):
    layers = tg.layers.Dense(5, "tanh", input_shape=(5,)), tg.layers.Dense(5)
    return compiled(tg.Sequential(layers), optimizer)


def fitted(model, epochs=2):
    model.fit(X, LABELS, epochs=epochs, verbose=0)
    return model


def with_a_new_head():
    model = fitted(two_layers())
    model.layers.pop()
    model.add(tg.layers.Dense(5))
    return model


def with_a_head_of_another_shape():
    model = fitted(two_layers())
    model.layers.pop()
    model.add(tg.layers.Dense(7))
    model.add(tg.layers.Dense(2))
    return model


def with_a_layer_in_front():
    model = fitted(two_layers())
    model.layers.insert(0, tg.layers.Dense(5, "tanh", input_shape=(5,)))
    return model


def with_a_step_of_the_last_layer_alone():
    model = two_layers()
    model.loss(LABELS, model(tg.tensor(X))).backward()
    model.optimizer.step(model.layers[1].parameters())
    model.zero_grad()
    return model


def after_another_model():
    return two_layers(optimizer=fitted(two_layers()).optimizer)


def once_frozen():
    model = two_layers()
    model.layers[0].trainable = False
    fitted(model).layers[0].trainable = True
    return model


WAYS = [
    with_a_new_head,
    with_a_head_of_another_shape,
    with_a_layer_in_front,
    with_a_step_of_the_last_layer_alone,
    after_another_model,
    once_frozen,
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("by_hand", [False, True], ids=["load", "model.load"])
def test_slots_go_with_their_parameters_in_whatever_order_they_were_met(way, by_hand, tmp_path):
    def made():
        tg.set_random_seed(0)
        return way()

    whole = fitted(made(), 4)
    fitted(made()).save(tmp_path / "model.npz", training_state=True)
    model = made()  # it has met others, in the order of its own past
    if by_hand:
        model.load(tmp_path / "model.npz", training_state=True)
    else:
        model = tg.models.load(tmp_path / "model.npz", training_state=True)
    fitted(model, 4)
    assert model.history.history == whole.history.history
    assert bits(model.state_dict()) == bits(whole.state_dict())


def test_slots_go_by_the_paths_of_parameters_as_values_do(tmp_path):
    class Swapped(tg.Model):
        def __init__(self, first, second):
            for name in (first, second):
                setattr(self, name, tg.layers.Dense(5, "tanh", input_shape=(5,)))

        def forward(self, x):
            return self.b(self.a(x))

    def new(*names):
        tg.set_random_seed(0)
        return compiled(Swapped(*names))

    whole = fitted(new("a", "b"), 4)
    fitted(new("a", "b")).save(tmp_path / "model.npz", weights_only=True, training_state=True)
    model = new("b", "a")
    model.load(tmp_path / "model.npz", training_state=True)
    assert fitted(model, 4).history.history == whole.history.history


def with_slots_by_place(path, model, shift=0):
    """Such files were written once: the places are those of the parameters in whoever trained them."""
    paths = list(model.state_dict())

    def change(arrays, state):
        slots = state["slots"]["dict"]
        for key in [key for key in slots if "." in key]:
            name, _, slot = key.rpartition(".")
            slots[f"{paths.index(name) + shift}.{slot}"] = slots.pop(key)
        del state["position"]["dict"]["values"]

    model.save(path, training_state=True)
    spoil(path, change)
    return path


def test_files_with_slots_by_place_go_on_where_these_can_be_the_places_of_the_model(tmp_path):
    path = tmp_path / "model.npz"
    tg.set_random_seed(0)
    whole = fitted(two_layers(), 4)
    tg.set_random_seed(0)
    with_slots_by_place(path, fitted(two_layers()))
    assert fitted(tg.models.load(path, training_state=True), 4).history.history == whole.history.history
    with_slots_by_place(path, fitted(two_layers()), shift=1)
    with pytest.raises(ShapeError, match=r"SGD expects layers\.0\.bias\.velocity of the shape of its parameter"):
        tg.models.load(path, training_state=True)
    with_slots_by_place(path, fitted(two_layers()), shift=4)
    with pytest.raises(SettingError, match=r"SGD expects slots of the model's 4 parameters; got 4\.velocity"):
        tg.models.load(path, training_state=True)


# What callbacks do in the end


class Averaging(Callback):
    """Leaves the mean of the weights after all epochs, as many do."""

    def on_train_begin(self):
        self.sum, self.count = {}, 0

    def on_epoch_end(self, epoch, logs):
        self.count += 1
        self.sum = {path: self.sum.get(path, 0) + value for path, value in self.model.state_dict().items()}

    def on_train_end(self):
        if self.count:
            self.model.load_state_dict({path: value / self.count for path, value in self.sum.items()})

    def state_dict(self):
        return {"sum": self.sum, "count": self.count}

    def load_state_dict(self, state):
        self.sum, self.count = dict(state["sum"]), state["count"]


class SavesInTheEnd(Callback):
    def __init__(self, path):
        self.path = path

    def on_train_end(self):
        self.model.save(self.path, training_state=True)


def stopping(monitor="val_loss", mode="auto", restore=True):
    return tg.callbacks.EarlyStopping(monitor, patience=30, mode=mode, restore_best_weights=restore)


ENDINGS = {
    "the best epoch told": lambda: [stopping("loss", "max", restore=False)],
    "the best weights": lambda: [stopping("loss", "max")],
    "the best by two measures": lambda: [stopping(), stopping("loss", "max")],
    "the mean of all weights": lambda: [Averaging()],
}


@pytest.mark.parametrize("saved", ["after", "within"])
@pytest.mark.parametrize("ended", ["at its end", "by an interrupt"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_whatever_callbacks_leave_in_the_end_the_training_goes_on_from_where_it_stood(ending, ended, saved, tmp_path):
    path = tmp_path / "model.npz"

    def trained(model, *more, epochs=8):
        callbacks = ENDINGS[ending]()
        with suppress(Killed):
            model.fit(X, LABELS, epochs=epochs, validation_split=0.5, callbacks=[*callbacks, *more], verbose=0)
        return model.history and (*outcome(model, model.history), [each.state_dict() for each in callbacks])

    whole = trained(new_model())
    model, ends = new_model(), [SavesInTheEnd(path)] if saved == "within" else []
    trained(model, *ends, *([] if ended == "at its end" else [KillAfter(7)]), epochs=4)
    if saved == "after":
        model.save(path, training_state=True)
    for epochs in (4, 8):  # one that has nothing left to do changes nothing
        assert bits(tg.models.load(path).state_dict()) == bits(model.state_dict())
        model = tg.models.load(path, {"Averaging": Averaging}, training_state=True)
        if epochs == 8:  # neither does one that fails before its first step
            trained(model, KillAtOnce())
        again = trained(model, epochs=epochs)
        model.save(path, training_state=True)
    np.testing.assert_equal(again, whole)


def test_values_that_come_later_than_the_end_stay(tmp_path):
    """By hand, before the training was saved or after it was loaded; also where layers came or went."""

    class Watches(Callback):
        def on_train_batch_begin(self, batch):
            if batch == 0:
                self.first = bits(self.model.state_dict())

    def resumed(before, after):
        model, watch = two_layers(), Watches()
        model.fit(X, LABELS, epochs=4, callbacks=stopping("loss", "max"), verbose=0)
        before(model)
        model.save(tmp_path / "model.npz", training_state=True)
        model = tg.models.load(tmp_path / "model.npz", training_state=True)
        after(model)
        expected = bits(model.state_dict())
        model.fit(X, LABELS, epochs=5, callbacks=[stopping("loss", "max"), watch], verbose=0)
        return expected == watch.first

    def by_hand(model):
        model.layers[0].kernel.assign(np.ones((5, 5)))

    def in_front(model):
        model.layers.insert(0, tg.layers.Activation("tanh", input_shape=(5,)))

    nothing = id
    assert [resumed(by_hand, nothing), resumed(nothing, by_hand), resumed(in_front, nothing)] == [True] * 3
    assert not resumed(nothing, nothing)


def test_values_that_nobody_has_put_others_for_are_in_the_file_once(tmp_path):
    fitted(two_layers(optimizer=SGD(0.01))).save(tmp_path / "model.npz", training_state=True)
    arrays, _ = read_arrays(tmp_path / "model.npz")
    assert [array.shape for array in arrays.values()].count((5, 5)) == 2  # the two kernels


# initial_epoch


def test_initial_epoch_numbers_the_epochs():
    model = new_model()
    seen = []

    class Spy(Callback):
        def on_train_begin(self):
            seen.append((self.initial_epoch, self.epochs))

    assert model.fit(X, LABELS, initial_epoch=3, epochs=5, callbacks=Spy(), verbose=0).epoch == [3, 4]
    assert seen == [(3, 5)]
    for wrong in (5, 7):
        with pytest.raises(ValueError, match=f"epochs, the number of the last one, to be above initial_epoch={wrong}"):
            model.fit(X, LABELS, initial_epoch=wrong, epochs=5, verbose=0)
    for wrong in (-1, 1.5, True):
        with pytest.raises(ValueError, match="fit expects initial_epoch to be an integer not below 0"):
            model.fit(X, LABELS, initial_epoch=wrong, epochs=5, verbose=0)


def test_initial_epoch_must_be_where_a_loaded_training_stands(tmp_path):
    model = new_model()
    model.fit(X, LABELS, epochs=2, verbose=0)
    model.save(tmp_path / "model.npz", training_state=True)
    model = tg.models.load(tmp_path / "model.npz", training_state=True)
    with pytest.raises(SettingError, match=r"fit expects initial_epoch=2, where .* stands, or None; got 1"):
        model.fit(X, LABELS, epochs=5, initial_epoch=1, verbose=0)
    assert model.fit(X, LABELS, epochs=3, initial_epoch=2, verbose=0).epoch == [0, 1, 2]
    assert model.fit(X, LABELS, epochs=1, verbose=0).epoch == [0]  # a new training
    assert tg.models.load(tmp_path / "model.npz").fit(X, LABELS, verbose=0).epoch == [0]


class Largest(tg.metrics.Metric):
    """Keeps a list, as users' metrics may."""

    def __init__(self):
        super().__init__(None, "largest")

    def reset(self):
        self.seen = []

    def update(self, y_true, y_pred):
        self.seen.append(float(y_pred.max()))

    def result(self):
        return sum(self.seen)


def test_a_metric_that_keeps_a_list_goes_on_too(tmp_path):
    def compiled(path):
        model = new_model()
        model.compile("sgd", "sparse_categorical_crossentropy", [Largest()])
        return model, ModelCheckpoint(path, save_freq=5, training_state=True)

    model, saving = compiled(tmp_path / "whole.npz")
    whole = model.fit(X, LABELS, batch_size=8, callbacks=[saving], verbose=0, seed=1).history
    tg.set_random_seed(99)
    model = tg.models.load(tmp_path / "whole.npz", {"Largest": Largest}, training_state=True)
    assert model.fit(X, LABELS, batch_size=8, verbose=0).history == whole


# What does not fit together


def test_other_data_in_the_middle_of_an_epoch_are_refused(tmp_path):
    with pytest.raises(Killed):
        train(tmp_path / "killed.npz", callbacks=[KillAfter(4)])
    model = tg.models.load(tmp_path / "killed.npz", training_state=True)
    with pytest.raises(SettingError, match=r"fit expects 63 samples in batches of 8, as when .*; got 70 samples in b"):
        model.fit(X, LABELS, batch_size=8, verbose=0)
    with pytest.raises(SettingError, match=r"fit expects .* in batches of 8, .*; got 63 samples in batches of 9"):
        model.fit(X[:63], LABELS[:63], batch_size=9, verbose=0)


def test_a_state_needs_the_optimizer_that_it_is_of(tmp_path):
    model = new_model()
    model.save(tmp_path / "state.npz", training_state=True)
    other = tg.Sequential.__new__(type(model))
    other.__init__(new_model().layers)
    with pytest.raises(RuntimeError, match="expects a compiled model: call compile first"):
        other.load(tmp_path / "state.npz", training_state=True)
    with pytest.raises(RuntimeError, match="expects a compiled model: call compile first"):
        other.save(tmp_path / "none.npz", training_state=True)
    other.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(SettingError, match="compiled with Adam, as the one that was saved; got SGD"):
        other.load(tmp_path / "state.npz", training_state=True)
    other.load(tmp_path / "state.npz")
    model.save(tmp_path / "plain.npz")
    for load in (model.load, tg.models.load):
        with pytest.raises(SettingError, match=r"finds no state of a training .*save\(path, training_state=True\)"):
            load(tmp_path / "plain.npz", training_state=True)


def cosine(steps):
    return tg.schedules.CosineDecay(0.1, steps)


OTHERS = [
    (Adam(amsgrad=True), Adam(), r"Adam\(amsgrad=True\), as the one that was saved; got Adam\(amsgrad=False\)"),
    (Adam(), Adam(amsgrad=True), r"Adam\(amsgrad=False\).*; got Adam\(amsgrad=True\)"),
    (Adam(), AdamW(), r"Adam, .*; got AdamW$"),
    (SGD(cosine(20)), SGD(0.05), r"learning_rate=schedules\.CosineDecay\(.*decay_steps=20.*got .*=a number\)"),
    (SGD(0.05), SGD(cosine(20)), r"SGD\(learning_rate=a number\).*; got SGD\(learning_rate=sch"),
    (SGD(cosine(20)), SGD(cosine(30)), r"decay_steps=20.*; got .*decay_steps=30"),
    (SGD(lambda step: 0.1), SGD(cosine(20)), r"learning_rate=a function\).*; got SGD\(learning_rate=schedules"),
    (SGD(0.1, 0.9, nesterov=True), SGD(0.1, 0.9), "nesterov=True"),
    (SGD(clipnorm=1.0), SGD(), r"SGD\(clipnorm=1.0\).*; got SGD\(clipnorm=None\)"),
    (SGD(clipnorm=1.0), SGD(clipvalue=1.0), r"clipvalue=None, clipnorm=1.0.*; got SGD\(clipvalue=1.0, clipnorm=None"),
    (SGD(clipnorm=1.0), SGD(clipnorm=2.0), r"clipnorm=1.0\).*clipnorm=2.0"),
    (SGD(nonfinite="skip"), SGD(nonfinite="zero"), r"nonfinite=skip\).*nonfinite=zero"),
    (SGD(weight_decay=0.1), SGD(), r"weight_decay=a number\).*weight_decay=None"),
    (SGD(), SGD(weight_decay=0.1), r"weight_decay=None\).*weight_decay=a number"),
    (RMSprop(centered=True), RMSprop(), r"centered=True\).*centered=False"),
    (Adagrad(initial_accumulator_value=0.0), Adagrad(), r"value=0.0\).*value=0.1"),
]


def with_optimizer(optimizer, epochs=1):
    model = new_model()
    model.compile(copy.deepcopy(optimizer), model.loss)
    model.fit(X, LABELS, epochs=epochs, verbose=0, executor="numpy")
    return model


def expect_nothing_changed(model, load, error, message):
    """Whatever there is, and what the model does next, is as without the load that failed."""
    figures = ("norm", "factor", "acted", "alarms", "blamed")

    def everything():
        clipping = model.optimizer.clipping
        told = clipping and [getattr(clipping, figure) for figure in figures]
        place = model.history, model._position, model._position.epoch, model._position.pending
        values = bits(model.state_dict()), bits(model.optimizer.state_dict()), repr(model.optimizer), repr(told)
        return *values, *place, repr(Generators(model).states())

    before, twin = everything(), copy.deepcopy(model)
    with pytest.raises(error, match=message):
        load()
    assert everything() == before
    model.train()
    twin.train()
    after = [outcome(each, each.fit(X, LABELS, epochs=2, seed=1, verbose=0)) for each in (model, twin)]
    assert after[0][:2] != before[:2]
    np.testing.assert_equal(after[0], after[1])


@pytest.mark.parametrize(("saved", "present", "message"), OTHERS)
def test_a_state_of_another_optimizer_changes_nothing(tmp_path, saved, present, message):
    with_optimizer(saved).save(tmp_path / "state.npz", weights_only=True, training_state=True)
    model = with_optimizer(present, epochs=2)
    model.layers[2].rate = model.layers[3].rate = 0.0  # so that a model and its twin draw the same: nothing
    load = partial(model.load, tmp_path / "state.npz", training_state=True)
    expect_nothing_changed(model, load, SettingError, f"expects a model compiled with .*{message}")


def test_rates_that_are_numbers_are_those_of_the_file(tmp_path):
    saved = with_optimizer(SGD(0.1, momentum=0.9, weight_decay=0.1, clipnorm=0.5, nonfinite="skip"))
    saved.save(tmp_path / "state.npz", weights_only=True, training_state=True)
    model = new_model()
    model.compile(SGD(0.5, momentum=0.0, weight_decay=0.2, clipnorm=0.5, nonfinite="skip"), model.loss)
    model.load(tmp_path / "state.npz", training_state=True)
    assert repr(model.optimizer) == repr(saved.optimizer)
    assert bits(model.optimizer.state_dict()) == bits(saved.optimizer.state_dict())
    assert model.optimizer.clipping.acted == saved.optimizer.clipping.acted > 0


def test_schedules_of_ones_own_are_compared_by_their_kind(tmp_path):
    with pytest.warns(UserWarning, match="will not serve to compile"):
        with_optimizer(SGD(lambda step: 0.1)).save(tmp_path / "state.npz", training_state=True)
    model = with_optimizer(SGD(lambda step: 0.2))
    model.load(tmp_path / "state.npz", training_state=True)
    assert model.optimizer.learning_rate == 0.2


def spoil(path, change):
    arrays, about = read_arrays(path)
    state = about["training"]["dict"]
    change(arrays, state)
    write_arrays(path, arrays, about)


SPOILED = {
    "slots": (
        lambda arrays, state: arrays.update({state["slots"]["dict"]["layers.0.bias.momentum"]["array"]: np.ones(99)}),
        r"layers\.0\.bias\.momentum of the shape of its parameter",
    ),
    "clipping": (lambda arrays, state: state["clipping"]["dict"].pop("acted"), "does not go together.*acted"),
    "blamed": (
        lambda arrays, state: state["clipping"]["dict"].update(blamed=[[[99], [1]]]),
        "does not go together.*IndexError",
    ),
    "weights": (lambda arrays, state: arrays.pop("layers.0.bias"), "layers.0.bias is missing"),
    "generators": (
        lambda arrays, state: state["position"]["dict"]["generators"]["dict"].update(own={"dict": {}}),
        "expects a model with generators at",
    ),
    "optimizer": (lambda arrays, state: state.update(optimizer="Adam"), "does not go together"),
}


@pytest.mark.parametrize("part", SPOILED)
def test_a_spoiled_state_changes_nothing(tmp_path, part):
    path = tmp_path / "state.npz"
    saved, model = (with_optimizer(Adam(0.01, clipnorm=0.5), epochs) for epochs in (1, 2))
    saved.save(path, weights_only=True, training_state=True)
    change, message = SPOILED[part]
    spoil(path, change)
    model.layers[2].rate = model.layers[3].rate = 0.0
    expect_nothing_changed(model, partial(model.load, path, training_state=True), (SettingError, ShapeError), message)


def test_a_failed_checkpoint_leaves_the_last_one(tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    new_model().fit(X, LABELS, verbose=0, callbacks=ModelCheckpoint(path))
    before = path.read_bytes()

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(np.lib.format, "write_array", fail)
    with pytest.raises(OSError, match="disk full"):
        new_model().fit(X, LABELS, verbose=0, callbacks=ModelCheckpoint(path))
    assert path.read_bytes() == before
    tg.models.load(path)


def test_whose_gradients_were_not_finite_is_remembered(tmp_path):
    def new():
        model = new_model()
        model.compile(tg.optimizers.Adam(0.01, nonfinite="skip"), "sparse_categorical_crossentropy")
        return model

    def spoiled_step(model):
        for parameter in model.parameters():
            parameter.grad = np.zeros(parameter.shape, np.float32)
        kernel = model.layers[0].kernel
        kernel.grad = np.full(kernel.shape, np.nan, np.float32)
        model.optimizer.step(model.parameters())

    first, again = new(), new()
    spoiled_step(first)
    first.save(tmp_path / "state.npz", training_state=True)
    again.load(tmp_path / "state.npz", training_state=True)
    assert list(again.optimizer.clipping.blamed.values()) == [1]
    spoiled_step(again)
    assert list(again.optimizer.clipping.blamed.values()) == [2]


def test_whose_gradients_were_not_finite_is_known_by_paths_and_in_older_files_by_places():
    def new(sizes):
        model = tg.Sequential([tg.layers.Dense(size, input_shape=2 if place == 0 else None) for place, size in sizes])
        model.compile(SGD(0.1, nonfinite="skip"), "mse")
        return model

    def blamed(model):
        return {path: model.optimizer.clipping.blamed.get(p.name, 0) for path, p in model.named_parameters()}

    model = new([(0, 3), (1, 2)])
    for place, parameter in enumerate(model.parameters()):
        parameter.name = f"p{place}"
        parameter.grad = np.full(parameter.shape, np.nan if place == 1 else 0.0, np.float32)
    model.optimizer.step(model.parameters())
    state = model.optimizer.clipping.state_of(dict(model.named_parameters()))
    assert state["blamed"] == {"layers.0.bias": 1}
    for older in (state["blamed"], [[[0, 1, 2, 3], np.array([0, 1, 0, 0])]]):
        wider = new([(0, 3), (1, 4), (2, 2)])
        for place, parameter in enumerate(wider.parameters()):
            parameter.name = f"q{place}"
        wider.optimizer.clipping.load_state_of(dict(wider.named_parameters()), {**state, "blamed": older})
        assert {path for path, times in blamed(wider).items() if times} == {"layers.0.bias"}


def test_a_copy_that_is_taken_in_training_begins_its_epoch_anew(tmp_path):
    class Copies(Callback):
        def on_train_batch_end(self, batch, logs):
            if batch == 1:
                self.copy = copy.deepcopy(self.model)

    copies = Copies()
    new_model().fit(X, LABELS, batch_size=16, epochs=2, callbacks=[copies], verbose=0)
    copies.copy.save(tmp_path / "copy.npz", training_state=True)
    loaded = tg.models.load(tmp_path / "copy.npz", training_state=True)
    history = loaded.fit(X[:50], LABELS[:50], batch_size=10, epochs=2, verbose=0)
    assert history.epoch == [1]
