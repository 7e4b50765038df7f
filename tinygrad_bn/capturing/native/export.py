"""Exporting: what a trained model computes in inference, as a C file that needs nothing but the C library."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.autodiff.gradients import no_grad
from tinygrad_bn.capturing.captured import capture
from tinygrad_bn.capturing.flow import Flow, Value
from tinygrad_bn.capturing.native.dialect import Inexpressible, c_type, literal
from tinygrad_bn.capturing.native.emitting import Source
from tinygrad_bn.capturing.native.expanding import Weight, expanded
from tinygrad_bn.capturing.native.portable import helpers
from tinygrad_bn.capturing.native.wording import identifier, unique
from tinygrad_bn.errors import CaptureError, DtypeError, SettingError
from tinygrad_bn.files import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tinygrad_bn.module import Module

_WIDTH = 110
_QUOTING = set('"\\?')


def export_c(model: Module, path: str | os.PathLike[str], x: Any = None, batch_size: int = 1) -> tuple[Path, Path]:
    """Write the C file and its header. See `Model.export_c`."""
    source, header = _paths(path)
    model.named_variables()  # where a layer is not built, this says which
    example = _example(model, x, batch_size)
    flow, expected = _inference(model, example)
    try:
        text = _Text(flow, re.sub(r"\W", "_", source.stem, flags=re.ASCII), example, expected, header.name)
        texts = text.header(), text.source()
    except Inexpressible as error:
        raise CaptureError(f"export_c cannot write this model in C: {error} has no C text") from None
    for target, said in zip((header, source), texts, strict=True):
        with replacing(target) as part:
            part.write_text(said, encoding="utf-8")
    return source, header


def _paths(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """The C file, and the header beside it."""
    path = Path(path)
    if path.suffix not in ("", ".c", ".h"):
        raise SettingError(f"export_c expects a path that ends in .c, or without a suffix; got {str(path)!r}")
    if not path.name or not re.match(r"[A-Za-z_]", path.name):
        raise SettingError(
            f"export_c expects a name that begins with a letter, as functions in C do; got {path.name!r}"
        )
    if not path.name.isprintable() or set(path.name) & _QUOTING:
        raise SettingError(
            f"export_c expects a name that #include can give, of letters and digits at best; got {path.name!r}"
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"export_c expects a folder that is there; got {str(path.parent)!r}: make it first")
    return path.with_suffix(".c"), path.with_suffix(".h")


def _example(model: Any, x: Any, batch_size: int) -> NDArray[Any]:
    """A batch of samples: the first ones of x, or random ones."""
    if x is not None:
        given = np.asarray(getattr(x, "value", x))
        if not given.ndim or not len(given):
            raise SettingError(f"export_c expects samples of shape (n, ...), at least one; got shape {given.shape}")
        batch = given[np.arange(batch_size) % len(given)]
        return batch.astype(_dtype(model))
    shape = getattr(model, "batch_shape", None)
    if shape is None or None in shape[1:]:
        raise SettingError("export_c expects x, a few samples, where the model does not know the shape of its inputs")
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch_size, *shape[1:])).astype(_dtype(model))


def _dtype(model: Any) -> np.dtype[Any]:
    kinds = [variable.dtype for _, variable in model.named_variables() if variable.dtype.kind == "f"]
    return kinds[0] if kinds else np.dtype(np.float32)


def _inference(model: Any, x: NDArray[Any]) -> tuple[Flow, NDArray[Any]]:
    """What the model computes, with all that does not depend on x computed already, and its result for x."""

    def inferred(x: Any) -> Any:
        return model(x, training=False)

    captured = capture(inferred, executor="numpy")
    with no_grad():
        expected = captured(x)
    if not hasattr(expected, "value"):
        raise CaptureError("export_c expects a model that gives one array")
    (program,) = captured.programs
    flow = program.flow
    if not np.isfinite(expected.value).all():
        raise CaptureError(
            "export_c expects a model that gives finite numbers for its example, by which the file checks itself: this "
            "one gives NaN or infinity"
        )
    if flow.stores or flow.counters or flow.feeds or flow.checks:
        raise CaptureError("export_c expects a model that neither updates variables nor draws in inference")
    return flow, expected.value


class _Portable(Source):
    """The C text of a flow whose constants have names, as part of another file."""

    portable = True
    head = ()
    loop = function = "static void"

    def called(self, value: Value) -> str:
        """The path of a weight."""
        name = getattr(value.origin, "name", "") if isinstance(value.origin, Weight) else ""
        return identifier(name) if name else super().called(value)


class _Text:
    """The two files."""

    def __init__(self, flow: Flow, name: str, example: NDArray[Any], expected: NDArray[Any], header_name: str) -> None:
        self.name, self.example, self.expected, self.header_name = name, example, expected, header_name
        if example.dtype.char not in "fd" or expected.dtype.char not in "fd":
            raise DtypeError(f"export_c expects float32 or float64; got {example.dtype} and {expected.dtype}")
        self._written = _Portable(expanded(flow, constant=True))
        self._taken, self._given = c_type(example.dtype), c_type(expected.dtype)
        self._about = f"{' x '.join(map(str, example.shape))} numbers to {' x '.join(map(str, expected.shape))}"

    @property
    def _signature(self) -> str:
        return f"void {self.name}_predict(const {self._taken} *x, {self._given} *y)"

    def header(self) -> str:
        """The header: what can be called."""
        capitals = self.name.upper()
        return f"""/* A trained network, from {self._about}, row by row. */
#ifndef {capitals}_PREDICT_H
#define {capitals}_PREDICT_H

#ifdef __cplusplus
extern "C" {{
#endif

enum {{ {capitals}_BATCH = {len(self.example)}, {capitals}_INPUTS = {self.example.size}, {capitals}_OUTPUTS = \
{self.expected.size} }};

/* Reads {capitals}_INPUTS numbers, writes {capitals}_OUTPUTS. Not for two threads at once: it has one place for
 * what it computes on the way. */
{self._signature};

#ifdef __cplusplus
}}
#endif

#endif
"""

    def source(self) -> str:
        """The C file: helpers, weights, loops, `predict`, and a test."""
        body = self._written.text
        parts = [
            f"/* A trained network, from {self._about}. Any C99 compiler will do; link with -lm.\n"
            f" * With -D{self.name.upper()}_TEST it is a program that checks itself; its exit status is 0 or 1. */",
            "#include <math.h>",
            *(["#include <stdint.h>"] if re.search(r"\bu?int\d+_t\b", body) else []),
            f'#include "{self.header_name}"\n',
            helpers(body),
            *self._weights(),
            body,
            self._predict(),
            self._test(),
        ]
        return "\n".join(parts)

    def _constants(self) -> dict[Value, str]:
        """The arrays of the file, and how they are called there."""
        constants = [value for value in self._written.given if value not in self._written.flow.arguments]
        taken: set[str] = set()
        return {value: unique(f"{self._written.called(value)}_values", taken) for value in constants}

    def _weights(self) -> Iterator[str]:
        for value, name in self._constants().items():
            shape = " x ".join(map(str, value.shape)) or "one number"
            yield f"/* {shape} */\n" + _array(name, value.sample)

    def _predict(self) -> str:
        written = self._written
        (result,) = written.flow.results
        start = written.memory.starts[written.plan.handed[result]]
        names = self._constants()
        given = ["&block", *(f"(void *){names.get(value, 'x')}" for value in written.given)]
        table = _lined(given)
        room = -(-written.memory.nbytes // self.expected.itemsize)
        return f"""{self._signature} {{
    static union {{ double aligned; {self._given} numbers[{room}]; }} block; /* what is computed on the way */
    void *const given[] = {{
{table}
    }};
    compute(given);
    for (long i = 0; i < {self.expected.size}; i++) y[i] = block.numbers[{start // self.expected.itemsize} + i];
}}
"""

    def _test(self) -> str:
        largest = float(np.abs(self.expected).max(initial=0))
        allowed = 1e-5 * (largest or 1.0)
        return f"""#ifdef {self.name.upper()}_TEST
#include <stdio.h>

{_array("example", self.example)}
{_array("expected", self.expected)}
int main(void) {{
    {self._given} y[{self.expected.size}];
    int wrong = 0;
    {self.name}_predict(example, y);
    for (long i = 0; i < {self.expected.size}; i++) {{
        const double apart = fabs((double)y[i] - (double)expected[i]);
        if (apart <= {allowed!r}) continue; /* NaN is not */
        printf("result %ld is %.9g, not %.9g as expected\\n", i, (double)y[i], (double)expected[i]);
        wrong = 1;
    }}
    return wrong;
}}
#endif
"""


def _array(name: str, array: NDArray[Any]) -> str:
    """The definition of an array of constants."""
    numbers = [literal(number, array.dtype) for number in array.ravel()]
    return f"static const {c_type(array.dtype)} {name}[{array.size}] = {{\n{_lined(numbers)}\n}};\n"


def _lined(parts: list[str]) -> str:
    """Parts with commas between them, in lines that are not too long."""
    lines: list[list[str]] = [[]]
    length = 0
    for part in parts:
        if lines[-1] and length + len(part) > _WIDTH:
            lines.append([])
            length = 0
        lines[-1].append(part)
        length += len(part) + 2
    return ",\n".join(f"        {', '.join(line)}" for line in lines)
