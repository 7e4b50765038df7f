"""bench: what it refuses, what it says, and one real run too short to mean anything."""

import json
from types import SimpleNamespace

import pytest

from benchmarks import interleave
from tinygrad_bn.__main__ import main
from tinygrad_bn.cli import bench


@pytest.fixture
def timed(monkeypatch):
    """No process is started: each contender took 10 us in every round, ours as long as `timed` says."""
    slow = [10.0]

    def compare(workload, contenders, rounds, seconds):
        for name in contenders:
            took = slow[0] if name == bench.OURS else 10.0
            row = {"workload": workload, "contender": name, "rounds_us": [took] * rounds, "losses": [1.0]}
            yield {**row, "median_us": took, "best_us": 10.0}

    monkeypatch.setattr(interleave, "compare", compare)
    return slow


@pytest.fixture
def never(monkeypatch):
    monkeypatch.setattr(interleave, "compare", lambda *_: pytest.fail("timed"))


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--workload", "tinny"], 2, "unknown workload 'tinny'. Did you mean 'tiny'"),
        (["--rounds", "0"], 2, "at least one round, and seconds above 0; got 0 and 0.5"),
        (["--seconds", "-1"], 2, "at least one round, and seconds above 0; got 9 and -1.0"),
        (["--json", "."], 2, ". is a folder"),
        (["--json", "nowhere/figures.json"], 1, "cannot write into nowhere: No such file"),
        (["--markdown", "nowhere/page.md"], 1, "cannot write into nowhere: No such file"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_timed(words, status, said, never, capsys):
    assert main(["bench", "step", *words]) == status
    assert said in capsys.readouterr().err


def test_outside_a_checkout_there_is_nothing_to_time(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench, "__file__", str(tmp_path / "tinygrad_bn" / "cli" / "bench.py"))
    assert main(["bench", "step"]) == 1
    assert "only a checkout of the source has" in capsys.readouterr().err


def test_a_real_run(tmp_path, capsys):
    path = tmp_path / "figures.json"
    words = ["--workload", "tiny", "--rounds", "1", "--seconds", "0.05", "--json", str(path)]
    assert main(["bench", "step", *words]) == 0
    figures = json.loads(path.read_text())
    rows = {row["contender"]: row for row in figures["rows"]}
    assert list(rows) == [bench.OURS, bench.FLOOR]
    assert rows[bench.FLOOR]["to_products"] == 1
    assert 0 < rows[bench.OURS]["best_us"] <= rows[bench.OURS]["median_us"]
    assert rows[bench.OURS]["losses"][-1] < rows[bench.OURS]["losses"][0]
    assert "numpy" in figures["machine"]
    assert capsys.readouterr().out.count("tiny ") == 2
    assert list(tmp_path.iterdir()) == [path]


def test_a_page_says_how_it_was_made_and_a_quiet_machine_nothing(timed, tmp_path, capsys):
    path = tmp_path / "page.md"
    assert main(["bench", "step", "--workload", "tiny", "--markdown", str(path)]) == 0
    page = path.read_text()
    assert "python -m tinygrad_bn bench step --workload tiny --rounds 9 --seconds 0.5\n" in page
    assert page.endswith(
        f"| tiny | {bench.OURS} | 10.0 | 10.0 | 1.00 |  |\n| tiny | {bench.FLOOR} | 10.0 | 10.0 | 1.00 |  |\n"
    )
    assert capsys.readouterr().err == ""


def test_a_busy_machine_is_told(timed, tmp_path, capsys):
    timed[0] = 20.1
    path = tmp_path / "page.md"
    assert main(["bench", "step", "--workload", "tiny", "--markdown", str(path)]) == 0
    said = f"the machine was busy: the median is more than twice the best of tiny {bench.OURS}"
    assert capsys.readouterr().err == f"{said}\n"
    assert said in path.read_text()


def test_contenders_that_do_different_work_are_not_compared(monkeypatch, capsys):
    class Contender:
        def __init__(self, name, workload):
            self.name, self.losses = name, [1.0, 0.5 if name == bench.OURS else 0.6]

        def close(self):
            pass

    monkeypatch.setattr(interleave, "Contender", Contender)
    assert main(["bench", "step", "--workload", "tiny"]) == 1
    assert f"tiny: {bench.OURS} and {bench.FLOOR} differ" in capsys.readouterr().err


def test_a_contender_without_losses_takes_no_part_in_the_comparison():
    nan = float("nan")
    interleave._refuse_different_work([SimpleNamespace(losses=[loss]) for loss in (nan, 1.0, nan, 1.0005)])


def test_a_peer_that_is_not_installed_is_skipped(timed, monkeypatch, capsys):
    monkeypatch.setitem(interleave.NEEDS, "torch_eager", "no-such-package")
    assert main(["bench", "step", "--peers", "--workload", "tiny"]) == 0
    shown = capsys.readouterr()
    assert shown.err == "torch_eager is skipped: no-such-package is not installed\n"
    assert "torch_eager" not in shown.out


def test_a_contender_that_ends_is_named_and_the_others_are_stopped(monkeypatch, capfd):
    started = []
    monkeypatch.setattr(interleave.subprocess, "Popen", _keeping(started, interleave.subprocess.Popen))
    with pytest.raises(RuntimeError, match="no_such_contender ended with exit status 1"):
        list(interleave.compare("tiny", [bench.FLOOR, "no_such_contender"], 1, 0.01))
    assert len(started) == 2
    assert all(process.returncode is not None for process in started)
    assert "ModuleNotFoundError" in capfd.readouterr().err


def _keeping(started, start):
    def keep(*arguments, **options):
        started.append(start(*arguments, **options))
        return started[-1]

    return keep
