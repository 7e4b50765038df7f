"""From DOT text to SVG and PNG, by whichever layout engine there is."""

from __future__ import annotations

import shutil
import sysconfig
from typing import Literal

from tinygrad_bn.drawing.palette import FONT, WIDE_FONT

_DOTS_PER_INCH = 144


def render(dot: str, form: Literal["svg", "png"]) -> bytes:
    """The picture of a graph in DOT.

    Raises:
        RuntimeError: there is no layout engine, or it fails.
    """
    # `graphviz` runs a program called dot, and offers no other name but a global that would change for all its users.
    # So it makes the flags and runs the command, and the name in front is ours.
    from graphviz.backend import dot_command, execute

    _, *flags = dot_command.command("dot", form)
    if form == "svg":
        dot = dot.replace(f"fontname={FONT},", f"fontname={WIDE_FONT},")
    sharp = [f"-Gdpi={_DOTS_PER_INCH}"] if form == "png" else []
    try:
        done = execute.run_check([engine(), *flags, *sharp], input=dot.encode(), capture_output=True, quiet=True)
    except execute.CalledProcessError as error:
        raise RuntimeError(f"{engine()} could not lay out the graph: {error.stderr.decode().strip()}") from None
    named, with_stand_ins = f'font-family="{WIDE_FONT}"', f'font-family="{WIDE_FONT},DejaVu Sans,sans-serif"'
    return done.stdout.replace(named.encode(), with_stand_ins.encode()) if form == "svg" else bytes(done.stdout)


def engine() -> str:
    """The layout engine: the system's dot, else the graphviz-pure that pip installs.

    Raises:
        RuntimeError: there is neither.
    """
    scripts = (sysconfig.get_path("scripts"), sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user")))
    for program, place in (("dot", None), *(("graphviz-pure", place) for place in (None, *scripts))):
        found = shutil.which(program, path=place)
        if found:
            return found
    raise RuntimeError(
        "SVG and PNG need a layout engine, and there is none: pip install graphviz-pure, or install Graphviz "
        "(https://graphviz.org/download). The texts .dot, .mermaid and .text need none"
    )
