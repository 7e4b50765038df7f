"""What stands in a box."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.drawing import draw
from tinygrad_bn.drawing.graph import plain
from tinygrad_bn.primitives import Primitive

x = tg.tensor(np.ones((4, 6), np.float32), requires_grad=True)


@pytest.mark.parametrize(
    ("result", "label"),
    [
        (tg.elu(x, alpha=0.5), "ELU alpha=0.5"),
        (x.reshape(2, -1), "reshape (2, -1)"),
        (x.T, "transpose"),
        (x.transpose(1, 0), "transpose (1, 0)"),
        (x.sum(), "sum"),
        (x.sum(axis=0), "sum axis=0"),
        (tg.standardize(x, axis=(0,), epsilon=1e-3), "standardize axis=0"),
        (tg.standardize(x, axis=(0, 1), epsilon=1e-3), "standardize axis=(0, 1)"),
        (x[1], "[1]"),
        (x[1:3, ::-2], "[1:3, ::-2]"),
        (x[..., None], "[..., None]"),
        (x[[0, 1]], "[array]"),
        (x.astype(np.float64), "as float64"),
        (tg.sum(x, axis=0, keepdims=True), "sum axis=0"),
    ],
)
def test_settings_are_filled_in(result, label):
    assert draw(result).graph.nodes[-2].title == label


@pytest.mark.parametrize("function", [f for f in Primitive.registry if isinstance(f, Primitive)], ids=repr)
def test_every_label_is_one_line_of_ascii(function):
    assert function.label == plain(function.label)


def test_text_from_outside_becomes_printable_ascii():
    assert plain("caf\u00e9\n\x1b[31m  \u03b3") == "caf\\xe9 \\x1b[31m \\u03b3"


def test_the_formula_is_the_first_line_of_the_description():
    node = draw(tg.elu(x)).graph.nodes[-2]
    assert node.formula == f"elu: {' '.join(tg.elu.__doc__.splitlines()[0].split())}"
