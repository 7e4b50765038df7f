"""Which executor runs captured steps where nobody says so."""

from __future__ import annotations

import os
from typing import Final

from tinygrad_bn import names

EXECUTORS: Final = ("numpy", "native", "eager")
_VARIABLE = "TINYGRAD_BN_EXECUTOR"
_default: str | None = None


def set_executor(executor: str) -> None:
    """Let `capture` and `fit` use this executor where they are not told: "numpy", "native" or "eager".

    Without it the environment variable TINYGRAD_BN_EXECUTOR says, and otherwise it is "numpy".

    Raises:
        ValueError: there is no such executor.
    """
    global _default
    _default = chosen(executor)


def chosen(executor: str | None) -> str:
    """The executor of that name, or the default one."""
    said = executor or _default or os.environ.get(_VARIABLE) or "numpy"
    if said not in EXECUTORS:
        where = "executor" if executor or _default else _VARIABLE
        raise ValueError(names.unknown("executor", said, EXECUTORS, where))
    return said
