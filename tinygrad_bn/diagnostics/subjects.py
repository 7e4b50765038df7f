"""What a diagnosis is asked of."""

from __future__ import annotations

from typing import Any

from tinygrad_bn.module import Module


def expect_module(owner: str, model: Any) -> None:
    """Raise a TypeError unless the model is a Module."""
    if not isinstance(model, Module):
        came = f"the class {model.__name__}" if isinstance(model, type) else f"{model!r:.60}"
        raise TypeError(f"{owner} expects a Module, such as a Sequential; got {came}")
