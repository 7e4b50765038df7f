"""With `gradients=True` every node tells how strongly the output depends on it."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.drawing.nets import Affine, Chain, Selu, batch
from tinygrad_bn.drawing import draw
from tinygrad_bn.drawing.palette import LINE, gradient_color
from tinygrad_bn.module import Module


class MeanSquare(Module):
    """A loss on top of a model."""

    def __init__(self, model):
        self.model = model

    def forward(self, x):
        return tg.mean(tg.square(self.model(x)))


def gradients(graph):
    return {node.title: node.gradient for node in graph.nodes}


def test_the_norms_are_those_of_the_derivatives():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = tg.exp(x)
    loss = tg.sum(y * y)
    graph = draw(loss, gradients=True).graph
    exact = 2 * np.exp(2 * np.array([1.0, 2.0]))
    assert gradients(graph)["input"] == pytest.approx(np.linalg.norm(exact))
    assert gradients(graph)["exp"] == pytest.approx(np.linalg.norm(2 * np.exp([1.0, 2.0])))
    assert gradients(graph)["sum"] == 1
    assert x.grad is None


def test_parameters_of_a_module_and_their_arrows():
    model = MeanSquare(Chain(Affine(3, 4), Selu()))
    drawing = draw(model, batch(), gradients=True)
    kernel = model.model.layers[0].kernel
    expected = float(np.linalg.norm(tg.gradients(model(tg.tensor(batch())), kernel).numpy()))
    assert gradients(drawing.graph)["model.layers.0.kernel"] == pytest.approx(expected)
    assert f"gradient {expected:.1e}" in drawing.text
    assert gradients(drawing.graph)["input"] is None


def test_there_are_gradients_where_nothing_else_asks_for_them():
    model = MeanSquare(Affine(3, 4))
    with tg.no_grad():
        assert gradients(draw(model, batch(), gradients=True).graph)["model.kernel"] > 0


def test_arrows_are_blue_where_gradients_vanish_and_red_where_they_explode():
    assert [gradient_color(10.0**exponent) for exponent in (-2, 0, 2)] == [LINE] * 3
    x = tg.tensor([1.0], requires_grad=True)
    for factor in (1e-5, 1e-9, 1e5, 1e9):
        graph = draw(tg.sum(tg.exp(x) * factor), gradients=True)
        assert f'color="{gradient_color(factor * np.e)}"' in graph.dot
    assert gradient_color(float("nan")) == gradient_color(float("inf")) == gradient_color(1e9)
    assert len({gradient_color(10.0**exponent) for exponent in (-9, -5, 0, 5, 9)}) == 5


def test_only_one_element_can_be_derived():
    with pytest.raises(ValueError, match=r"one output of one element, such as a loss; got \(4, 2\)"):
        draw(Affine(3, 2), batch(), gradients=True)


def test_a_frozen_parameter_has_none():
    model = MeanSquare(Chain(Affine(3, 4), Affine(4, 2)))
    model.model.layers[0].trainable = False
    found = gradients(draw(model, batch(), gradients=True).graph)
    assert found["model.layers.0.kernel"] is None
    assert found["model.layers.1.kernel"] > 0
