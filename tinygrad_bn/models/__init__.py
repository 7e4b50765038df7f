"""Models: modules that can be compiled, trained, evaluated, asked for predictions, and saved."""

from tinygrad_bn import names
from tinygrad_bn.models.history import History
from tinygrad_bn.models.model import Model
from tinygrad_bn.models.saving import load
from tinygrad_bn.models.sequential import Sequential

__all__ = ["History", "Model", "Sequential", "load"]

names.answer_for(__name__)
