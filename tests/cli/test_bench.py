"""bench: what it refuses, what it says, and real runs too short to mean anything."""

import json
import os
import signal
import sys
from contextlib import closing, suppress
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import contenders, interleave
from benchmarks.figures import Figures
from benchmarks.suites import load
from tinygrad_bn.__main__ import main
from tinygrad_bn.cli import bench

OURS, FLOOR = "tinygrad_bn_eager", "matrix_products"
PROGRESS = f"tiny: {OURS}, prepared\ntiny: {FLOOR}, prepared\n"
TINY = ["step", "--workload", "tiny", "--contender", OURS, "--contender", FLOOR]


@pytest.fixture
def timed(monkeypatch):
    """No process is started: each contender took 10 us in every round, ours as long as `timed` says."""
    slow = [10.0]

    def compare(suite, case, names, rounds, seconds, tell):
        for name in names:
            tell(name)
        figures = [Figures(name, [slow[0] if name == OURS else 10.0] * rounds, 10.0, [1.0]) for name in names]
        return figures, {}

    monkeypatch.setattr(interleave, "compare", compare)
    return slow


@pytest.fixture
def never(monkeypatch):
    monkeypatch.setattr(interleave, "compare", lambda *_: pytest.fail("timed"))


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--workload", "tinny"], 2, "unknown workload 'tinny'. Did you mean 'tiny'"),
        (["--contender", "jax"], 2, "unknown contender 'jax'. Did you mean 'jax_jit'"),
        (["--workload", "mnist"], 2, "unknown workload 'mnist'"),
        (["--rounds", "0"], 2, "at least one round, and finite seconds above 0; got 0 and 0.5"),
        (["--rounds", "many"], 2, "invalid int value: 'many'"),
        (["--seconds", "-1"], 2, "at least one round, and finite seconds above 0; got 9 and -1.0"),
        (["--seconds", "nan"], 2, "at least one round, and finite seconds above 0; got 9 and nan"),
        (["--seconds", "inf"], 2, "at least one round, and finite seconds above 0; got 9 and inf"),
        (["--json", "same", "--markdown", "./same"], 2, "--json and --markdown expect two files; got same for both"),
        (["--json", "."], 2, ". is a folder"),
        (["--plot", __file__], 2, f"--plot expects a folder; {__file__} is a file"),
        (["--json", "nowhere/figures.json"], 1, "cannot write into nowhere: No such file"),
        (["--markdown", "nowhere/page.md"], 1, "cannot write into nowhere: No such file"),
        (["steps"], 2, "invalid choice: 'steps'"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_timed(words, status, said, never, capsys):
    assert main(["bench", "step", *words]) == status
    assert said in capsys.readouterr().err


def test_a_suite_is_asked_for(never, capsys):
    assert main(["bench"]) == 2
    assert "required: suite" in capsys.readouterr().err


def test_outside_a_checkout_there_is_nothing_to_time(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench, "__file__", str(tmp_path / "tinygrad_bn" / "cli" / "bench.py"))
    assert main(["bench", "step"]) == 1
    assert "only a checkout of the source has" in capsys.readouterr().err


def test_without_matplotlib_no_pictures_are_promised(monkeypatch, tmp_path, never, capsys):
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    assert main(["bench", *TINY, "--plot", str(tmp_path / "plots")]) == 1
    assert "pip install 'tinygrad_bn[plot]'" in capsys.readouterr().err


def test_the_suites_on_the_command_line_are_those_of_the_checkout():
    files = Path(interleave.__file__).parent.glob("suites/*_suite.py")
    assert {file.stem.removesuffix("_suite") for file in files} == set(bench.SUITES)
    assert all(load(name).name == name for name in bench.SUITES)


def test_a_real_run(tmp_path, capsys):
    path = tmp_path / "figures.json"
    assert main(["bench", *TINY, "--rounds", "1", "--seconds", "0.01", "--json", str(path)]) == 0
    figures = json.loads(path.read_text())
    rows = {row["contender"]: row for row in figures["rows"]}
    assert list(rows) == [OURS, FLOOR]
    assert rows[FLOOR]["ratios"]["to products"] == [1, 1]
    assert 0 < rows[OURS]["best"] <= rows[OURS]["median"]
    assert rows[OURS]["losses"][-1] < rows[OURS]["losses"][0]
    assert "numpy" in figures["machine"]
    assert capsys.readouterr().out.count("tiny ") == 2
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("suite", "case", "names"),
    [
        ("fit", "digits", ["tinygrad_bn_eager_loop"]),
        ("ops", "exp", [OURS, "plain_numpy"]),
        ("ops", "chain of matmul", [OURS, "plain_numpy"]),
        ("depth", "10-layers", [OURS]),
        ("memory", "allocated of tiny", [OURS]),
        ("import", "import", ["numpy"]),
    ],
)
def test_every_suite_measures(suite, case, names):
    figures, skipped = interleave.compare(load(suite), case, names, 1, 0.01, lambda name: None)
    assert [entry.contender for entry in figures] == names
    assert all(entry.best > 0 for entry in figures)
    assert skipped == {}


def test_who_is_told_to_end_leaves_no_contender_behind(monkeypatch):
    racing = []

    class Known(interleave.Contender):
        def rest(self):
            super().rest()
            racing.append(self.process)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(interleave, "Contender", Known)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit, match="143"):
        interleave.compare(load("ops"), "add", ["plain_numpy"], 1, 0.01, lambda name: None)
    assert signal.getsignal(signal.SIGTERM) is before
    assert [process.poll() for process in racing] == [-signal.SIGKILL]


def test_a_page_says_how_it_was_made_and_a_quiet_machine_nothing(timed, tmp_path, capsys):
    path = tmp_path / "page.md"
    assert main(["bench", *TINY, "--markdown", str(path)]) == 0
    page = path.read_text()
    command = " ".join(TINY)
    assert f"    python -m tinygrad_bn bench {command} --rounds 9 --seconds 0.5\n" in page
    assert page.endswith(
        "| workload | contender | median, us | best | to products |\n"
        "| --- | --- | --- | --- | --- |\n"
        f"| tiny | {OURS} | 10.00 | 10.00 | 1.00 (1.00) |\n"
        f"| tiny | {FLOOR} | 10.00 | 10.00 | 1.00 (1.00) |\n"
    )
    assert capsys.readouterr().err == PROGRESS


def test_several_suites_share_a_page_and_only_what_has_the_workload_is_measured(timed, tmp_path, capsys):
    path = tmp_path / "page.md"
    words = ["step", "ops", "fit", "--workload", "tiny", "--workload", "chain of add", "--markdown", str(path)]
    assert main(["bench", *words]) == 0
    page = path.read_text()
    assert "bench step ops fit --workload tiny --workload 'chain of add' --rounds" in page
    assert [line for line in page.splitlines() if line.startswith("## ")] == [
        "## step: one training step",
        "## ops: one operation on a small matrix",
    ]


def test_who_stops_a_long_run_keeps_the_suites_that_are_finished(timed, monkeypatch, tmp_path):
    compare = interleave.compare

    def stopped(suite, *rest):
        if suite.name == "capture":
            raise KeyboardInterrupt
        return compare(suite, *rest)

    monkeypatch.setattr(interleave, "compare", stopped)
    path = tmp_path / "figures.json"
    main(["bench", "step", "capture", "--workload", "notebook", "--contender", OURS, "--json", str(path)])
    assert [row["suite"] for row in json.loads(path.read_text())["rows"]] == ["step"]


def test_a_busy_machine_is_told(timed, tmp_path, capsys):
    timed[0] = 20.1
    path = tmp_path / "page.md"
    assert main(["bench", *TINY, "--markdown", str(path)]) == 0
    said = f"the machine was busy: the median is more than twice the best of tiny {OURS}"
    assert capsys.readouterr().err == f"{PROGRESS}{said}\n"
    assert said in path.read_text()


def test_each_workload_has_its_picture(timed, tmp_path, capsys):
    folder = tmp_path / "plots"
    assert main(["bench", "ops", "--workload", "add", "--workload", "chain of add", "--plot", str(folder)]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["ops-add.svg", "ops-chain-of-add.svg"]
    assert (folder / "ops-add.svg").read_text().startswith("<?xml")
    assert str(folder / "ops-add.svg") in capsys.readouterr().out


def test_off_a_terminal_there_is_a_line_for_each_turn(capsys):
    assert main(["bench", *TINY, "--rounds", "2", "--seconds", "0.01"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tiny: ")]
    assert said == [f"tiny: {name}, {when}" for when in ("prepared", *ROUNDS) for name in (OURS, FLOOR)]


ROUNDS = ("round 1 of 2", "round 2 of 2")


def test_the_help_says_what_a_turn_is(capsys):
    with suppress(SystemExit):
        main(["bench", "--help"])
    assert "for so long (default 0.5), and one at least" in " ".join(capsys.readouterr().out.split())


def test_a_turn_takes_one_sample_at_least_and_goes_on_for_its_seconds():
    for seconds, fewest, most in ((1e-9, 1, 1), (0.2, 2, 10**6)):
        with closing(interleave.Contender("step", FLOOR, "tiny")) as contender:
            contender.burst(seconds)
        assert fewest <= len(contender.bursts[0]) <= most


def test_a_terminal_sees_who_has_its_turn(timed, monkeypatch):
    pytest.importorskip("tqdm")
    screen = StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", screen)
    assert main(["bench", *TINY, "--rounds", "1"]) == 0
    assert "tiny:   0%" in screen.getvalue()


def test_contenders_that_do_different_work_are_not_compared(monkeypatch, tmp_path, capsys):
    class Contender:
        def __init__(self, suite, name, case):
            self.name, self.losses = name, [1.0, 0.5 if name == OURS else 0.6]

        def close(self):
            pass

    monkeypatch.setattr(interleave, "Contender", Contender)
    assert main(["bench", *TINY, "--json", str(tmp_path / "figures.json")]) == 1
    assert f"tiny: every contender is skipped: {OURS} and {FLOOR} differ" in capsys.readouterr().err
    assert json.loads((tmp_path / "figures.json").read_text())["rows"] == []


@pytest.mark.parametrize("other", [1.01, float("nan")])
def test_losses_are_compared_as_far_as_both_have_some(other):
    def racing(*losses):
        return [SimpleNamespace(name="one", losses=given) for given in losses]

    interleave._refuse_different_work(racing([], [1.0, 0.9], [], [1.0005]))
    with pytest.raises(RuntimeError, match="differ"):
        interleave._refuse_different_work(racing([], [1.0, 0.9], [other]))


def test_a_peer_that_is_not_installed_is_skipped(timed, monkeypatch, capsys):
    monkeypatch.setattr(contenders, "missing", {"jax_jit": "jax", "mygrad": "mygrad"}.get)
    assert main(["bench", "step", "--peers", "--workload", "tiny"]) == 0
    shown = capsys.readouterr()
    assert (
        shown.err.partition("tiny: ")[0]
        == "jax_jit is skipped: jax is not installed\nmygrad is skipped: mygrad is not installed\n"
    )
    assert "torch_eager" in shown.out
    assert "jax_jit" not in shown.out


def test_what_a_contender_needs_is_looked_up(monkeypatch):
    monkeypatch.setitem(contenders._PACKAGES, "torch_eager", ("numpy", "no-such-package"))
    assert contenders.missing("torch_eager") == "no-such-package"
    assert contenders.missing(OURS) is None
    assert list(contenders.versions([OURS, "torch_eager"])) == ["numpy"]


def test_a_contender_that_cannot_be_prepared_is_skipped_and_the_others_are_timed():
    suite = load("capture")
    figures, skipped = interleave.compare(suite, "tiny", [OURS, "tinygrad_bn_replay"], 1, 0.01, lambda name: None)
    assert skipped == {OURS: "AttributeError: module 'benchmarks.contenders.tinygrad_bn_eager' has no attribute 'anew'"}
    assert [entry.contender for entry in figures] == ["tinygrad_bn_replay"]


def test_what_was_skipped_is_told_everywhere(monkeypatch, tmp_path, capsys):
    path = tmp_path / "page.md"
    monkeypatch.setattr(interleave, "compare", lambda *_: ([Figures(FLOOR, [1.0], 1.0, [])], {OURS: "Error: no"}))
    assert main(["bench", *TINY, "--markdown", str(path)]) == 1
    assert capsys.readouterr().err == f"tiny: {OURS} is skipped: Error: no\n"
    assert f"Not measured: tiny: {OURS} (Error: no)." in path.read_text()


def test_a_contender_that_ends_is_named_and_the_others_are_stopped(monkeypatch):
    started = []
    monkeypatch.setattr(interleave.subprocess, "Popen", _keeping(started, interleave.subprocess.Popen))

    def ended(name):
        if name == OURS:
            started[1].kill()
            started[1].wait()

    with pytest.raises(RuntimeError, match=f"{OURS} ended with exit status"):
        interleave.compare(load("step"), "tiny", [FLOOR, OURS], 1, 0.01, ended)
    assert len(started) == 2
    assert all(process.returncode is not None for process in started)


def _keeping(started, start):
    def keep(*arguments, **options):
        started.append(start(*arguments, **options))
        return started[-1]

    return keep
