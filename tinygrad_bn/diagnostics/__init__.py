"""Reports on models: why they train, or do not. Each is an object: fields first, str() a table, to_dict(), plot()."""

from tinygrad_bn.diagnostics.flow import GradientFlow, LayerFlow, gradient_flow

__all__ = ["GradientFlow", "LayerFlow", "gradient_flow"]
