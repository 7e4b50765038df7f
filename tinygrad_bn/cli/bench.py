"""bench: time ours against other frameworks, interleaved, each in a process of its own."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tinygrad_bn import names
from tinygrad_bn.cli import Failure, Misuse
from tinygrad_bn.cli.output import failing, output_file, output_folder
from tinygrad_bn.files import replacing

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SUITES: Final = ("step", "fit", "ops", "depth", "capture", "memory", "import")


def add_arguments(parser: ArgumentParser) -> None:
    """The words that bench understands."""
    parser.add_argument("suite", choices=SUITES, nargs="+", help=f"what to measure: {', '.join(SUITES)}")
    parser.add_argument("--peers", action="store_true", help="also time the other frameworks that are installed")
    parser.add_argument("--workload", action="append", help="only this one; may be given several times")
    parser.add_argument("--contender", action="append", help="only this one; may be given several times")
    parser.add_argument("--rounds", type=int, default=9, help="how many times each contender has its turn (default 9)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=0.5,
        help="a turn takes samples for so long (default 0.5), and one at least, however long that takes: in fit it is "
        "a whole epoch, in memory up to 2,000 steps; before the first turn each contender is prepared",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write them as a page to this file")
    parser.add_argument("--plot", type=Path, metavar="DIR", help="draw each workload as an SVG into this folder")


def run(options: Namespace) -> int:
    """Time the workloads, print a row for each contender, and write what was asked for; 1 if one could not run."""
    if options.rounds < 1 or not 0 < options.seconds < math.inf:
        got = f"{options.rounds} and {options.seconds}"
        raise Misuse(f"expects at least one round, and finite seconds above 0; got {got}")
    files = [path for path in (options.json, options.markdown) if path]
    for path in files:
        output_file(path)
    if len({path.resolve() for path in files}) < len(files):
        raise Misuse(f"--json and --markdown expect two files; got {options.json} for both")
    if options.plot:
        _expect_plots(options.plot)
    _expect_benchmarks()
    suites = [import_module("benchmarks.suites").load(name) for name in dict.fromkeys(options.suite)]
    _expect_known("workload", options.workload, (case for suite in suites for case in suite.cases))
    _expect_known("contender", options.contender, (name for suite in suites for name in suite.contenders))
    results: list[Any] = []
    for suite in suites:
        results += _measured(suite, options)
        _write(results, options)  # each time: who stops a long run keeps what is finished
    return 1 if any(result.skipped for result in results) else 0


def _expect_plots(folder: Path) -> None:
    if folder.is_file():
        raise Misuse(f"--plot expects a folder; {folder} is a file")
    if find_spec("matplotlib") is None:
        raise Failure("plots need matplotlib: pip install 'tinygrad_bn[plot]'")
    output_folder(folder, "--plot")


def _expect_benchmarks() -> None:
    """Make benchmarks/ of the checkout that this package lies in importable."""
    root = Path(__file__).parents[2]
    if not (root / "benchmarks" / "interleave.py").exists():
        raise Failure("the workloads lie in benchmarks/, which only a checkout of the source has; run it from there")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))


def _expect_known(kind: str, wanted: list[str] | None, known: Iterable[str]) -> None:
    choices = set(known)
    for name in wanted or ():
        if name not in choices:
            raise Misuse(names.unknown(kind, name, choices))


def _measured(suite: Any, options: Namespace) -> Iterator[Any]:
    """The result of each case, printed as it comes."""
    interleave, reporting = import_module("benchmarks.interleave"), import_module("benchmarks.reporting")
    cases = [case for case in suite.cases if case in (options.workload or suite.cases)]
    contenders = _taking_part(suite, options)
    suite = suite.among(contenders)
    if cases and contenders:
        print(f"{suite.name}: {suite.title}\n{reporting.aligned(suite, reporting.headings(suite))}", flush=True)
    for case in cases if contenders else ():
        with _progress(case, len(contenders), options.rounds) as tell:
            try:
                figures, skipped = interleave.compare(suite, case, contenders, options.rounds, options.seconds, tell)
            except RuntimeError as error:  # the other cases are still worth their time
                figures, skipped = [], {"every contender": str(error)}
        result = reporting.Result(suite, case, figures, skipped)
        for cells in result.cells():
            print(reporting.aligned(suite, cells), flush=True)
        for name, reason in skipped.items():
            print(f"{case}: {name} is skipped: {reason}", file=sys.stderr)
        yield result


def _taking_part(suite: Any, options: Namespace) -> list[str]:
    wanted = options.contender or (suite.contenders if options.peers else suite.ours)
    taking_part = []
    for name in (name for name in suite.contenders if name in wanted):
        if missing := import_module("benchmarks.contenders").missing(name):
            print(f"{name} is skipped: {missing} is not installed", file=sys.stderr)
        else:
            taking_part.append(name)
    return taking_part


@contextmanager
def _progress(title: str, contenders: int, rounds: int) -> Iterator[Callable[[str], object]]:
    """A function to be told who is prepared, and who had a turn: it moves a bar on, or prints off a terminal."""
    if not sys.stderr.isatty() or find_spec("tqdm") is None:
        yield partial(_tell, title, rounds, Counter())
        return
    total = contenders * (1 + rounds)
    with import_module("tqdm").tqdm(total=total, desc=title, unit="turn", leave=False, file=sys.stderr) as bar:

        def tell(name: str) -> None:
            bar.set_postfix_str(name, refresh=False)
            bar.update()

        yield tell


def _tell(title: str, rounds: int, turns: Counter[str], name: str) -> None:
    print(f"{title}: {name}, {f'round {turns[name]} of {rounds}' if turns[name] else 'prepared'}", file=sys.stderr)
    turns[name] += 1


def _write(results: list[Any], options: Namespace) -> None:
    reporting = import_module("benchmarks.reporting")
    if busy := reporting.busy(results):
        print(busy, file=sys.stderr)
    if options.json:
        rows = [row for result in results for row in result.rows()]
        _write_text(options.json, json.dumps({"machine": reporting.machine(results), "rows": rows}, indent=1))
    if options.markdown:
        _write_text(options.markdown, reporting.page(results, _command(options)))
    if options.plot:
        with failing(options.plot):
            for result in (result for result in results if result.figures):
                print(import_module("benchmarks.plotting").plot(result, options.plot))


def _command(options: Namespace) -> str:
    words = ["python -m tinygrad_bn bench", *options.suite, *(["--peers"] if options.peers else [])]
    for kind in ("workload", "contender"):
        words += [f"--{kind} '{name}'" if " " in name else f"--{kind} {name}" for name in getattr(options, kind) or ()]
    return " ".join([*words, f"--rounds {options.rounds} --seconds {options.seconds}"])


def _write_text(path: Path, text: str) -> None:
    with failing(path.parent), replacing(path) as part:
        part.write_text(text, encoding="utf-8")
