"""Reports on models: why they train, or do not. Each is an object: fields first, str() a table, to_dict(), plot()."""

from tinygrad_bn import names
from tinygrad_bn.diagnostics.batch_normalization import Recalibration as Recalibration
from tinygrad_bn.diagnostics.batch_normalization import (
    recalibrate_batch_normalization as recalibrate_batch_normalization,
)
from tinygrad_bn.diagnostics.flow import GradientFlow, LayerFlow, gradient_flow
from tinygrad_bn.diagnostics.folding import fold_batch_normalization as fold_batch_normalization
from tinygrad_bn.diagnostics.moments import Passed, gaussian_moments, selu_moments
from tinygrad_bn.diagnostics.self_normalizing import LayerMoments, SelfNormalization, self_normalization
from tinygrad_bn.diagnostics.signal_plot import plot_signals
from tinygrad_bn.diagnostics.unit_variance import LSUV as LSUV
from tinygrad_bn.diagnostics.unit_variance import LayerVariance as LayerVariance
from tinygrad_bn.diagnostics.unit_variance import lsuv as lsuv

__all__ = [
    "GradientFlow",
    "LayerFlow",
    "LayerMoments",
    "Passed",
    "SelfNormalization",
    "gaussian_moments",
    "gradient_flow",
    "plot_signals",
    "self_normalization",
    "selu_moments",
]

names.answer_for(__name__)
