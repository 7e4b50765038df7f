"""The entry: python -m tinygrad_bn, also installed as tinygrad-bn."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING

from tinygrad_bn import __version__
from tinygrad_bn.cli import COMMANDS, Failure

if TYPE_CHECKING:
    from argparse import Namespace

_PROGRAM = "tinygrad-bn"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        argv: the words after the program's name; None takes those that the process was started with.
    """
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # as on standard error: what cannot be spelled stops no work
    try:
        options = _options(argv)
    except SystemExit as exit:  # argparse has printed its help, the version, or what it did not understand
        return int(exit.code or 0)
    if sys.stdout is None:  # as `>&-` leaves it
        print(f"{_PROGRAM} {options.command}: standard output is closed", file=sys.stderr)
        return 1
    try:
        status: int = import_module(f"tinygrad_bn.cli.{options.command}").run(options)
        sys.stdout.flush()
        return status
    except Failure as failure:
        print(f"{_PROGRAM} {options.command}: {failure}", file=sys.stderr)
        return failure.status
    except KeyboardInterrupt:
        print(f"\n{_PROGRAM} {options.command}: interrupted", file=sys.stderr)
        return 130
    except OSError as error:  # a BrokenPipeError: whoever was reading, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"{_PROGRAM} {options.command}: cannot write its output: {error}", file=sys.stderr)
        return 1


def _options(argv: Sequence[str] | None) -> Namespace:
    """What the words ask for; a command answers for the options that it does not know."""
    from argparse import ArgumentParser

    parser = ArgumentParser(prog=_PROGRAM, description="An autograd mini-framework on NumPy.")
    parser.add_argument("--version", action="version", version=f"{_PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        import_module(f"tinygrad_bn.cli.{name}").add_arguments(command)
    options, unknown = parser.parse_known_args(argv)
    if unknown:
        commands.choices[options.command].error(f"unrecognized arguments: {' '.join(unknown)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
