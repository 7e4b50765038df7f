"""bench: time training steps against other frameworks, interleaved, each in a process of its own."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygrad_bn.cli import Failure, Misuse
from tinygrad_bn.cli.output import failing, output_file
from tinygrad_bn.files import replacing

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

OURS, FLOOR = "tinygrad_bn_eager", "matrix_products"
_INTRODUCTION = """\
# Benchmarks

Training steps, timed in turn in processes of their own: every contender starts from the same weights, and their first
losses are checked to agree. A ratio is the median over the rounds, so it holds where the machine's speed drifts; *best*
is the fastest tenth percentile of any round. "Matrix products" are the products of the step alone, through NumPy.

This page was written by

    {command}

on {machine}.

| network | contender | median, us | best, us | to matrix products | to PyTorch eager |
|---|---|---|---|---|---|
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The words that bench understands."""
    parser.add_argument("suite", choices=["step"], help="step: one training step")
    parser.add_argument("--peers", action="store_true", help="also time the other frameworks that are installed")
    parser.add_argument("--workload", action="append", help="only this one; may be given several times")
    parser.add_argument("--rounds", type=int, default=9, help="how many times each contender has its turn (default 9)")
    parser.add_argument("--seconds", type=float, default=0.5, help="how long one turn takes (default 0.5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write them as a page to this file")


def run(options: Namespace) -> int:
    """Time the workloads, print a row for each contender, and write what was asked for."""
    if options.rounds < 1 or options.seconds <= 0:
        raise Misuse(f"expects at least one round, and seconds above 0; got {options.rounds} and {options.seconds}")
    for path in filter(None, (options.json, options.markdown)):
        output_file(path)
    interleave = _benchmarks()
    chosen = options.workload or list(interleave.WORKLOADS)
    unknown = [name for name in chosen if name not in interleave.WORKLOADS]
    if unknown:
        from tinygrad_bn import names

        raise Misuse(names.unknown("workload", unknown[0], interleave.WORKLOADS))
    contenders = [OURS, FLOOR]
    for peer in interleave.PEERS if options.peers else ():
        if interleave.installed(peer) is None:
            print(f"{peer} is skipped: {interleave.NEEDS[peer]} is not installed", file=sys.stderr)
        else:
            contenders.append(peer)
    rows = []
    print(f"{'network':16}{'contender':20}{'median, us':>12}{'best, us':>10}{'/products':>11}{'/PyTorch':>10}")
    for name in chosen:
        try:
            figures = list(interleave.compare(name, contenders, options.rounds, options.seconds))
        except RuntimeError as error:
            raise Failure(f"{name}: {error}") from None
        for row in _with_ratios(figures, interleave.ratio):
            ratios = f"{row['to_products']:>11.2f}{row['to_torch'] or float('nan'):>10.2f}"
            print(f"{name:16}{row['contender']:20}{row['median_us']:>12.1f}{row['best_us']:>10.1f}{ratios}")
            rows.append(row)
    if busy := _busy(rows):
        print(busy, file=sys.stderr)
    machine = _machine(interleave, contenders)
    if options.json:
        _write(options.json, json.dumps({"machine": machine, "rows": rows}, indent=1))
    if options.markdown:
        _write(options.markdown, _page(rows, machine, options))
    return 0


def _benchmarks() -> Any:
    """The timing code of the checkout that this package lies in."""
    root = Path(__file__).parents[2]
    if not (root / "benchmarks" / "interleave.py").exists():
        raise Failure("the workloads lie in benchmarks/, which only a checkout of the source has; run it from there")
    from importlib import import_module

    sys.path.insert(0, str(root))
    return import_module("benchmarks.interleave")


def _with_ratios(figures: list[dict[str, Any]], ratio: Any) -> list[dict[str, Any]]:
    by_name = {row["contender"]: row for row in figures}
    torch = by_name.get("torch_eager")
    return [
        {**row, "to_products": ratio(row, by_name[FLOOR]), "to_torch": ratio(row, torch) if torch else None}
        for row in figures
    ]


def _busy(rows: list[dict[str, Any]]) -> str:
    """What makes the figures doubtful, or nothing."""
    slowed = [f"{r['workload']} {r['contender']}" for r in rows if r["median_us"] > 2 * r["best_us"]]
    return f"the machine was busy: the median is more than twice the best of {', '.join(slowed)}" if slowed else ""


def _machine(interleave: Any, contenders: list[str]) -> str:
    import platform

    packages = sorted({interleave.NEEDS[name] for name in contenders})
    versions = ", ".join(f"{package} {interleave.version(package)}" for package in packages)
    processor = f"{os.cpu_count()} cores of {platform.machine()}"
    return f"{processor}, {platform.system()}, Python {platform.python_version()}, {versions}"


def _page(rows: list[dict[str, Any]], machine: str, options: Namespace) -> str:
    chosen = "".join(f" --workload {name}" for name in options.workload or ())
    peers = " --peers" if options.peers else ""
    command = f"python -m tinygrad_bn bench step{peers}{chosen} --rounds {options.rounds} --seconds {options.seconds}"
    lines = []
    for row in rows:
        to_torch = "" if row["to_torch"] is None else f"{row['to_torch']:.2f}"
        figures = f"{row['median_us']:.1f} | {row['best_us']:.1f} | {row['to_products']:.2f} | {to_torch}"
        lines.append(f"| {row['workload']} | {row['contender']} | {figures} |\n")
    busy = f"\nDoubtful: {doubt}.\n" if (doubt := _busy(rows)) else ""
    return _INTRODUCTION.format(command=command, machine=machine) + "".join(lines) + busy


def _write(path: Path, text: str) -> None:
    with failing(path.parent), replacing(path) as part:
        part.write_text(text, encoding="utf-8")
