"""What fit and evaluate tell: penalties, clipping, warnings at the user's line."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.layers import Dense
from tinygrad_bn.optimizers import SGD

rng = np.random.default_rng(0)
X = rng.normal(size=(48, 3)).astype(np.float32)
Y = (X @ np.array([[1.0], [-2.0], [0.5]])).astype(np.float32)
executors = pytest.mark.parametrize("executor", ["eager", "numpy"])


def line(rate=0.1, regularizer=None, **clipping):
    tg.set_random_seed(1)
    model = tg.Sequential([Dense(1, kernel_regularizer=regularizer, input_shape=(3,))])
    model.compile(SGD(rate, **clipping), "mse")
    return model


# Penalties


@executors
def test_the_loss_includes_the_penalties(executor):
    """As Keras reports it: of the weights before each step."""
    model = line(0.1, tg.regularizers.L1L2(0.1, 0.2))
    kernel = model.layers[0].kernel.numpy()
    expected = line().evaluate(X, Y) + 0.1 * np.abs(kernel).sum() + 0.2 * np.square(kernel).sum()
    np.testing.assert_allclose(model.evaluate(X, Y), expected, rtol=1e-6)
    history = model.fit(X, Y, batch_size=48, validation_data=(X, Y), verbose=0, executor=executor).history
    np.testing.assert_allclose(history["loss"][0], expected, rtol=1e-6)
    assert history["val_loss"][0] == pytest.approx(model.evaluate(X, Y), rel=1e-6) != history["loss"][0]


def test_a_penalty_is_captured_with_the_same_bits():
    told = []
    for executor in ("eager", "numpy"):
        model = line(0.1, "l2")
        history = model.fit(X, Y, batch_size=10, epochs=3, seed=0, verbose=0, executor=executor).history
        told.append((history["loss"], model.layers[0].kernel.numpy().tobytes()))
    assert told[0] == told[1]


def test_what_is_not_learned_has_no_penalty():
    model = line(0.1, "l2")
    with_penalty = model.evaluate(X, Y)
    model.layers[0].kernel.trainable = False
    without = model.evaluate(X, Y)
    penalty = 0.01 * np.square(model.layers[0].kernel.numpy()).sum()
    np.testing.assert_allclose(with_penalty - without, penalty, rtol=1e-4)


# Bars


def test_a_bar_that_is_given_takes_the_place_of_the_usual_one(capsys):
    for given, verbose, lines in (([], 2, 3), ([tg.callbacks.ProgressBar("lines")], 2, 3), ([], 0, 0)):
        line().fit(X, Y, epochs=3, verbose=verbose, callbacks=given)
        assert len(capsys.readouterr().out.splitlines()) == lines
    line().fit(X, Y, epochs=3, verbose="auto", callbacks=tg.callbacks.ProgressBar("lines", title="all"))
    assert capsys.readouterr().out.startswith("all, epoch 3/3: loss")


# Clipping


@executors
@pytest.mark.parametrize("kind", ["clipvalue", "clipnorm", "global_clipnorm"])
def test_the_history_says_how_often_clipping_acted_and_by_how_much(kind, executor):
    model = line(0.05, **{kind: 1.0})
    norms, factors = [], []

    class Watch(tg.callbacks.Callback):
        def on_train_batch_end(self, batch, logs):
            norms.append(self.model.optimizer.clipping.norm)
            factors.append(self.model.optimizer.clipping.factor)

    history = model.fit(X, Y, batch_size=8, epochs=4, verbose=0, executor=executor, callbacks=[Watch()]).history
    norms, factors = np.reshape(norms, (4, 6)), np.reshape(factors, (4, 6))
    assert history["clipping_rate"] == (factors < 1).mean(axis=1).tolist()
    assert history["clipping_factor"] == factors.min(axis=1).tolist()
    assert history["gradient_norm"] == norms.max(axis=1).tolist()
    assert "nonfinite_steps" not in history
    assert history["clipping_rate"][0] > 0
    np.testing.assert_allclose(history["clipping_factor"][0], 1 / history["gradient_norm"][0], rtol=1e-6)


def test_steps_with_gradients_that_were_not_finite_are_counted():
    model = line(nonfinite="skip")
    x = X.copy()
    x[3] = 1e30  # its square is infinite
    history = model.fit(x, Y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    assert history["nonfinite_steps"] == [1.0, 1.0]
    assert "clipping_rate" not in history


def test_gradients_that_are_not_finite_are_named_by_the_paths_of_their_parameters():
    model = line(nonfinite="raise")
    x = X.copy()
    x[3] = 1e30
    with pytest.raises(FloatingPointError, match=r"layers\.0\.kernel"):
        model.fit(x, Y, batch_size=8, shuffle=False, verbose=0)


def test_clipping_saves_a_net_that_explodes_without_it():
    def trained(**clipping):
        tg.set_random_seed(0)
        deep = [Dense(20, "relu", kernel_initializer=tg.initializers.VarianceScaling(6.0)) for _ in range(12)]
        model = tg.Sequential([*deep, Dense(1)])
        model.compile(SGD(0.001, **clipping), "mse")
        return model.fit(X, Y, batch_size=8, epochs=3, seed=0, verbose=0).history

    with pytest.warns(UserWarning, match="fit: the loss is"):
        assert not np.isfinite(trained()["loss"][-1])
    history = trained(global_clipnorm=1.0)
    assert np.isfinite(history["loss"]).all()
    assert history["clipping_rate"] == [1.0, 1.0, 1.0]
    assert max(history["clipping_factor"]) < 0.01


def test_without_clipping_nothing_is_told_of_it():
    assert list(line().fit(X, Y, verbose=0).history) == ["loss"]


def test_the_plot_has_a_panel_for_each(tmp_path):
    pytest.importorskip("matplotlib")
    history = line(clipnorm=1.0).fit(X, Y, epochs=2, verbose=0)
    history.plot(tmp_path / "h.svg")
    assert (tmp_path / "h.svg").stat().st_size > 10_000


# Warnings


def test_a_warning_points_at_the_line_of_the_user(monkeypatch):
    class Peeks(Dense):
        def forward(self, x):
            y = super().forward(x)
            return y * 2 if float(np.sum(np.asarray(y))) > 0 else y

    monkeypatch.setenv("TINYGRAD_BN_EXECUTOR", "numpy")
    model = tg.Sequential([Peeks(1, input_shape=(3,))])
    model.compile("sgd", "mse")
    for call in (lambda: model.fit(X, Y, verbose=0), lambda: model.predict(X), lambda: model.evaluate(X, Y)):
        with pytest.warns(UserWarning, match="runs without capture") as told:
            call()
        assert {each.filename for each in told} == {__file__}
