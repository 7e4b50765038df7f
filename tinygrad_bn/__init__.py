"""tinygrad_bn: an autograd framework on NumPy, small enough to read in an evening."""

from tinygrad_bn.autodiff.gradients import gradients as gradients
from tinygrad_bn.autodiff.gradients import no_grad as no_grad
from tinygrad_bn.autodiff.transforms import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from tinygrad_bn.ops import *
from tinygrad_bn.primitives import primitive as primitive
from tinygrad_bn.tensors import Tensor as Tensor, tensor as tensor
from tinygrad_bn.variables import Parameter as Parameter
