"""The words on a drawing: settings, shapes and numbers as a reader wants to see them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from string import Formatter
from typing import Any

import numpy as np

from tinygrad_bn.primitives import Primitive

COMMUTATIVE = frozenset(
    ("add", "multiply", "maximum", "minimum", "equal", "not_equal", "logical_and", "logical_or", "logical_xor")
)


def operation(primitive: Primitive[Any], settings: Mapping[str, Any]) -> str:
    """The primitive's label with its settings filled in; `axis=None`, which is every axis, is left out."""
    label = primitive.label
    for _, name, _, _ in Formatter().parse(label):
        if name in ("axis", "axes") and settings[name] is None:
            label = re.sub(rf" *\S*\{{{name}\}}", "", label)
    return label.format(**{name: _readable(name, value) for name, value in settings.items()})


def with_numbers(label: str, args: Sequence[Any], is_number: Callable[[Any], bool]) -> str:
    """The label with the arguments that are single numbers: `* 0.9`, `1 -`, `where(_, _, 0)`."""
    shown = [number(arg) if is_number(arg) else "_" for arg in args]
    if all(word == "_" for word in shown):
        return label
    if len(shown) != 2:
        return f"{label}({', '.join(shown)})"
    return " ".join(word for word in (shown[0], label, shown[1]) if word != "_")


def formula(primitive: Primitive[Any]) -> str:
    """What the primitive computes: the first sentence of its description."""
    described = (primitive.__doc__ or "").strip().partition("\n")[0]
    return f"{primitive.__name__}: {described}" if described else primitive.__name__


def array(value: Any) -> str:
    """Shape and dtype of a Tensor or array."""
    return f"{value.shape} {value.dtype}"


def count(value: Any) -> str:
    """How many elements a Tensor or array has."""
    return f"{value.size:,} element{'s' * (value.size != 1)}"


def gradient(norm: float | None) -> list[str]:
    """A line on the norm of a gradient, where there is one."""
    return [] if norm is None else [f"gradient {norm:.1e}"]


def number(value: Any) -> str:
    """A single number, short."""
    plain = value.item() if hasattr(value, "item") else value
    return f"{plain:.6g}" if isinstance(plain, float) else str(plain)


def _readable(name: str, value: Any) -> Any:
    """A setting as one would type it."""
    if name == "index":
        return ", ".join(map(_index, value))
    if name == "axis" and isinstance(value, tuple) and len(value) == 1:
        return value[0]
    if isinstance(value, type) and issubclass(value, np.generic):
        return np.dtype(value)
    return value


def _index(part: Any) -> str:
    """A part of an index as one would type it."""
    if isinstance(part, slice):
        bounds = ("" if bound is None else str(bound) for bound in (part.start, part.stop))
        return ":".join(bounds) + (f":{part.step}" if part.step is not None else "")
    return "..." if part is Ellipsis else str(part)
