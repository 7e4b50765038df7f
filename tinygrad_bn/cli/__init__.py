"""The command line: python -m tinygrad_bn COMMAND.

A command is a module here, named in COMMANDS, with `add_arguments(parser)` and `run(options) -> exit status`: 0 when
all went well, 1 when a check failed or something could not be done, 2 when the command was not understood.
"""

from __future__ import annotations

from typing import Final

COMMANDS: Final = {
    "demo": "train one deep network under nine recipes and see why some of them fail",
    "bench": "time training steps against other frameworks",
}
"""What each command does, in a line."""


class Failure(Exception):
    """What the user should read instead of a traceback; the command ends with exit status 1."""

    status = 1


class Misuse(Failure):
    """As Failure, where the command itself asks for what cannot be; exit status 2."""

    status = 2
