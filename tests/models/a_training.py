"""A training that goes on from its checkpoint, if there is one: `python a_training.py checkpoint result [seed]`.

What the generators would otherwise start from is drawn anew in every process, so that only the checkpoint can bring
two runs together.
"""

import sys
import time
from pathlib import Path

import numpy as np

import tinygrad_bn as tg
from tinygrad_bn.callbacks import Callback, CSVLogger, EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

EPOCHS = 4
X = np.random.default_rng(0).normal(size=(70, 5)).astype(np.float32)
LABELS = (X[:, 0] * X[:, 1] > 0).astype(np.int64)


class Slowly(Callback):
    """Gives whoever wants to kill this the time to do so."""

    def on_train_batch_end(self, batch, logs):
        time.sleep(0.004)


def new_model():
    tg.set_random_seed(3)
    dropouts = [tg.layers.Dropout(0.2), tg.layers.Dropout(0.2, seed=5)]
    model = tg.Sequential(
        [
            tg.layers.Dense(16, "elu", kernel_regularizer="l2", input_shape=(5,)),
            tg.layers.BatchNormalization(),
            *dropouts,
            tg.layers.Dense(2, "softmax", kernel_constraint="max_norm"),
        ]
    )
    model.compile(tg.optimizers.Adam(0.01, clipnorm=0.5), "sparse_categorical_crossentropy", ["accuracy"])
    return model


def watchers(checkpoint, save_freq=3, patience=50):
    return [
        ModelCheckpoint(checkpoint, save_freq=save_freq, training_state=True),
        ReduceLROnPlateau("loss", factor=0.7, patience=1, min_delta=0.05),
        EarlyStopping("loss", patience=patience, restore_best_weights=True),
        CSVLogger(f"{checkpoint}.csv"),
    ]


def train(checkpoint, epochs=EPOCHS, callbacks=(), seed=None, executor="numpy", **settings):
    there = Path(checkpoint).exists()
    model = tg.models.load(checkpoint, training_state=True) if there else new_model()
    history = model.fit(
        X,
        LABELS,
        batch_size=8,
        epochs=epochs,
        validation_split=0.1,
        callbacks=[*watchers(checkpoint, **settings), *callbacks],
        verbose=0,
        seed=seed,
        executor=executor,
    )
    return model, history


if __name__ == "__main__":
    checkpoint, result, *seed = sys.argv[1:]
    model, history = train(checkpoint, callbacks=[Slowly()], seed=int(seed[0]) if seed else None)
    np.savez(
        result,
        **model.state_dict(),
        **{f"optimizer {name}": value for name, value in model.optimizer.state_dict().items()},
        **{f"history {name}": values for name, values in history.history.items()},
        clipped=model.optimizer.clipping.acted,
        csv=Path(f"{checkpoint}.csv").read_text(),
    )
