"""Pictures: sound files of the right kind, from whichever engine there is, written all at once or not at all."""

import re
import struct
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

import tinygrad_bn as tg
from tests.drawing.nets import Affine, Bell, Centre, Chain, Rescale, Selu, batch
from tinygrad_bn.drawing import draw, rendering

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def drawing():
    return draw(Chain(Affine(3, 4), Selu(), Affine(4, 2)), batch())


@pytest.fixture
def no_engine(monkeypatch):
    monkeypatch.setattr(rendering.shutil, "which", lambda *_, **__: None)


def test_svg_holds_every_label_and_frame(drawing):
    picture = ElementTree.fromstring(drawing.svg())
    words = [text.text.strip() for text in picture.iter(f"{SVG}text") if text.text]
    for node in drawing.graph.nodes:
        assert words.count(node.title) >= 1
        assert set(node.details) <= set(words)
    assert {"layers.0  Affine", "layers.1  Selu", "layers.2  Affine"} <= {" ".join(w.split("\xa0")) for w in words}
    classes = [group.get("class") for group in picture.iter(f"{SVG}g")]
    assert classes.count("node parameter") == 4
    assert classes.count("cluster") == 3


@pytest.mark.parametrize("updates", [False, True])
def test_modules_stand_one_below_the_other(updates):
    model = Chain(Affine(3, 4), Rescale(4), Centre(4), Selu(), Rescale(4), Centre(4), Affine(4, 2))
    picture = ElementTree.fromstring(draw(model, batch(), updates=updates).svg())
    frames = {}
    for group in picture.iter(f"{SVG}g"):
        if group.get("class") == "cluster":
            outline = next(group.iter(f"{SVG}path")).get("d")
            heights = [float(y) for y in re.findall(r",(-?[\d.]+)", outline)]
            frames[group.find(f"{SVG}title").text] = min(heights), max(heights)
    spans = [frames[f"cluster_{position}"] for position in range(7)]
    assert all(above[1] < below[0] for above, below in pairwise(spans))


def test_no_arrow_runs_through_a_title():
    drawing = draw(Chain(Selu(), Selu(), Bell()), batch())
    assert drawing.dot.count("_left [") == 3  # what keeps the room for a title, once a module
    picture = ElementTree.fromstring(drawing.svg())
    entries = [
        float(path.get("d")[1:].partition(",")[0]) for path in picture.findall(f".//{SVG}g[@class='edge']/*[@d]")
    ]
    for frame in picture.findall(f".//{SVG}g[@class='cluster']"):
        title = frame.find(f".//{SVG}text")
        width = 4.5 * len(title.text)
        left = float(title.get("x")) - width / 2 * (title.get("text-anchor") == "middle")
        assert left + width < min(entries)


def test_text_fits_where_dejavu_sans_stands_in():
    """The widths are those that matplotlib measures, in points at a size of 11."""
    model = Chain(Affine(3, 4), Centre(4))
    picture = ElementTree.fromstring(draw(model, batch()).svg())
    titles = {}
    for group in picture.findall(f".//{SVG}g[@class='node parameter']"):
        corners = [float(x) for x in re.findall(r"(-?[\d.]+),", group.find(f".//{SVG}path").get("d"))]
        title = group.find(f".//{SVG}text")
        titles[title.text] = min(corners), float(title.get("x")), max(corners)
        assert title.get("font-family") == "Verdana,DejaVu Sans,sans-serif"
    for name, width in {"layers.0.kernel": 91.0, "layers.0.bias": 78.0}.items():
        left, start, right = titles[name]
        assert left < start < start + width < right


def test_png(drawing, tmp_path):
    content = drawing.save(tmp_path / "graph.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    assert height > width > 200


@pytest.mark.parametrize(
    ("suffix", "content"),
    [(".dot", "dot"), (".mmd", "mermaid"), (".txt", "text"), (".DOT", "dot")],
)
def test_texts_are_saved_without_an_engine(drawing, tmp_path, suffix, content, no_engine):
    path = drawing.save(str(tmp_path / f"graph{suffix}"))
    assert path == tmp_path / f"graph{suffix}"
    assert path.read_bytes().decode() == getattr(drawing, content)
    assert list(tmp_path.iterdir()) == [path]


def test_saved_svg_is_the_svg(drawing, tmp_path):
    assert drawing.save(tmp_path / "graph.svg").read_bytes().decode() == drawing.svg()


def test_unknown_suffixes_list_the_choices(drawing, tmp_path):
    with pytest.raises(ValueError, match=r"unknown suffix '\.pgn'.*Did you mean '\.png'.*\.dot, \.mmd, \.png, \.svg"):
        drawing.save(tmp_path / "graph.pgn")
    with pytest.raises(ValueError, match="unknown suffix ''"):
        drawing.save(tmp_path / "graph")


def test_a_missing_folder_is_named(drawing, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere' is not there"):
        drawing.save(tmp_path / "nowhere" / "graph.svg")


def test_without_an_engine_the_error_says_what_to_install(drawing, tmp_path, no_engine):
    with pytest.raises(RuntimeError, match=r"pip install graphviz-pure.*\.dot, \.mermaid and \.text need none"):
        drawing.svg()


def test_a_failed_save_leaves_the_old_file(drawing, tmp_path, no_engine):
    path = tmp_path / "graph.svg"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        drawing.save(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_replaced_at_once(drawing, tmp_path, monkeypatch):
    path = tmp_path / "graph.dot"
    path.write_text("old")
    monkeypatch.setattr(Path, "replace", lambda self, target: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        drawing.save(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_engine_complains_about_is_told():
    with pytest.raises(RuntimeError, match=r"could not lay out the graph: .*syntax error"):
        rendering.render("digraph { a -> ", "svg")


def test_a_system_dot_comes_first(monkeypatch):
    programs = {"dot": "/usr/bin/dot", "graphviz-pure": "/venv/bin/graphviz-pure"}
    monkeypatch.setattr(rendering.shutil, "which", lambda program, path=None: programs.get(program))
    assert rendering.engine() == "/usr/bin/dot"
    del programs["dot"]
    assert rendering.engine() == "/venv/bin/graphviz-pure"


def test_the_engine_beside_python_is_found_off_the_path(monkeypatch):
    monkeypatch.setattr(
        rendering.shutil, "which", lambda program, path=None: path and program == "graphviz-pure" and f"{path}/found"
    )
    assert rendering.engine() == f"{rendering.sysconfig.get_path('scripts')}/found"


def test_a_notebook_shows_the_picture(drawing):
    bundle = drawing._repr_mimebundle_()
    assert bundle["image/svg+xml"] == drawing.svg()
    assert bundle["text/plain"] == drawing.text == str(drawing)


def test_a_notebook_without_an_engine_shows_mermaid(drawing, no_engine):
    bundle = drawing._repr_mimebundle_()
    assert bundle == {"text/plain": drawing.text, "text/vnd.mermaid": drawing.mermaid}


def test_a_notebook_does_not_wait_for_the_layout_of_thousands_of_nodes(monkeypatch):
    monkeypatch.setattr(rendering, "engine", lambda: pytest.fail("laid out"))
    y = tg.tensor([0.5], requires_grad=True)
    for _ in range(2_000):
        y = -y
    assert list(draw(y)._repr_mimebundle_()) == ["text/plain"]


def test_the_short_name_of_a_drawing_tells_what_it_is(drawing):
    assert repr(drawing) == "<drawing of Chain: 11 nodes>"
