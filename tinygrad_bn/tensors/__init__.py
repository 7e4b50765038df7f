"""Tensor: an array that remembers how it was made (`core.py`), and what Python and NumPy see of it."""

from tinygrad_bn.tensors.arrays import as_array as as_array
from tinygrad_bn.tensors.core import Source as Source
from tinygrad_bn.tensors.core import Tensor as Tensor
from tinygrad_bn.tensors.core import Version as Version
from tinygrad_bn.tensors.core import bind as bind
from tinygrad_bn.tensors.core import fitting as fitting
from tinygrad_bn.tensors.core import next_serial as next_serial
from tinygrad_bn.tensors.core import tensor as tensor
