"""Sharing: which loop nests are worth several threads, and how they are cut.

It is the outermost loop that is cut. What is gathered over it is gathered in blocks of passes, whose sums are added in
order afterwards. The blocks are the same for any number of threads, so the results have the same bits for any number.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from tinygrad_bn.capturing.native.wording import comment, indented, wrapped

_WORTH = 2**20  # work of a nest, in additions and elements read or written, from which on it is shared: some 25 us
_PART = 2**18  # work of a part, at least
_BLOCKS = 8
_TOGETHER = 16  # neighbours in memory that are not parted: no two threads write to one cache line, or halve a vector


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
    together = _TOGETHER if len(loops) == 1 else 1
    grain = _rounded(loops[0] / _BLOCKS if gathered else loops[0] * _PART / work, together)
    if loops[0] <= grain:
        return None
    return Cut(loops[0], grain, -(-loops[0] // grain) if gathered else 0)


def _rounded(passes: float, together: int) -> int:
    """Up to whole groups of neighbours."""
    return math.ceil(passes / together) * together


def part(name: str, cut: Cut, gathered: Sequence[tuple[str, int] | None]) -> list[str]:
    """The C function that does some of the passes, or some of the blocks, of the loop nest `name`.

    Args:
        name: what the function of the nest is called.
        cut: how it is cut.
        gathered: for each array that the nest takes its type and size, if it is gathered in blocks.
    """
    given = [f"at[{place}]" for place in range(len(gathered))]
    about = (
        f"some of {cut.blocks} blocks, each with sums of its own" if cut.blocks else "the passes that one thread does"
    )
    lines = [comment(about), f"static void part_of_{name}(void *const *at, long first, long last) {{"]
    if not cut.blocks:
        return [*lines, *indented(wrapped(f"{name}(", [*given, "first", "last"], ");"), 1), "}"]
    for place, result in enumerate(gathered):
        if result is not None:
            kind, size = result
            given[place] = f"({kind} *)at[{place}]" + (f" + {size} * block" if size > 1 else " + block")
    end = f"{cut.grain} * block + {cut.grain}"
    if cut.passes % cut.grain:
        end = f"block < {cut.blocks - 1} ? {end} : {cut.passes}"
    call = wrapped(f"{name}(", [*given, f"{cut.grain} * block", end], ");")
    return [*lines, "    for (long block = first; block < last; block++)", *indented(call, 2), "}"]
