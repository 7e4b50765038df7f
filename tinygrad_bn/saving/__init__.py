"""Saving: layers, optimizers and the like as JSON and back, and the states of generators."""

from tinygrad_bn.saving.generators import Generators as Generators
from tinygrad_bn.saving.generators import as_it_stands as as_it_stands
from tinygrad_bn.saving.known import Known as Known
from tinygrad_bn.saving.making import UnsavableError as UnsavableError
from tinygrad_bn.saving.making import arguments as arguments
from tinygrad_bn.saving.reading import Reader as Reader
from tinygrad_bn.saving.writing import Writer as Writer
