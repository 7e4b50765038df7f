"""A module in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tinygrad_bn.variables import Parameter

if TYPE_CHECKING:
    from tinygrad_bn.module.modules import Module

Shape = tuple[int | None, ...]


class Summary:
    """A module in numbers; `str()` is the table.

    Attributes:
        rows: (path, kind, output shape, size of its own variables) of each module that has variables of its own or no
            modules under it; the output shape is None where it is not known.
        total: the number of elements of all variables.
        trainable: of those that are learned; states are not.
        non_trainable: of the others.
    """

    def __init__(self, module: Module) -> None:
        variables = dict(module.named_variables())
        modules = dict(module.named_modules())
        sizes = dict.fromkeys(modules, 0)
        for path, variable in variables.items():
            sizes[_owner(path, modules)] += variable.size
        parents = {_owner(path, modules) for path in modules if path}
        self.rows = [
            (path, type(found).__name__, found.known_output_shape(), sizes[path])
            for path, found in modules.items()
            if sizes[path] or path not in parents
        ]
        self.total = sum(sizes.values())
        self.trainable = sum(v.size for v in variables.values() if isinstance(v, Parameter) and v.trainable)
        self.non_trainable = self.total - self.trainable

    def __repr__(self) -> str:
        return f"Summary(total={self.total}, trainable={self.trainable}, non_trainable={self.non_trainable})"

    def __str__(self) -> str:
        cells = [("path", "layer", "output shape", "parameters")]
        cells += [(path, kind, spelled(shape), f"{size:,}") for path, kind, shape, size in self.rows]
        a, b, c, d = (max(map(len, column)) for column in zip(*cells, strict=True))
        lines = [f"{path:{a}}  {kind:{b}}  {shape:{c}}  {size:>{d}}" for path, kind, shape, size in cells]
        rule = "-" * len(lines[0])
        counts = [("total", self.total), ("trainable", self.trainable), ("non-trainable", self.non_trainable)]
        return "\n".join([lines[0], rule, *lines[1:], rule, *(f"{kind}: {size:,}" for kind, size in counts)])


def _owner(path: str, modules: Mapping[str, Module]) -> str:
    """The path of the module right above `path`."""
    while path:
        path = path.rpartition(".")[0]
        if path in modules:
            break
    return path


def spelled(shape: Shape | None) -> str:
    """A shape as messages and tables write it, "?" where it is not known."""
    return "?" if shape is None else str(shape).replace("None", "batch")
