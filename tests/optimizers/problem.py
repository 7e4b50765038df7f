"""What the optimizers are compared on: two parameters, curvatures from 0.1 to 4, and gradients with fixed noise."""

import numpy as np

STEPS = 50
KEPT = (1, 2, 10, 25, 50)
"""The steps after which the parameters are compared."""

START = {"kernel": [[1.0, -2.0, 0.5], [3.0, -1.5, 2.5]], "bias": [0.7, -0.3, 1.2]}
CURVATURE = {"kernel": [[0.5, 1.0, 0.1], [2.0, 4.0, 0.3]], "bias": [3.0, 0.2, 1.5]}

CONFIGURATIONS = {
    "SGD": ("SGD", {"learning_rate": 0.05}),
    "SGD, momentum": ("SGD", {"learning_rate": 0.05, "momentum": 0.9}),
    "SGD, nesterov": ("SGD", {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True}),
    "SGD, weight_decay": ("SGD", {"learning_rate": 0.05, "momentum": 0.5, "weight_decay": 0.2}),
    "SGD, clipvalue": ("SGD", {"learning_rate": 0.05, "clipvalue": 0.8}),
    "SGD, clipnorm": ("SGD", {"learning_rate": 0.05, "clipnorm": 1.5}),
    "SGD, global_clipnorm": ("SGD", {"learning_rate": 0.05, "momentum": 0.9, "global_clipnorm": 1.5}),
    "RMSprop": ("RMSprop", {"learning_rate": 0.02}),
    "RMSprop, momentum": ("RMSprop", {"learning_rate": 0.02, "momentum": 0.8, "rho": 0.95}),
    "RMSprop, centered": ("RMSprop", {"learning_rate": 0.02, "momentum": 0.5, "centered": True}),
    "Adam": ("Adam", {"learning_rate": 0.05}),
    "Adam, amsgrad": ("Adam", {"learning_rate": 0.05, "amsgrad": True, "beta_2": 0.9}),
    "Adam, settings": ("Adam", {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3}),
    "AdamW": ("AdamW", {"learning_rate": 0.05}),
    "AdamW, global_clipnorm": ("AdamW", {"learning_rate": 0.05, "weight_decay": 0.1, "global_clipnorm": 1.0}),
    "Nadam": ("Nadam", {"learning_rate": 0.05}),
    "Nadam, weight_decay": ("Nadam", {"learning_rate": 0.05, "beta_1": 0.8, "weight_decay": 0.1}),
    "Adagrad": ("Adagrad", {"learning_rate": 0.3}),
    "Adagrad, settings": ("Adagrad", {"learning_rate": 0.3, "initial_accumulator_value": 0.0, "epsilon": 1e-2}),
}
"""The class and the settings, under the names that both sides give them."""

RULES = {
    "SGD, l1": ("SGD", {"learning_rate": 0.05}, {"kernel": {"regularizer": ("L1", {"l1": 0.3})}}),
    "SGD, l2": (
        "SGD",
        {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.1},
        {"kernel": {"regularizer": ("L2", {})}, "bias": {"regularizer": ("L2", {"l2": 0.2})}},
    ),
    "Adam, l1_l2": (
        "Adam",
        {"learning_rate": 0.05},
        {name: {"regularizer": ("L1L2", {"l1": 0.02, "l2": 0.1})} for name in START},
    ),
    "Adam, non_neg": ("Adam", {"learning_rate": 0.05}, {"kernel": {"constraint": ("NonNeg", {})}}),
    "SGD, max_norm": (
        "SGD",
        {"learning_rate": 0.05, "momentum": 0.9},
        {"kernel": {"constraint": ("MaxNorm", {})}, "bias": {"constraint": ("MaxNorm", {"max_value": 0.5})}},
    ),
    "SGD, unit_norm": ("SGD", {"learning_rate": 0.05}, {"kernel": {"constraint": ("UnitNorm", {"axis": 1})}}),
    "AdamW, both": (
        "AdamW",
        {"learning_rate": 0.05},
        {"kernel": {"regularizer": ("L2", {"l2": 0.1}), "constraint": ("MaxNorm", {"max_value": 1, "axis": [0, 1]})}},
    ),
}
"""The same, and the rules of each parameter."""


def gradient(name, value, step):
    """curvature * value, and a wave that stands for the noise of batches."""
    wave = np.sin(1.7 * step + np.arange(value.size)).reshape(value.shape)
    return (np.asarray(CURVATURE[name]) * value + 0.3 * wave).astype(value.dtype)
