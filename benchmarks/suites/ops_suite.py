"""One operation on an 8 x 8 matrix: nearly all of its time is what the framework adds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.suites import Prepared, Suite, contender_file, timed

_COUNT = 50
_OPERATIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add": lambda functions, y, x: y + x,
    "multiply": lambda functions, y, x: y * x,
    "matmul": lambda functions, y, x: functions.matmul(y, x),
    "tanh": lambda functions, y, x: functions.tanh(y),
    "exp": lambda functions, y, x: functions.exp(y),
    "sum": lambda functions, y, x: functions.sum(y),
}
_CHAINS = {f"chain of {name}": _OPERATIONS[name] for name in ("add", "multiply", "matmul", "tanh")}
_CHAINS["chain of multiply by a constant"] = _OPERATIONS["multiply"]


def _matrix(case: str) -> Any:
    """One whose powers stay small, by element and as a product."""
    normal = np.random.default_rng(1).standard_normal((8, 8))
    return (np.linalg.qr(normal)[0] if "matmul" in case else 1 + normal / 100).astype(np.float32)


def _fan(operation: Callable[[Any, Any], Any], x: Any) -> Any:
    for _ in range(_COUNT):
        y = operation(x, x)
    return y


def _chain(operation: Callable[[Any, Any], Any], constant: Any | None, x: Any) -> Any:
    y, other = x, x if constant is None else constant
    for _ in range(_COUNT):
        y = operation(y, other)
    return y


def _prepare(contender: str, case: str) -> Prepared:
    file, x = contender_file(contender), _matrix(case)
    if case in _CHAINS:
        constant = file.constant(x) if "constant" in case else None
        chain = partial(_chain, partial(_CHAINS[case], file.functions), constant)
        action: Callable[[], Any] = lambda: file.recorded(chain, x)()  # noqa: E731
    else:
        fan = partial(_fan, partial(_OPERATIONS[case], file.functions))
        action = lambda: file.recorded(fan, x)  # noqa: E731
    action()
    return Prepared(timed(action, 1e6 / _COUNT))


SUITE = Suite(
    name="ops",
    title="one operation on a small matrix",
    about=f"{_COUNT} operations, each on the same matrix of 8 x 8, recorded so that they can be differentiated; in a "
    "chain, each on the result of the one before, and then differentiated, by both operands unless one is a constant. "
    "The time is that of one operation. NumPy only computes: it records and differentiates nothing.",
    unit="us",
    cases=(*_OPERATIONS, *_CHAINS),
    ours=("tinygrad_bn_eager", "plain_numpy"),
    peers=("torch_eager", "mygrad", "hips_autograd"),
    prepare=_prepare,
    against={"to NumPy": ("plain_numpy",), "to PyTorch eager": ("torch_eager",)},
    base="plain_numpy",
)
