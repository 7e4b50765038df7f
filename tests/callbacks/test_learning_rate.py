import pytest

from tests.callbacks.problem import Says, X, Y, model
from tinygrad_bn.callbacks import ReduceLROnPlateau
from tinygrad_bn.optimizers import SGD
from tinygrad_bn.schedules import PowerDecay


def rates(values, epochs=None, **settings):
    """The learning rate of each epoch, and the one that is left in the end."""
    made = model(rate=1.0)
    plateau = ReduceLROnPlateau("v", **{"factor": 0.5, "patience": 1, **settings})
    callbacks = [Says(v=values), plateau]
    history = made.fit(X, Y, epochs=epochs or len(values), callbacks=callbacks, verbose=0)
    return [*history.history["learning_rate"], made.optimizer.learning_rate]


@pytest.mark.parametrize(
    ("settings", "values", "expected"),
    [
        ({}, [3, 2, 2, 2], [1, 1, 1, 0.5, 0.25]),
        ({"patience": 2}, [3, 3, 3, 3, 3], [1, 1, 1, 0.5, 0.5, 0.25]),
        ({"patience": 0}, [3, 3, 2], [1, 1, 0.5, 0.5]),
        ({"min_delta": 0.5}, [3, 2.6, 2.4], [1, 1, 0.5, 0.5]),
        ({"mode": "max"}, [3, 2, 4], [1, 1, 0.5, 0.5]),
        ({"cooldown": 2}, [3, 3, 3, 3, 3], [1, 1, 0.5, 0.5, 0.25, 0.25]),
        ({"min_lr": 0.3}, [3, 3, 3, 3], [1, 1, 0.5, 0.3, 0.3]),
        ({}, [float("nan")] * 2, [1, 0.5, 0.25]),
    ],
)
def test_the_rate_falls_where_nothing_gets_better(settings, values, expected):
    assert rates(values, **settings) == expected


def test_a_captured_step_follows_it():
    made, by_hand = model(rate=0.1), model(rate=0.1)
    plateau = ReduceLROnPlateau("v", factor=0.5, patience=1)
    made.fit(X, Y, epochs=3, shuffle=False, callbacks=[Says(v=[1, 1, 1]), plateau], verbose=0, executor="numpy")
    for rate in (0.1, 0.1, 0.05):
        by_hand.optimizer.learning_rate = rate
        by_hand.fit(X, Y, shuffle=False, verbose=0, executor="eager")
    assert made.layers[0].kernel.numpy().tobytes() == by_hand.layers[0].kernel.numpy().tobytes()


def test_it_says_so_if_it_is_asked_to(capsys):
    rates([1, 1], verbose=1)
    assert capsys.readouterr().out == "epoch 2: learning rate lowered to 0.5\n"


def test_what_it_cannot_work_with():
    for factor in (0, 1, 2, "half"):
        with pytest.raises(ValueError, match=r"ReduceLROnPlateau expects factor to be a number in \(0, 1\)"):
            ReduceLROnPlateau(factor=factor)
    with pytest.raises(ValueError, match="unknown monitor 'val_loss' in ReduceLROnPlateau"):
        model().fit(X, Y, callbacks=ReduceLROnPlateau(), verbose=0)
    made = model()
    made.compile(SGD(PowerDecay(0.1, 10)), "mse")
    with pytest.raises(ValueError, match="expects a learning rate that is a number; got PowerDecay"):
        made.fit(X, Y, callbacks=ReduceLROnPlateau("loss"), verbose=0)
