"""The tutorial prints what it shows, draws what it shows, and is the same in Portuguese."""

import re

import pytest

from tests.docs.pages import PICTURES, ROOT, TRANSLATION, TUTORIAL, agree, blocks, printed

PAGES = [TUTORIAL, TRANSLATION]
LINK = re.compile(r"(!?)\[[^\]]+\]\(([^)#]+)[^)]*\)")


def linked(page, mark):
    return [link for found, link in LINK.findall(page.read_text()) if found == mark and "://" not in link]


@pytest.mark.filterwarnings("ignore:fit. the loss is nan")  # it shows a training that diverges
def test_the_code_prints_and_draws_what_the_page_shows(tmp_path):
    pytest.importorskip("matplotlib")
    page = blocks(TUTORIAL)
    found = printed([block.code for block in page], tmp_path)
    wrong = [
        f"{code}prints\n{output}and not\n{shown}"
        for (code, shown), output in zip(page, found, strict=True)
        if not agree(shown, output)
    ]
    assert not wrong, "\n".join([*wrong, "If that is right: python -m tests.docs.make_tutorial"])
    drawn = sorted(picture.name for picture in tmp_path.iterdir())
    assert drawn == sorted(picture.name for picture in PICTURES.iterdir())
    assert drawn == sorted(link.rpartition("/")[2] for link in linked(TUTORIAL, "!"))


def test_code_and_output_are_the_same_in_the_translation():
    assert blocks(TRANSLATION) == blocks(TUTORIAL)
    assert [link.removeprefix("../") for link in linked(TRANSLATION, "!")] == linked(TUTORIAL, "!")


def test_the_translation_has_the_same_sections():
    prose = [re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL) for page in PAGES]
    levels = [re.findall(r"^(#+) ", text, re.MULTILINE) for text in prose]
    assert levels[0] == levels[1]
    assert len(levels[0]) > 5


@pytest.mark.parametrize("page", PAGES, ids=["en", "pt"])
def test_a_link_leads_somewhere(page):
    for link in [*linked(page, "!"), *linked(page, "")]:
        assert (page.parent / link).exists(), link
        assert (page.parent / link).resolve().is_relative_to(ROOT)


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        ("factor 0.236, 21 layers", "factor 0.237, 21 layers"),
        ("x1.2e-12  97%", "x1.1e-12 98%"),
        ("-0.01", "0.01"),
        ("271,346", "271,346"),
    ],
)
def test_last_digits_may_differ(shown, found):
    assert agree(shown, found)


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        ("healthy", "vanishing"),
        ("0.236", "0.240"),
        ("1.2e-12", "1.2e-11"),
        ("271,346", "271,345"),
        ("1 2", "1"),
        ("97%", "94%"),
        ("0.5", "nan"),
    ],
)
def test_nothing_else_may(shown, found):
    assert not agree(shown, found)
