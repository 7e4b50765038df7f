"""The documentation names the test of what it claims, and every file and test that it names is there."""

import re
from itertools import accumulate

import pytest

from tests.docs.pages import ROOT

REPOSITORY = ROOT.parent
TESTS = REPOSITORY / "tests"
PAGES = [REPOSITORY / "README.md", *sorted(ROOT.rglob("*.md"))]
MENTION = re.compile(r"`((?:[\w/]+\.py)?)(?:::)?((?:(?<=::)\w+|test_\w+)?)(?:\[[^`]*\])?`")
DEFAULT_FILE = re.compile(r"Tests without a file are in `(\w+\.py)`")


def mentions(text):
    """Pairs of a file and a test of it, either of which may be empty; in a table `::test` is of the file before it."""
    for section in re.split(r"^## ", text, flags=re.MULTILINE):
        default = DEFAULT_FILE.search(section)
        found = [pair for pair in MENTION.findall(section) if any(pair)]
        files = accumulate((file for file, _ in found), lambda before, file: file or before)
        for before, (file, test) in zip(files, found, strict=True):
            yield (file or (default[1] if default else before)), test


def named(file):
    """The file of the tests, or of the package, that is called this, from its own folder on."""
    places = [TESTS, REPOSITORY / "tinygrad_bn", REPOSITORY]
    exact = [place / file for place in places if (place / file).exists()]
    return exact[:1] or [path for place in places[:2] for path in place.rglob(file)]


def missing(text):
    """The mentions of a page that lead nowhere, or to several places."""
    for file, test in dict.fromkeys(mentions(text)):
        found = named(file) if file else []
        if len(found) != 1 or (test and f"def {test}(" not in found[0].read_text("utf-8")):
            yield f"{file}::{test}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_the_files_and_tests_that_the_documentation_names_are_there(page):
    assert list(missing(page.read_text("utf-8"))) == []


def test_semantics_names_many():
    assert sum(bool(test) for _, test in mentions((ROOT / "semantics.md").read_text("utf-8"))) > 200


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("`test_claims.py::test_semantics_names_many`, `::test_semantics_names_few`", "test_semantics_names_few"),
        ("`test_claims.py::test_semantics_names_few[1]`", "test_semantics_names_few"),
        ("`docs/test_clams.py`", "test_clams.py"),
        ("Tests without a file are in `test_claims.py`. `test_semantics_names_few`", "test_semantics_names_few"),
        ("`test_semantics_names_many`", "::test_semantics_names_many"),
        ("`values.py::rounds_as_it_likes`", "rounds_as_it_likes"),
        ("`tensors/kernel.py`", "tensors/kernel.py"),
    ],
)
def test_what_is_not_there_is_found(text, wrong):
    (found,) = missing(text)
    assert wrong in found


def test_every_claim_of_the_documentation_names_its_test():
    text = (ROOT / "semantics.md").read_text("utf-8")
    claims = re.findall(r"^- .*(?:\n  .*)*", text, re.MULTILINE)
    assert claims
    assert [claim for claim in claims if "::" not in claim] == []
