"""The graph, read: what a Tensor was made by and from, and what else stands above and below it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tinygrad_bn import ops
from tinygrad_bn.tensors.core import Source, Tensor

MOVES = (ops.reshape, ops.transpose, ops.broadcast_to, ops.astype)
"""What changes the place of numbers, or how they are written, and not what they are."""


def source(tensor: Tensor) -> Source:
    """Primitive, arguments and settings of a Tensor that is known to have been made."""
    assert tensor.source is not None
    return tensor.source


def made(tensor: Tensor) -> Any:
    """The primitive that made it, or None."""
    return None if tensor.source is None else tensor.source[0]


def arguments(tensor: Tensor) -> list[Tensor]:
    """The Tensors that it was computed from."""
    return [] if tensor.source is None else [arg for arg in tensor.source[1] if isinstance(arg, Tensor)]


def ancestors(result: Tensor) -> set[Tensor]:
    """All that it was computed from, itself included."""
    seen, pending = {result}, [result]
    while pending:
        above = set(arguments(pending.pop())) - seen
        pending += above
        seen |= above
    return seen


def consumers(results: Iterable[Tensor]) -> dict[Tensor, list[Tensor]]:
    """Of each Tensor, those of the results that were computed from it."""
    found: dict[Tensor, list[Tensor]] = {}
    for result in results:
        for argument in arguments(result):
            found.setdefault(argument, []).append(result)
    return found


def moved(tensor: Tensor) -> Tensor:
    """What `tensor` was before its numbers were only given other places."""
    while made(tensor) in MOVES:
        (tensor,) = arguments(tensor)
    return tensor
