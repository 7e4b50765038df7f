"""Pages with code: what stands in their fences, and what running it prints."""

import re
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2] / "docs"
TUTORIAL = ROOT / "tutorial.md"
TRANSLATION = ROOT / "pt" / "tutorial.md"
PICTURES = ROOT / "images" / "tutorial"

BLOCK = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)
_NUMBER = re.compile(r"(?:(?<![\w.])|(?<=\bx))-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?%?")
_SLACK = 2.01
"""By how many units of its last digit a number may differ, that of another processor being a little another one."""


class Block(NamedTuple):
    code: str
    output: str


def blocks(page):
    """The code of a page, each with the output that follows it."""
    return [Block(code, output or "") for code, output in BLOCK.findall(page.read_text())]


def printed(codes, folder):
    """What each of the codes prints; they run in one namespace, and what they save goes to `folder`."""
    namespace = {}
    with chdir(folder):
        for place, code in enumerate(codes):
            out = StringIO()
            with redirect_stdout(out):
                exec(compile(code, f"block {place}", "exec"), namespace)
            yield out.getvalue()


def agree(shown, found):
    """Whether two texts are the same, but for spaces and the last digits of numbers that are not whole."""
    numbers = [_NUMBER.findall(text) for text in (shown, found)]
    words = [" ".join(_NUMBER.sub("#", text).replace("-", "").split()) for text in (shown, found)]
    return words[0] == words[1] and all(map(_near, *numbers)) if len(numbers[0]) == len(numbers[1]) else False


def _near(shown, found):
    if "." not in shown and "e" not in shown and "%" not in shown:
        return shown == found
    value, other = (float(text.replace(",", "").rstrip("%")) for text in (shown, found))
    return abs(value - other) <= _SLACK * max(map(_last_digit, (shown, found)))


def _last_digit(number):
    """What the last digit of a number that is written out counts for: 0.01 of "1.23", 1e-13 of "1.2e-12"."""
    mantissa, _, exponent = number.rstrip("%").partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
