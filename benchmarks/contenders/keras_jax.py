"""Keras on JAX."""

import os

os.environ["KERAS_BACKEND"] = "jax"

from benchmarks.contenders._keras import fit as fit
from benchmarks.contenders._keras import prepare as prepare
