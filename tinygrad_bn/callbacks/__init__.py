"""Callbacks: what else happens while `fit` trains a model."""

from tinygrad_bn import names
from tinygrad_bn.callbacks.files import CSVLogger, ModelCheckpoint
from tinygrad_bn.callbacks.gradient_flow import GradientFlow
from tinygrad_bn.callbacks.learning_rate import ReduceLROnPlateau
from tinygrad_bn.callbacks.stopping import EarlyStopping, TerminateOnNaN
from tinygrad_bn.models.listening import Callback
from tinygrad_bn.models.progress import ProgressBar

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "GradientFlow",
    "ModelCheckpoint",
    "ProgressBar",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
]

names.answer_for(__name__)
