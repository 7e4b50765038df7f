"""Wording: numbers, types and expressions as they are written in C."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

_WIDTH = 120


class Inexpressible(Exception):
    """A call that the C text cannot say."""


C_TYPES = {
    "f4": "float",
    "f8": "double",
    "b1": "uint8_t",
    "i1": "int8_t",
    "i2": "int16_t",
    "i4": "int32_t",
    "i8": "int64_t",
    "u1": "uint8_t",
    "u2": "uint16_t",
    "u4": "uint32_t",
    "u8": "uint64_t",
}


def c_type(dtype: np.dtype[Any]) -> str:
    """The C type of elements of `dtype`."""
    if not dtype.isnative or dtype.str[1:] not in C_TYPES:
        raise Inexpressible(f"numbers of dtype {dtype}")
    return C_TYPES[dtype.str[1:]]


def literal(number: Any, dtype: np.dtype[Any]) -> str:
    """A number as a C constant of `dtype`: in decimal digits that give back the very same bits."""
    if dtype.kind == "b":
        return str(int(bool(number)))
    if dtype.kind in "iu":
        value = int(number)
        if value == -(2**63):
            return "INT64_MIN"
        return str(value) if abs(value) < 2**31 else f"{value}{'u' * (value > 0)}ll"
    exact = dtype.type(number)
    if not math.isfinite(exact):
        return "NAN" if math.isnan(exact) else "INFINITY" if exact > 0 else "-INFINITY"
    digits = str(exact)
    return digits + ".0" * (not set(digits) & set(".e")) + "f" * (dtype.itemsize == 4)


class Text:
    """A C expression, and how tightly its outermost operator binds."""

    __slots__ = ("binding", "said")

    def __init__(self, said: str, binding: int = 9) -> None:
        self.said, self.binding = said, binding

    def within(self, binding: int) -> str:
        """The expression as an operand that has to bind at least so tightly."""
        return self.said if self.binding >= binding else f"({self.said})"


def cast(text: Text, source: np.dtype[Any], target: np.dtype[Any]) -> Text:
    """The expression of one dtype as a number of another, as NumPy casts."""
    if source == target:
        return text
    if target.kind == "b":
        return Text(f"{text.within(5)} != 0", 4)
    return Text(f"({c_type(target)}){text.within(8)}", 8)


def comment(said: str) -> str:
    """A line that is not C, in ASCII whatever it tells of."""
    plain = said.encode("unicode_escape").decode("ascii")
    return f"/* {plain.replace('*/', '* /').replace('/*', '/ *')} */"


def identifier(said: str) -> str:
    """A C identifier that says the same, and means nothing else in C or in the text around."""
    word = re.sub(r"\W+", "_", said, flags=re.ASCII).strip("_").lower() or "value"
    if word in _RESERVED or word.endswith(("_float", "_double", "_t")):  # as functions of ours, and types, are called
        return f"{word}_"
    return f"_{word}" if word[0].isdigit() else word


def unique(name: str, taken: set[str]) -> str:
    """The name, with a number where it is taken; from now on it is."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    taken.add(found)
    return found


VARIABLES = "ijklmnopqrstuvw"
"""What the variables of loops are called."""
_WORDS = """auto break case char const continue default do double else enum extern float for goto if inline int long
    register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while asm
    typeof alignas alignof bool complex constexpr false nullptr static_assert thread_local true linux unix given host
    loop share first last at isnan isinf isfinite isnormal isgreater isgreaterequal isless islessequal islessgreater
    isunordered fpclassify signbit math_errhandling memcpy"""
_RESERVED = {*_WORDS.split(), *VARIABLES}


def passes(variable: str, first: int | str, last: int | str) -> str:
    """The head of a loop."""
    return f"for (long {variable} = {first}; {variable} < {last}; {variable}++)"


def indented(lines: Sequence[str], level: int) -> list[str]:
    """The lines, so many levels deep."""
    return ["    " * level + line if line else "" for line in lines]


def wrapped(head: str, parts: Sequence[str], tail: str) -> list[str]:
    """A call, or the head of a function, in lines that are not too long."""
    lines = [head]
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        piece = part + (tail if last else ", ")
        if len(lines[-1]) + len(piece) > _WIDTH - 8:
            lines[-1] = lines[-1].rstrip()
            lines.append(" " * 8)
        lines[-1] += piece
    return lines if parts else [head + tail]
