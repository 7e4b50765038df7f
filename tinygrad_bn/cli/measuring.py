"""What the demo measures of each recipe: the flow of the signal, and what training makes of it."""

from __future__ import annotations

import time
from typing import Any, Final, NamedTuple

import numpy as np

from tinygrad_bn import callbacks, optimizers
from tinygrad_bn.cli.images import Images
from tinygrad_bn.cli.recipes import Recipe, network
from tinygrad_bn.diagnostics import GradientFlow, gradient_flow
from tinygrad_bn.ops.random import set_random_seed

LEARNING_RATE: Final = 0.003
MOMENTUM: Final = 0.9
BATCH: Final = 32
PROBE: Final = 512
"""Training samples that the flow of the signal is measured on."""
_LOSS: Final = "sparse_categorical_crossentropy"


class Outcome(NamedTuple):
    """One recipe, measured.

    Attributes:
        recipe: what was measured.
        before: the flow of the signal at initialization.
        after: the same in the trained network.
        history: by name, a value for each epoch.
        accuracy: on the test images.
        seconds: of training.
    """

    recipe: Recipe
    before: GradientFlow
    after: GradientFlow
    history: dict[str, list[float]]
    accuracy: float
    seconds: float

    def ratio(self, field: str) -> float:
        """`field` of the flow at initialization: in the first hidden layer, relative to the last one."""
        first, last = (getattr(layer, field) for layer in (self.before.hidden[0], self.before.hidden[-1]))
        return float(first / last) if last else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """The fields, as JSON takes them."""
        flows = {"at_initialization": self.before.to_dict(), "after_training": self.after.to_dict()}
        recipe = {**self.recipe._asdict(), "initializer": str(self.recipe.initializer)}
        measured = {"test_accuracy": self.accuracy, "seconds": self.seconds, "history": self.history}
        return {"recipe": recipe, **measured, "gradient_flow": flows}


def measure(recipe: Recipe, images: Images, epochs: int, seed: int) -> Outcome:
    """Train the network under this recipe, with a progress bar; the weights and batches follow from the seed."""
    if recipe.standardize:
        images = images.standardized()
    set_random_seed(seed)
    model = network(recipe, images.x_train.shape[1:])
    optimizer = optimizers.SGD(learning_rate=LEARNING_RATE, momentum=MOMENTUM)
    model.compile(optimizer=optimizer, loss=_LOSS, metrics=["accuracy"])
    probe = images.x_train[:PROBE], images.y_train[:PROBE]
    with np.errstate(over="ignore", invalid="ignore"):  # a diverging network is a result too
        before = gradient_flow(model, *probe, _LOSS)
        started = time.perf_counter()
        watchers = [callbacks.ProgressBar(title=recipe.name), callbacks.TerminateOnNaN()]
        history = model.fit(
            images.x_train, images.y_train, batch_size=BATCH, epochs=epochs, callbacks=watchers, verbose=0
        )
        seconds = time.perf_counter() - started
        accuracy = float(np.mean(model.predict(images.x_test).argmax(axis=-1) == images.y_test))
        after = gradient_flow(model, *probe, _LOSS)
    return Outcome(recipe, before, after, history.history, accuracy, seconds)
