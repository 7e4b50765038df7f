"""A run of identical blocks is drawn once; whatever differs, or is used in between, is not folded away."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.drawing.nets import Affine, Chain, Selu, batch, deep
from tinygrad_bn import ops
from tinygrad_bn.drawing import draw
from tinygrad_bn.drawing.folding import fold
from tinygrad_bn.module import Module
from tinygrad_bn.variables import Parameter


def repeats(graph):
    return [(scope.title, scope.repeats) for scope in graph.contents() if scope is not None and scope.repeats > 1]


def operations(graph):
    return [node.title for node in graph.nodes if node.kind == "operation"]


def test_twenty_blocks_become_one():
    graph = draw(deep(20), batch(), fold=True).graph
    assert repeats(graph) == [("layers.0 to layers.39  x20", 20)]
    assert operations(graph) == ["@", "+", "SELU"]
    assert [argument.title for argument in graph.nodes[-1].arguments] == ["SELU"]


def test_a_block_ends_where_the_run_ends():
    model = Chain(Affine(5, 3), *deep(4).layers[1:], Affine(3, 2))
    graph = draw(model, batch(features=5), fold=True).graph
    assert repeats(graph) == [("layers.2 to layers.7  x3", 3)]
    assert operations(graph) == ["@", "+", "SELU", "@", "+", "SELU", "@", "+"]


def test_one_module_again_and_again_needs_no_further_frame():
    graph = draw(Chain(*(Affine(3, 3) for _ in range(5))), batch(), fold=True).graph
    assert [scope.title for scope in graph.contents() if scope] == ["layers.0 to layers.4  Affine  x5"]


def test_runs_inside_runs():
    graph = draw(Chain(*(deep(3) for _ in range(4))), batch(), fold=True).graph
    assert [times for _, times in repeats(graph)] == [4, 3]
    assert operations(graph) == ["@", "+", "SELU"]


def test_operations_without_modules_are_folded_too():
    y = tg.tensor(np.ones((2, 3)), requires_grad=True)
    for _ in range(6):
        y = tg.tanh(y @ Parameter(np.eye(3)))
    graph = draw(y, fold=True).graph
    assert repeats(graph) == [("x6", 6)]
    assert operations(graph) == ["@", "tanh"]
    assert [argument.title for argument in graph.nodes[-1].arguments] == ["tanh"]


def test_a_parameter_shared_by_all_blocks_stays_outside():
    y, shared = tg.tensor(np.ones((2, 3)), requires_grad=True), Parameter(np.eye(3), name="shared")
    for _ in range(6):
        y = tg.tanh(y @ shared)
    graph = draw(y, fold=True).graph
    assert operations(graph) == ["@", "tanh"]
    assert [node.scope for node in graph.nodes if node.title == "shared"] == [None]


@pytest.mark.parametrize("difference", [lambda y, i: tg.elu(y, alpha=1.0 + i), lambda y, i: tg.concatenate([y, y])])
def test_other_settings_or_shapes_are_another_block(difference):
    y = tg.tensor([1.0, 2.0], requires_grad=True)
    for i in range(4):
        y = difference(y, i)
    assert not repeats(draw(y, fold=True).graph)


UNSEEN = {
    "epsilon": lambda i: tg.layers.BatchNormalization(epsilon=1e-3 * 10**i),
    "the rate of dropout": lambda i: tg.layers.Dropout(0.1 + 0.2 * i),
    "the bounds of a slope": lambda i: tg.layers.RReLU(0.1, 0.2 + 0.1 * i),
    "an axis": lambda i: tg.layers.Activation(lambda x: tg.softmax(x, axis=i)),
    "numbers of an array": lambda i: tg.layers.Activation(lambda x: x * np.full(4, 1.0 + i, np.float32)),
    "late digits of a number": lambda i: tg.layers.Activation(lambda x: x * (1.0 + 1e-8 * i)),
    "indices": lambda i: tg.layers.Activation(lambda x: tg.take(x, [i, 1, 2, 3], axis=1)),
}


@pytest.mark.parametrize("layer", UNSEEN.values(), ids=UNSEEN)
def test_settings_and_numbers_that_the_picture_leaves_out_tell_blocks_apart_too(layer):
    def read(*which):
        return draw(tg.Sequential([layer(i) for i in which]), batch(features=4), fold=True).graph

    assert not repeats(read(0, 1))
    assert [times for _, times in repeats(read(1, 1))] == [2]


def test_numbers_tell_the_steps_of_a_program_apart():
    def read(*factors):
        @tg.capture
        def step(x):
            for factor in factors:
                x = tg.tanh(tg.sum(x * factor, axis=-1, keepdims=True) * np.full(4, factor, np.float32))
            return x

        step(batch(features=4))
        return draw(step.program(batch(features=4)), fold=True).graph

    assert not repeats(read(2.0, 3.0))
    assert [times for _, times in repeats(read(2.0, 2.0))] == [2]


def test_blocks_that_are_fed_from_different_places_are_not_a_run():
    y, others = tg.tensor([1.0, 2.0], requires_grad=True), [tg.tensor([3.0, 4.0]) for _ in range(3)]
    for other in others:
        y = tg.tanh(y * other)
    assert not repeats(draw(y, fold=True).graph)


def test_a_recurrence_of_two_values():
    x, y = tg.tensor([1.0, 2.0], requires_grad=True), tg.tensor([3.0, 4.0])
    for _ in range(3):
        x, y = x * y, tg.tanh(x)
    graph = draw(x * y, fold=True, names={}).graph
    folded = [node.scope is not None for node in graph.nodes if node.kind == "operation"]
    assert repeats(graph) == [("x3", 3)]
    assert operations(graph) == ["*", "tanh", "*"]
    assert folded == [True, True, False]  # tanh takes what came before *, so a block cannot begin with it


def test_parallel_branches_are_not_a_run():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    graph = draw(tg.concatenate([tg.exp(x), tg.exp(x)]), fold=True).graph
    assert operations(graph) == ["exp", "exp", "concatenate axis=0"]


def test_a_block_that_is_used_later_is_kept():
    class Skipping(Module):
        def forward(self, x):
            results = [x]
            for _ in range(6):
                results.append(ops.tanh(results[-1]))
            return results[-1] + results[3]

    graph = draw(Skipping(), batch(), fold=True).graph
    assert [times for _, times in repeats(graph)] == [3, 3]
    first, second, total = (node for node in graph.nodes if node.kind == "operation")
    assert total.arguments == (second, first)


def test_residual_blocks_are_folded():
    class Residual(Module):
        def __init__(self):
            self.blocks = [Affine(3, 3) for _ in range(5)]

        def forward(self, x):
            for block in self.blocks:
                x = x + block(x)
            return x

    graph = draw(Residual(), batch(), fold=True).graph
    assert [times for _, times in repeats(graph)] == [5]
    assert operations(graph) == ["@", "+", "+"]


def test_folding_leaves_the_graph_as_it_was():
    graph = draw(deep(3), batch()).graph
    before = draw(graph).dot
    fold(graph)
    assert draw(graph).dot == before


def test_without_repeats_nothing_changes():
    model = Chain(Affine(3, 4), Selu(), Affine(4, 2))
    assert draw(model, batch(), fold=True).dot == draw(model, batch()).dot
