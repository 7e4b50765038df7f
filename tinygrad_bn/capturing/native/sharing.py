"""Sharing: which loop nests are worth several threads, and how they are cut.

It is the outermost loop that is cut. What is gathered over it is gathered in blocks of passes, whose sums are added in
order afterwards. The blocks are the same for any number of threads, so the results have the same bits for any number.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Literal

from tinygrad_bn.capturing.native.wording import comment, indented, wrapped

_WORTH = 2**19  # work of a nest, in additions and elements read or written, from which on it is shared: some 12 us
_PART = 2**17  # work of a part, at least
_BLOCKS = 8
_TOGETHER = 16  # numbers: at least a cache line, to which two threads had better not write in turn, and a vector


class Cut:
    """How threads share the outermost loop.

    Attributes:
        passes: how many there are.
        grain: a part has a multiple of so many, and so many are a block.
        blocks: how many there are; 0 where nothing is gathered over the passes.
    """

    __slots__ = ("blocks", "grain", "passes")

    def __init__(self, passes: int, grain: int, blocks: int = 0) -> None:
        self.passes, self.grain, self.blocks = passes, grain, blocks


def cut(loops: Sequence[int], gathered: Collection[bool], work: int) -> Cut | None:
    """How to cut a nest; None if one thread does it as fast, or has to.

    Args:
        loops: the lengths of the loops, the outermost first.
        gathered: for each result that is gathered over the outermost loop, whether that is a sum of floats.
        work: for each element, in additions and elements read or written.
    """
    work *= math.prod(loops)
    if work < _WORTH or not all(gathered):
        return None
    grain = math.ceil(loops[0] / _BLOCKS if gathered else loops[0] * _PART / work)
    if len(loops) == 1:
        grain = whole_lines(grain)
    if loops[0] <= grain:
        return None
    return Cut(loops[0], grain, -(-loops[0] // grain) if gathered else 0)


def whole_lines(count: int) -> int:
    """So many numbers, or a few more: what they fill is then not parted by what another thread writes."""
    return -(-count // _TOGETHER) * _TOGETHER


def part(name: str, cut: Cut, blocked: Sequence[tuple[str, int] | Literal[False]]) -> list[str]:
    """The C function that does some of the passes, or some of the blocks, of the loop nest `name`.

    Args:
        name: what the function of the nest is called.
        cut: how it is cut.
        blocked: for each array that the nest takes its type and size, if it is gathered in blocks.
    """
    given = [f"at[{place}]" for place in range(len(blocked))]
    about = f"some of {cut.blocks} blocks, each with sums of its own" if cut.blocks else "the passes of one thread"
    lines = [comment(about), f"static void part_of_{name}(void *const *at, long first, long last) {{"]
    if not cut.blocks:
        return [*lines, *indented(wrapped(f"{name}(", [*given, "first", "last"], ");"), 1), "}"]
    for place, result in enumerate(blocked):
        if result:
            kind, size = result
            given[place] = f"({kind} *)at[{place}] + {whole_lines(size)} * block"
    end = f"{cut.grain} * block + {cut.grain}"
    if cut.passes % cut.grain:
        end = f"block < {cut.blocks - 1} ? {end} : {cut.passes}"
    call = wrapped(f"{name}(", [*given, f"{cut.grain} * block", end], ");")
    return [*lines, "    for (long block = first; block < last; block++)", *indented(call, 2), "}"]
