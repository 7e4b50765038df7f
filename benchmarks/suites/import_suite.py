"""What the import costs."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.suites import Prepared, Suite

_PROGRAM = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def _prepare(contender: str, case: str) -> Prepared:
    command = [sys.executable, "-c", _PROGRAM.format(contender)]
    surroundings = {**os.environ, "KERAS_BACKEND": "jax"}
    surroundings.pop("PYTHONDONTWRITEBYTECODE", None)

    def sample() -> float:
        return 1e3 * float(subprocess.run(command, env=surroundings, capture_output=True, check=True).stdout)

    sample()  # writes the bytecode
    return Prepared(sample)


SUITE = Suite(
    name="import",
    title="the import, in a new process",
    about="The import in a new process, with its bytecode cached; the interpreter's own start is not counted.",
    unit="ms",
    cases=("import",),
    ours=("tinygrad_bn", "numpy"),
    peers=("torch", "jax", "keras", "mygrad", "autograd"),
    prepare=_prepare,
    against={"to NumPy": ("numpy",)},
    base="numpy",
)
