"""Drawing: a graph, and every form in which it can be seen."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tinygrad_bn.drawing.dot import to_dot
from tinygrad_bn.drawing.folding import fold as folded
from tinygrad_bn.drawing.graph import Graph
from tinygrad_bn.drawing.listing import to_text
from tinygrad_bn.drawing.mermaid import to_mermaid
from tinygrad_bn.drawing.programs import read_program
from tinygrad_bn.drawing.reading import read_module, read_tensor
from tinygrad_bn.drawing.rendering import render
from tinygrad_bn.files import replacing, with_suffix
from tinygrad_bn.names import checked
from tinygrad_bn.tensors import Tensor

_LAID_OUT_UNASKED = 500  # nodes; beyond that a layout can take longer than a notebook's reader wants to wait


@checked
def draw(
    target: Any,
    *inputs: Any,
    names: Mapping[str, Tensor] | None = None,
    updates: bool = False,
    gradients: bool = False,
    fold: bool = False,
) -> Drawing:
    """The computation graph of a Tensor, of a module, or of a captured program.

    Of a Tensor, what it was made from, as far as it is remembered for gradients. A module is run once with the
    example inputs, in the mode in which it is; its states and all generators are afterwards as before.

    Args:
        target: a Tensor; a module; a captured program; or a Graph.
        inputs: the arrays or Tensors to call the module with.
        names: names for leaves that have none, such as `{"x": x}`, or for other names than their own.
        updates: draw also how a module's states are updated, such as moving averages in training.
        gradients: write on every node the norm of the output's derivative with respect to it, and colour the arrows by
            it: blue where it vanishes, red where it explodes. The output must be a single element, such as a loss.
        fold: draw runs of identical blocks once, with the number of repeats. No two have the same gradients.

    Raises:
        TypeError: `target` is something else, or the inputs of a module are missing.
        ValueError: the Tensor is a leaf: nothing is remembered; or there is no single element to derive.
    """
    module = callable(target) and hasattr(target, "named_modules")
    if inputs and not module:
        raise TypeError(f"draw takes example inputs for a module only; got {len(inputs)} behind the target")
    if isinstance(target, Graph):
        graph = target
    elif hasattr(target, "flow"):
        graph = read_program(target)
    elif isinstance(target, Tensor):
        graph = read_tensor(target, names or {}, gradients)
    elif module:
        graph = read_module(target, inputs, names or {}, updates, gradients)
    else:
        came = type(target).__name__
        raise TypeError(f"draw expects a Tensor, a captured program, or a module and an example input; got {came}")
    return Drawing(folded(graph) if fold else graph)


class Drawing:
    """A graph as text and as a picture. At the end of a notebook cell it shows the picture.

    Attributes:
        graph: the nodes and scopes themselves.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def __repr__(self) -> str:
        title = f" of {self.graph.title}" if self.graph.title else ""
        return f"<drawing{title}: {len(self.graph.nodes)} nodes>"

    def __str__(self) -> str:
        return self.text

    @property
    def dot(self) -> str:
        """The graph in DOT, the language of Graphviz."""
        return to_dot(self.graph)

    @property
    def mermaid(self) -> str:
        """The graph in Mermaid, which many hosts of Markdown draw by themselves."""
        return to_mermaid(self.graph)

    @property
    def text(self) -> str:
        """The graph as indented lines, for a terminal."""
        return to_text(self.graph)

    def svg(self) -> str:
        """The graph as an SVG picture.

        Raises:
            RuntimeError: there is no layout engine, or it fails.
        """
        return render(self.dot, "svg").decode()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the graph in the form that the suffix names, and return the path.

        A file that is there already is replaced when all is done, or else stays as it is.

        Raises:
            ValueError: another suffix than .svg, .png, .dot, .mmd and .txt.
            FileNotFoundError: there is no such folder.
            RuntimeError: there is no layout engine for a picture, or it fails.
        """
        forms: dict[str, Callable[[], bytes]] = {
            ".svg": lambda: render(self.dot, "svg"),
            ".png": lambda: render(self.dot, "png"),
            ".dot": lambda: self.dot.encode(),
            ".mmd": lambda: self.mermaid.encode(),
            ".txt": lambda: self.text.encode(),
        }
        path = with_suffix(path, forms)
        content = forms[path.suffix.lower()]()
        with replacing(path) as part:
            part.write_bytes(content)
        return path

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What a notebook shows: the picture; where that cannot be had, Mermaid and the text."""
        bundle = {"text/plain": self.text}
        if len(self.graph.nodes) <= _LAID_OUT_UNASKED:
            try:
                bundle["image/svg+xml"] = self.svg()
            except RuntimeError:  # no layout engine
                bundle["text/vnd.mermaid"] = self.mermaid
        return bundle
