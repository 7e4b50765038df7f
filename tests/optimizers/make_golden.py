"""Writes golden.json: where Keras's optimizers stand after some steps on the common problem.

KERAS_BACKEND=jax python -m tests.optimizers.make_golden      (with keras and jax installed)
"""

import json
import os
from pathlib import Path

import numpy as np

from tests.optimizers.problem import CONFIGURATIONS, KEPT, START, STEPS, gradient

FILE = Path(__file__).with_name("golden.json")


def trajectory(keras, kind, settings, dtype):
    """The parameters after the kept steps."""
    keras.backend.set_floatx(dtype)
    variables = {name: keras.Variable(np.array(value, dtype), name=name) for name, value in START.items()}
    optimizer = getattr(keras.optimizers, kind)(**settings)
    optimizer.build(list(variables.values()))
    kept = {}
    for step in range(STEPS):
        gradients = [gradient(name, np.asarray(variable), step) for name, variable in variables.items()]
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], list(variables.values()))
        if step + 1 in KEPT:
            kept[str(step + 1)] = {name: np.asarray(variable).tolist() for name, variable in variables.items()}
    return kept


def main():
    os.environ.setdefault("JAX_ENABLE_X64", "1")
    import keras

    found = {
        dtype: {name: trajectory(keras, *configuration, dtype) for name, configuration in CONFIGURATIONS.items()}
        for dtype in ("float32", "float64")
    }
    made = {"keras": keras.__version__, "backend": keras.backend.backend(), "trajectories": found}
    FILE.write_text(json.dumps(made, indent=None, separators=(",", ":")).replace('},"', '},\n"') + "\n")


if __name__ == "__main__":
    main()
