"""Models: modules that can be compiled, trained, evaluated and asked for predictions."""

from tinygrad_bn.models.history import History
from tinygrad_bn.models.model import Model
from tinygrad_bn.models.sequential import Sequential

__all__ = ["History", "Model", "Sequential"]
