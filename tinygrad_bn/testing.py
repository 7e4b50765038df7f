"""For test suites."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_bn import names
from tinygrad_bn.checking import gradcheck


def assert_gradients(f_or_module: Callable[..., Any], /, *inputs: Any, **settings: Any) -> None:
    """Return quietly if every verdict of `gradcheck`, which takes the same arguments, is good.

    Raises:
        GradientError: one is not; the message names the argument, the element, both values and the bound.
    """
    gradcheck(f_or_module, *inputs, **settings).raise_if_wrong()


names.answer_for(__name__)
