"""Writes golden.json: where Keras's optimizers stand after some steps on the common problem.

KERAS_BACKEND=jax python -m tests.optimizers.make_golden      (with keras and jax installed)
"""

import json
import os
from pathlib import Path

import numpy as np

from tests.optimizers.problem import CONFIGURATIONS, KEPT, RULES, START, STEPS, gradient

FILE = Path(__file__).with_name("golden.json")


def slope(variable):
    """The derivative of the penalty, which in Keras is part of the loss."""
    import jax

    return 0 if variable.regularizer is None else np.asarray(jax.grad(variable.regularizer)(variable.value))


def trajectory(keras, dtype, kind, settings, rules=None):
    """The parameters after the kept steps."""
    keras.backend.set_floatx(dtype)
    variables = {name: keras.Variable(np.array(value, dtype), name=name) for name, value in START.items()}
    for own, chosen in (rules or {}).items():
        for which, (rule, arguments) in chosen.items():
            setattr(variables[own], which, getattr(getattr(keras, f"{which}s"), rule)(**arguments))
    optimizer = getattr(keras.optimizers, kind)(**settings)
    optimizer.build(list(variables.values()))
    kept = {}
    for step in range(STEPS):
        gradients = [
            gradient(name, np.asarray(variable), step) + slope(variable) for name, variable in variables.items()
        ]
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], list(variables.values()))
        if step + 1 in KEPT:
            kept[str(step + 1)] = {name: np.asarray(variable).tolist() for name, variable in variables.items()}
    return kept


def main():
    os.environ.setdefault("JAX_ENABLE_X64", "1")
    import keras

    keras.config.set_epsilon(1e-30)  # else its constraints add 1e-7 to the norms that they divide by
    found = {
        dtype: {name: trajectory(keras, dtype, *each) for name, each in {**CONFIGURATIONS, **RULES}.items()}
        for dtype in ("float32", "float64")
    }
    made = {"keras": keras.__version__, "backend": keras.backend.backend(), "trajectories": found}
    FILE.write_text(json.dumps(made, indent=None, separators=(",", ":")).replace('},"', '},\n"') + "\n")


if __name__ == "__main__":
    main()
