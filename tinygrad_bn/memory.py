"""Where arrays lie, and how the C library hands out memory: the one setting that eager speed hangs on.

A training step makes and drops arrays of a megabyte. By default glibc fetches each of these from the kernel and gives
it back at once, and a step of the 784-300-100-10 network takes three times as long, most of it in page faults. Glibc
raises its thresholds by itself when a larger block has once been freed, so one such block is enough. Other C libraries
are not touched by it. TINYGRAD_BN_KEEP_MEMORY=0 leaves everything as it was.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


LINE = 64  # bytes: a cache line


def address(array: NDArray[Any]) -> int:
    """Where the first element of an array lies."""
    found: int = array.__array_interface__["data"][0]
    return found


def aligned(nbytes: int) -> NDArray[Any]:
    """Memory that begins on a cache line."""
    memory = np.empty(nbytes + LINE, np.uint8)
    start = -address(memory) % LINE
    return memory[start : start + nbytes]


def keep_memory() -> None:
    """Let freed arrays of up to 32 MiB stay with this process, ready for the next ones."""
    if os.environ.get("TINYGRAD_BN_KEEP_MEMORY", "1") != "0":
        np.empty(32 * 2**20 - 8192, np.uint8)  # made and dropped: the largest block whose size glibc still learns from
