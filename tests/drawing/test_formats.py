"""The texts: exactly these bytes for a small graph, in every process, and however deep the graph is."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import tinygrad_bn as tg
from tests.drawing.nets import Affine, Centre, Chain, Named, Selu, batch, deep
from tinygrad_bn.drawing import draw
from tinygrad_bn.drawing.graph import Graph, Node, Scope

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"


def by_hand():
    """A graph with every kind of node, as any reader may build it."""
    graph = Graph("by hand")
    block = Scope("block", "Norm", repeats=3)
    inner = Scope("block.inner", "Scale", block)
    x = graph.add(Node("input", "input", ["(2, 3) float32"]))
    mean = graph.add(Node("state", "block.mean", ["(3,) float32", "3 elements"], scope=block))
    centred = graph.add(Node("operation", "-", ["(2, 3) float32"], [x, mean], ordered=True, scope=block))
    gamma = graph.add(Node("parameter", "block.inner.gamma", ["(3,) float32", "3 elements"], scope=inner))
    scaled = graph.add(Node("operation", "*", ["(2, 3) float32"], [gamma, centred], scope=inner, formula='x * "y"'))
    mask = graph.add(Node("constant", "constant", ["(3,) bool"]))
    chosen = graph.add(Node("operation", "where(_, _, <0>)", ["(2, 3) float32"], [mask, scaled], ordered=True))
    kernel = graph.add(Node("parameter", "kernel", ["(3, 4) float32", "12 elements"]))
    bias = graph.add(Node("parameter", "bias", ["(4,) float32", "4 elements"], gradient=1e-9))
    affine = graph.add(Node("operation", "affine", ["(2, 4) float32"], [chosen, kernel, bias], ordered=True))
    graph.add(Node("output", "output", ["(2, 4) float32"], [affine]))
    return graph


@pytest.mark.parametrize(("form", "suffix"), [("dot", "dot"), ("mermaid", "mmd"), ("text", "txt")])
def test_golden_text(form, suffix):
    assert getattr(draw(by_hand()), form) == (GOLDEN / f"by_hand.{suffix}").read_text()


def test_golden_text_of_a_model():
    model = Chain(Affine(3, 4), Selu(), Centre(4))
    assert draw(model, batch(), updates=True).text == (GOLDEN / "model.txt").read_text()


SCRIPT = """
import numpy as np
from tests.drawing.nets import *
from tinygrad_bn.drawing import draw
drawing = draw(Chain(*deep(3).layers, Centre(3)), batch(), updates=True, fold=True)
print(drawing.dot, drawing.mermaid, drawing.text, drawing.svg())
"""


def test_the_same_bytes_in_every_process():
    def printed(seed):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        return subprocess.run(
            [sys.executable, "-c", SCRIPT], cwd=ROOT, env=environment, capture_output=True, check=True
        ).stdout

    assert printed("1") == printed("2")


def test_the_same_bytes_whatever_was_computed_before():
    before = draw(deep(2), batch()).dot
    tg.exp(tg.tensor(batch(), requires_grad=True))
    assert draw(deep(2), batch()).dot == before


@pytest.mark.parametrize("fold", [False, True])
def test_a_chain_of_ten_thousand_operations(fold):
    y = tg.tensor([0.5], requires_grad=True)
    for _ in range(5_000):
        y = tg.tanh(-y)
    drawing = draw(y, fold=fold)
    assert len(drawing.graph.nodes) == (4 if fold else 10_002)
    assert drawing.dot.count(" -> ") == drawing.mermaid.count(" --> ") == len(drawing.graph.nodes) - 1
    assert drawing.text.count(" = ") == len(drawing.graph.nodes) - 2


def test_modules_nested_a_hundred_deep():
    model = Selu()
    for _ in range(100):
        model = Chain(model)
    drawing = draw(model, batch())
    assert drawing.dot.count("subgraph") == drawing.mermaid.count("subgraph") == 100
    assert drawing.dot.count("{") == drawing.dot.count("}")


def test_nodes_need_no_details():
    graph = Graph()
    result = graph.add(Node("operation", "exp", arguments=[graph.add(Node("input", "x"))], scope=Scope("a", "A")))
    graph.add(Node("output", "y", arguments=[result]))
    drawing = draw(graph)
    assert drawing.text.splitlines() == ["x", "a  A", "  %1 = exp  x", "y  %1"]
    assert "exp" in drawing.svg()


def test_all_texts_are_ascii():
    x = tg.tensor([1.0], requires_grad=True)
    for drawing in (draw(tg.exp(x), names={'\u03b3 "<&>" \\ #1': x}), draw(Named("gr\u00f6\u00dfe"), batch())):
        assert (drawing.dot + drawing.mermaid + drawing.text).isascii()


def test_svg_of_any_name_is_sound():
    x = tg.tensor([1.0], requires_grad=True)
    name = 'a "b" <c> & \\d\\n {e} #1 \u03b3'
    ElementTree.fromstring(draw(tg.exp(x), names={name: x}).svg())
