"""Module: what has parameters, its summary, and its files."""

from tinygrad_bn.module.modules import Module as Module
from tinygrad_bn.module.modules import called as called
from tinygrad_bn.module.modules import locate as locate
from tinygrad_bn.module.modules import walk as walk
from tinygrad_bn.module.summary import Shape as Shape
from tinygrad_bn.module.summary import Summary as Summary
from tinygrad_bn.module.summary import spelled as spelled
