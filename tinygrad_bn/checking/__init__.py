"""Checking gradients: against differences, by the rate of a Taylor remainder; and finding what is not finite."""

from tinygrad_bn.checking.certificates import Certificate as Certificate
from tinygrad_bn.checking.certificates import Verdict as Verdict
from tinygrad_bn.checking.checks import gradcheck as gradcheck
from tinygrad_bn.checking.debugging import debug as debug
from tinygrad_bn.checking.taylor import TaylorTest as TaylorTest
from tinygrad_bn.checking.taylor import taylor_test as taylor_test
