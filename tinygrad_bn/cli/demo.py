"""python -m tinygrad_bn demo: why deep networks train, or do not, shown live."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import fill
from typing import TypeVar

from tinygrad_bn import names
from tinygrad_bn.cli.images import SOURCES, Images, load
from tinygrad_bn.cli.measuring import BATCH, LEARNING_RATE, MOMENTUM, measure
from tinygrad_bn.cli.output import failing, output_file, output_folder
from tinygrad_bn.cli.recipes import DEPTH, RECIPES, WIDTH
from tinygrad_bn.cli.small_network import check_gradients
from tinygrad_bn.cli.telling import certified, conclusion, explanation, findings
from tinygrad_bn.cli.writing import FILES, write_graph, write_results, write_signals

_QUICK_EPOCHS = 2
_QUICK_IMAGES = 1437  # as many as there are digits to learn from

Chosen = TypeVar("Chosen")


def add_arguments(parser: ArgumentParser) -> None:
    """What the demo can be told."""
    many = f"how often to go through the images ({SOURCES['digits'].epochs} for the digits, which are few; else 1)"
    few = f"{_QUICK_EPOCHS} epochs, and no more images than there are digits: shows everything, learns little"
    parser.add_argument("--quick", action="store_true", help=few)
    parser.add_argument("--epochs", type=_at_least(1), metavar="N", help=many)
    parser.add_argument("--seed", type=_at_least(0), default=0, metavar="N", help="of the weights and batches (0)")
    parser.add_argument(
        "--data", type=_one_of("data", SOURCES), default="digits", metavar="NAME", help=f"{', '.join(SOURCES)} (digits)"
    )
    parser.add_argument(
        "--recipes",
        type=_one_of("recipe", RECIPES),
        nargs="+",
        default=list(RECIPES),
        metavar="NAME",
        help=f"which of {', '.join(RECIPES)} (all)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("tinygrad_bn_demo"),
        metavar="DIR",
        help="where to write graph.svg, signal.svg and results.json (tinygrad_bn_demo)",
    )


def run(options: Namespace) -> int:
    """Train, tell, check and write; 1 if the check of gradients fails."""
    images = load(options.data)
    folder = output_folder(options.out)
    for name in FILES:
        output_file(folder / name)
    if options.quick:
        images = images.first(_QUICK_IMAGES)
    epochs = options.epochs or (_QUICK_EPOCHS if options.quick else SOURCES[options.data].epochs)
    _say(_introduction(options.data, images, epochs, options.seed))
    outcomes = {name: measure(RECIPES[name], images, epochs, options.seed) for name in dict.fromkeys(options.recipes)}
    told = list(outcomes.values())
    print(f"\n{findings(told)}\n")
    _say(explanation(told))
    _say(conclusion(told))
    certificate = check_gradients(options.seed)
    _say(certified(certificate))
    if not certificate:
        print(f"{certificate}\n")
    settings = {"data": options.data, "epochs": epochs, "seed": options.seed, "training_images": len(images.x_train)}
    with failing(folder):
        print(write_results(folder, settings, outcomes, certificate))
        print(write_signals(folder, told))
        print(write_graph(folder))
    return 0 if certificate else 1


def _introduction(name: str, images: Images, epochs: int, seed: int) -> str:
    pixels = " x ".join(map(str, images.x_train.shape[1:]))
    return (
        f"One network, {DEPTH} hidden layers of {WIDTH} units, learns {SOURCES[name].what} ({len(images.x_train):,} of "
        f"{pixels} pixels; {len(images.x_test):,} more to test on) under several recipes. Always the same: SGD with "
        f"learning rate {LEARNING_RATE:g} and momentum {MOMENTUM:g}, batches of {BATCH}, {epochs} "
        f"epoch{'s' * (epochs > 1)}, seed {seed}."
    )


def _say(text: str) -> None:
    """Print a paragraph."""
    print(fill(text, width=100, break_on_hyphens=False), end="\n\n", flush=True)


def _at_least(least: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise ArgumentTypeError(f"expects a whole number from {least} on; got {text!r}")
        return number

    return whole


def _one_of(kind: str, choices: Mapping[str, Chosen]) -> Callable[[str], str]:
    def choice(text: str) -> str:
        if text not in choices:
            raise ArgumentTypeError(names.unknown(kind, text, choices))
        return text

    return choice
