"""python -m tinygrad_bn demo: why deep networks train, or do not, shown live."""

from __future__ import annotations

import json
import platform
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn import __version__, names
from tinygrad_bn.cli import measuring, recipes
from tinygrad_bn.cli.images import SOURCES, Images, load
from tinygrad_bn.cli.output import output_folder, replacing
from tinygrad_bn.cli.small_network import check_gradients
from tinygrad_bn.cli.telling import conclusion, findings

if TYPE_CHECKING:
    from tinygrad_bn.checking import Certificate

_QUICK_EPOCHS = 2
