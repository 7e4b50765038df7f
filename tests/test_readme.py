"""What the README shows works as it stands there."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
LINKS = re.findall(r"\]\(([^)]+)\)", README)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs(example, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # for what it saves
    exec(compile(example, "README.md", "exec"), {})
    assert capsys.readouterr().out


def test_the_derivatives_are_those_in_the_comment(capsys):
    exec(next(example for example in EXAMPLES if "curvature" in example), {})
    slope, curvature = capsys.readouterr().out.split()
    assert slope.startswith("1.0507")
    assert curvature.startswith("0.3678")


@pytest.mark.parametrize("name", ["demo", "test"])
def test_each_command_is_one_line(name):
    found = re.findall(rf"<!-- command: {name} -->\n```sh\n(.*)\n```", README)
    assert len(found) == 1
    assert found[0].startswith("python3 -m venv .venv && .venv/bin/pip install")


@pytest.mark.parametrize("link", LINKS)
def test_a_link_leads_somewhere(link):
    assert (Path(__file__).parents[1] / link).exists()
