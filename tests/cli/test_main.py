import io
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import tinygrad_bn as tg
from tinygrad_bn.__main__ import main
from tinygrad_bn.cli import COMMANDS, Failure, Misuse, demo


def test_the_module_can_be_run():
    done = subprocess.run(
        [sys.executable, "-m", "tinygrad_bn", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == f"tinygrad-bn {tg.__version__}\n"
    assert done.stderr == ""


@pytest.mark.parametrize("words", [[], *([command] for command in COMMANDS)], ids=["nothing", *COMMANDS])
def test_help_everywhere(words, capsys):
    assert main([*words, "--help"]) == 0
    assert capsys.readouterr().out.startswith(" ".join(["usage: tinygrad-bn", *words]))


def test_the_help_names_every_command(capsys):
    main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f"{name} {summary}" in shown for name, summary in COMMANDS.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_run(name):
    assert callable(import_module(f"tinygrad_bn.cli.{name}").run)


@pytest.mark.parametrize("words", [[], ["dmeo"], ["--quick"]], ids=["nothing", "unknown", "option without command"])
def test_what_is_not_understood_ends_with_2(words, capsys):
    assert main(words) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("tinygrad-bn: error: ")


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (Failure("the disk is full"), 1, "tinygrad-bn demo: the disk is full\n"),
        (Misuse("no such thing"), 2, "tinygrad-bn demo: no such thing\n"),
        (KeyboardInterrupt(), 130, "\ntinygrad-bn demo: interrupted\n"),
    ],
)
def test_an_end_in_the_middle_is_one_line(raised, status, said, monkeypatch, capsys):
    def run(options):
        raise raised

    monkeypatch.setattr(demo, "run", run)
    assert main(["demo"]) == status
    assert capsys.readouterr().err == said


def test_what_standard_output_cannot_spell_stops_no_work(monkeypatch):
    monkeypatch.setattr(demo, "run", lambda options: print(f"{options.out}: written") or 0)
    for errors, said in (("strict", b"\\xe4: written\n"), ("replace", b"?: written\n")):
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii", errors, newline="\n"))
        assert main(["demo", "--out", "\xe4"]) == 0
        assert written.getvalue() == said


WRITES_A_LOT = """
import sys
from tinygrad_bn.__main__ import main
from tinygrad_bn.cli import demo
demo.run = lambda options: print("x" * 1_000_000) or 0
sys.exit(main(["demo"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break in another way there")
def test_a_reader_who_leaves_early_sees_no_traceback():
    command = [sys.executable, "-c", WRITES_A_LOT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        child.stdout.close()
        assert child.stderr.read() == ""
        assert child.wait(timeout=60) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.parametrize(("where", "said"), [(">/dev/full", "cannot write its output"), (">&-", "output is closed")])
def test_an_output_that_cannot_be_written_is_said_in_a_line(where, said):
    command = ["bash", "-c", f'"$0" -c "$1" {where}', sys.executable, WRITES_A_LOT]
    child = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (child.returncode, len(child.stderr.splitlines())) == (1, 1)
    assert said in child.stderr


@pytest.mark.parametrize("words", [["demo"], ["bench", "step"]])
def test_a_command_answers_for_the_options_that_it_does_not_know(words, capsys):
    assert main([*words, "--outt"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"usage: tinygrad-bn {words[0]}")
    assert said.endswith(f"tinygrad-bn {words[0]}: error: unrecognized arguments: --outt\n")
