"""Keras on PyTorch."""

import os

os.environ["KERAS_BACKEND"] = "torch"

from benchmarks.contenders._keras import fit as fit
from benchmarks.contenders._keras import prepare as prepare
