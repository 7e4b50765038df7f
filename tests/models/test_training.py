"""fit: that it learns, that it can be repeated bit for bit, and what it leaves behind however it ends."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.callbacks import Callback
from tinygrad_bn.layers import BatchNormalization, Dense, Dropout, Flatten
from tinygrad_bn.optimizers import SGD

rng = np.random.default_rng(0)
X = rng.normal(size=(50, 3)).astype(np.float32)
Y = X @ [[1.0], [-2.0], [0.5]] + 0.25
LABELS = (Y[:, 0] > 0).astype(np.int64)


def line():
    """One neuron with a bias, untrained."""
    model = tg.Sequential([Dense(1, kernel_initializer="zeros", input_shape=(3,))])
    model.compile(SGD(0.1), "mse")
    return model


def classifier(*layers):
    model = tg.Sequential([*layers, Dense(2, activation="softmax")])
    model.compile(SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy", ["accuracy"])
    return model


def bits(model):
    return {path: value.tobytes() for path, value in model.state_dict().items()}


def test_it_learns_to_read_digits():
    (x_train, y_train), (x_test, y_test) = tg.datasets.load_digits()
    tg.set_random_seed(0)
    model = tg.Sequential(
        [
            Flatten(input_shape=(8, 8)),
            BatchNormalization(momentum=0.9),
            Dense(50, activation="elu", kernel_initializer="he_normal"),
            Dense(10, activation="softmax"),
        ]
    )
    model.compile(SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy", ["accuracy"])
    history = model.fit(x_train, y_train, epochs=5, validation_data=(x_test, y_test), verbose=0)
    assert history.history["accuracy"][-1] > 0.95
    loss, accuracy = model.evaluate(x_test, y_test)
    assert accuracy > 0.93
    measured = [history.history[name][-1] for name in ("val_loss", "val_accuracy")]
    np.testing.assert_allclose(measured, [loss, accuracy], rtol=1e-6)  # the same bits, unless compiled
    assert np.mean(model.predict(x_test).argmax(axis=-1) == y_test) == accuracy


def test_it_finds_the_least_squares_line():
    model = line()
    history = model.fit(X, Y, batch_size=10, epochs=60, verbose=0)
    dense = model.layers[0]
    np.testing.assert_allclose(dense.kernel.numpy()[:, 0], [1.0, -2.0, 0.5], atol=1e-4)
    np.testing.assert_allclose(dense.bias.numpy(), 0.25, atol=1e-4)
    assert history.history["loss"][-1] < 1e-7 < history.history["loss"][0]


def test_an_epoch_is_the_steps_written_by_hand():
    """Without shuffling: batches in order, the last one smaller, each step SGD on the mean loss of its batch."""
    model, w, b, losses = line(), np.zeros((3, 1)), np.zeros(1), []
    history = model.fit(X, Y, batch_size=16, shuffle=False, verbose=0)
    for start in range(0, 50, 16):
        x, y = X[start : start + 16].astype(float), Y[start : start + 16]
        error = x @ w + b - y
        losses += list((error**2)[:, 0])
        w, b = w - 0.1 * 2 * x.T @ error / len(x), b - 0.1 * 2 * error.mean(axis=0)
    np.testing.assert_allclose(model.layers[0].kernel.numpy(), w, rtol=1e-4)
    np.testing.assert_allclose(model.layers[0].bias.numpy(), b, rtol=1e-4)
    np.testing.assert_allclose(history.history["loss"], np.mean(losses), rtol=1e-5)


def test_every_sample_is_seen_once_in_an_epoch_in_a_new_order_each_time():
    seen = []

    class Spy(tg.Model):
        def __init__(self):
            self.dense = Dense(1, input_shape=(1,))

        def forward(self, x):
            if self.in_training:
                seen.extend(np.asarray(x)[:, 0].tolist())
            return self.dense(x)

    x = np.arange(25, dtype=np.float32)[:, None]
    for shuffle in (True, False):
        seen.clear()
        model = Spy()
        model.compile(SGD(0.0), "mse")
        model.fit(x, x, batch_size=8, epochs=2, shuffle=shuffle, verbose=0, executor="eager")
        first, second = seen[:25], seen[25:]
        assert sorted(first) == sorted(second) == list(range(25))
        assert (first != second) is shuffle
        assert (first != sorted(first)) is shuffle


@pytest.mark.parametrize("how", ["shared generator", "seed"])
def test_the_same_seed_gives_the_same_bits(how):
    def trained(seed):
        tg.set_random_seed(seed if how == "shared generator" else 7)
        model = classifier(Dense(8, activation="relu"), BatchNormalization(), Dropout(0.2))
        model.fit(X, LABELS, epochs=2, verbose=0, seed=seed if how == "seed" else None)
        return bits(model)

    assert trained(1) == trained(1)
    assert trained(1) != trained(2)


def test_validation_takes_the_last_samples_and_changes_nothing():
    model, other = (classifier(Dense(4), BatchNormalization(momentum=0.5)) for _ in range(2))
    for each in (model, other):
        tg.set_random_seed(3)
        each(X[:1], training=False)
        each.history = None
    tg.set_random_seed(4)
    history = model.fit(X, LABELS, epochs=2, validation_split=0.25, verbose=0).history
    tg.set_random_seed(4)
    other.fit(X[:37], LABELS[:37], epochs=2, verbose=0)
    assert bits(model) == bits(other)
    measured = [history["val_loss"][-1], history["val_accuracy"][-1]]
    np.testing.assert_allclose(measured, other.evaluate(X[37:], LABELS[37:]), rtol=1e-6)  # the same, unless compiled


def test_it_ends_in_inference_mode_without_gradients():
    model = classifier(Dense(4), Dropout(0.5))
    assert model.training
    model.fit(X, LABELS, verbose=0)
    assert not any(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_error_or_an_interrupt_leaves_a_model_that_can_go_on(error):
    ends = []

    class Interrupt(Callback):
        def on_train_batch_end(self, batch, logs):
            if batch == 1 and len(self.model.history.epoch) == 2:
                raise error

        def on_train_end(self):
            ends.append(True)

    model = classifier(Dense(4))
    with pytest.raises(error):
        model.fit(X, LABELS, epochs=5, verbose=0, callbacks=[Interrupt()])
    assert ends == [True]
    assert model.history.epoch == [0, 1]
    assert not any(module.training for module in model.modules())
    assert np.isfinite(model.evaluate(X, LABELS)[0])
    model.fit(X, LABELS, verbose=0)


class Stops(Callback):
    """Raises in one hook, `after` so many calls of it."""

    def __init__(self, hook, after=0):
        self.left = after
        setattr(self, hook, self.count)

    def count(self, *_):
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("stopped")


class Stopping(Stops):
    """The hooks of batches are called where a class has them."""

    def on_train_batch_begin(self, batch):
        pass

    def on_train_batch_end(self, batch, logs):
        pass


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_train_batch_begin"])
def test_a_fit_that_fails_before_its_first_step_leaves_history_and_position(hook, tmp_path):
    model = classifier(Dense(4))
    with pytest.raises(RuntimeError, match="stopped"):
        model.fit(X, LABELS, verbose=0, callbacks=Stopping(hook))
    assert model.history is None
    history = model.fit(X, LABELS, epochs=3, verbose=0)
    with pytest.raises(RuntimeError, match="stopped"):
        model.fit(X, LABELS, epochs=5, verbose=0, callbacks=Stopping(hook))
    with pytest.raises(ValueError, match="seed"):
        model.fit(X, LABELS, epochs=5, verbose=0, seed=-1)
    assert model.history is history
    assert history.epoch == [0, 1, 2]
    model.save(tmp_path / "model.npz", training_state=True)
    again = tg.models.load(tmp_path / "model.npz", training_state=True)
    with pytest.raises(RuntimeError, match="stopped"):  # what was loaded is not lost either
        again.fit(X, LABELS, epochs=5, verbose=0, callbacks=Stopping(hook))
    assert again.fit(X, LABELS, epochs=5, verbose=0).epoch == [0, 1, 2, 3, 4]


def test_a_fit_that_fails_after_its_first_step_has_a_history_of_its_own():
    model = classifier(Dense(4))
    history = model.fit(X, LABELS, epochs=3, verbose=0)
    with pytest.raises(RuntimeError, match="stopped"):
        model.fit(X, LABELS, epochs=5, verbose=0, callbacks=Stopping("on_train_batch_end"))
    assert model.history is not history
    assert model.history.epoch == []


def test_only_what_is_trainable_learns():
    model = classifier(Dense(4, input_shape=(3,)), BatchNormalization())
    model.layers[0].trainable = False
    before = bits(model)
    model.fit(X, LABELS, verbose=0)
    changed = {path for path, value in bits(model).items() if value != before[path]}
    assert changed == {
        *(f"layers.1.{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")),
        *(f"layers.2.{name}" for name in ("kernel", "bias")),
    }
    model.trainable = False
    with pytest.raises(ValueError, match="trainable parameters; this one has none"):
        model.fit(X, LABELS, verbose=0)


def test_a_model_of_ones_own_with_a_skip_connection_trains_the_same_way():
    class Skipping(tg.Model):
        def __init__(self):
            self.inner, self.last = Dense(3, activation="tanh"), Dense(1)

        def forward(self, x):
            return self.last(x + self.inner(x))

    tg.set_random_seed(0)
    model = Skipping()
    model.compile(SGD(0.05, momentum=0.9), "mse", ["mae"])
    history = model.fit(X, Y, epochs=40, verbose=0, seed=0).history
    assert history["mae"][-1] < 0.3 * history["mae"][0]
    assert list(model.state_dict()) == ["inner.kernel", "inner.bias", "last.kernel", "last.bias"]


def test_a_function_is_a_loss_in_fit():
    model = line()
    model.compile(SGD(0.1), lambda y_true, y_pred: tg.square(y_true - y_pred))
    usual = line()
    for each in (model, usual):
        each.fit(X, Y, seed=0, verbose=0)
    assert bits(model) == bits(usual)


def test_integer_pixels_and_doubles_train_a_float32_net():
    for x in (rng.integers(0, 255, (20, 4), np.uint8), rng.normal(size=(20, 4)), rng.random((20, 4)).tolist()):
        model = classifier(Dense(4))
        model.fit(x, np.arange(20) % 2, verbose=0)
        assert {value.dtype for value in model.state_dict().values()} == {np.dtype("float32")}
        assert model.predict(x).dtype == np.float32


def test_diverging_is_told_once_at_the_users_line():
    model = line()
    model.optimizer.learning_rate = 1e6
    with pytest.warns(UserWarning, match=r"fit: the loss is (nan|inf) in epoch \d+\. Lower the learning rate") as told:
        history = model.fit(X, Y, epochs=10, verbose=0)
    assert [warning.filename for warning in told] == [__file__]
    assert not np.isfinite(history.history["loss"][-1])


def test_predict_and_evaluate_do_not_depend_on_batches_and_leave_the_mode_alone():
    model = classifier(Dense(4), BatchNormalization(momentum=0.5), Dropout(0.5))
    model.fit(X, LABELS, epochs=2, verbose=0)
    model.train()
    before = bits(model)
    np.testing.assert_allclose(model.predict(X, batch_size=7), model.predict(X, batch_size=50), rtol=1e-5)
    np.testing.assert_allclose(
        model.evaluate(X, LABELS, batch_size=7), model.evaluate(X, LABELS, batch_size=50), rtol=1e-5
    )
    assert type(model.predict(X)) is np.ndarray
    assert model.training
    assert bits(model) == before


def test_evaluate_is_a_number_a_list_or_a_dict(capsys):
    assert type(line().evaluate(X, Y)) is float
    model = classifier()
    loss, accuracy = model.evaluate(X, LABELS)
    again = model.evaluate(X, LABELS, return_dict=True, verbose=1)
    assert again == pytest.approx({"loss": loss, "accuracy": accuracy}, rel=1e-6)  # the same bits, unless compiled
    assert capsys.readouterr().out.startswith("loss ")


def test_evaluate_says_when_moving_averages_are_too_young_to_be_used():
    model = classifier(BatchNormalization(), Dense(3), BatchNormalization())
    model.evaluate(X, LABELS)  # an untrained model is not news
    model.fit(X, LABELS, epochs=3, validation_split=0.2, verbose=0)
    with pytest.warns(UserWarning, match=r'"layers.0" has .* after 6 updates with momentum=0.99 94% of them') as told:
        model.evaluate(X, LABELS)
    assert len(told) == 1
    assert told[0].filename == __file__
    assert not any("update" in path for path in model.state_dict())
    model.fit(X, LABELS, epochs=32, verbose=0)
    model.evaluate(X, LABELS)


def test_averages_that_were_loaded_are_not_young():
    model = classifier(BatchNormalization(input_shape=(3,)))
    model.fit(X, LABELS, verbose=0)
    other = classifier(BatchNormalization(input_shape=(3,)))
    other.load_state_dict(model.state_dict())
    other.evaluate(X, LABELS)
    other.fit(X, LABELS, verbose=0)
    other.evaluate(X, LABELS)


@pytest.mark.parametrize(
    ("activation", "loss", "left"),
    [("relu", lambda y, p: 3.0, "the loss"), (lambda t: t.numpy(), "mse", "some layer")],
)
def test_a_step_off_the_graph_is_said(activation, loss, left):
    model = tg.Sequential([tg.layers.Dense(1, activation=activation, input_shape=(2,))])
    model.compile("sgd", loss)
    with pytest.raises(TypeError, match=f"a loss that depends on the parameters: {left} left the graph"):
        model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0, executor="eager")


def test_none_stands_for_no_metrics_and_no_callbacks():
    model = tg.Sequential([tg.layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse", None)
    assert list(model.fit(np.ones((4, 2)), np.ones((4, 1)), callbacks=None, verbose=0).history) == ["loss"]
    with pytest.raises(TypeError, match="compile expects metrics to be names or Metrics, in a list; got 3"):
        model.compile("sgd", "mse", 3)


def test_a_second_fit_uses_the_program_of_the_first():
    model = classifier(Dense(3, input_shape=(3,)))
    for _ in range(3):
        model.fit(X[:32], LABELS[:32], epochs=2, verbose=0, executor="numpy")
        model.evaluate(X, LABELS)
    assert len(model._captured["step"]._run.programs) == 1
