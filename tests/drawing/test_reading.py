"""What was computed, and nothing else, is told as a graph: each thing once, in order, under the right name."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.drawing.nets import Affine, Centre, Chain, Selu, batch
from tinygrad_bn import layers, ops
from tinygrad_bn.drawing import draw
from tinygrad_bn.module import Module
from tinygrad_bn.variables import Parameter, State


def titles(graph, kind):
    return [node.title for node in graph.nodes if node.kind == kind]


def node(graph, title):
    (found,) = (node for node in graph.nodes if node.title == title)
    return found


def scopes(graph):
    return [scope.title for scope in graph.contents() if scope is not None]


def test_every_node_stands_behind_its_arguments():
    graph = draw(Chain(Affine(3, 4), Selu(), Affine(4, 2)), batch()).graph
    place = {node: position for position, node in enumerate(graph.nodes)}
    assert all(place[argument] < place[node] for node in graph.nodes for argument in node.arguments)


def test_arguments_keep_their_order():
    x, y = tg.tensor([1.0, 2.0], requires_grad=True), tg.tensor([3.0, 4.0])
    graph = draw(x - y, names={"x": x, "y": y}).graph
    assert [argument.title for argument in node(graph, "-").arguments] == ["x", "y"]
    assert [argument.title for argument in node(draw(y - x, names={"x": x, "y": y}).graph, "-").arguments] == ["y", "x"]


def test_only_functions_whose_arguments_cannot_be_swapped_have_numbered_arrows():
    x, y = tg.tensor([1.0], requires_grad=True), tg.tensor([3.0])
    for result, ordered in ((x + y, False), (x * y, False), (x - y, True), (x / y, True), (x * 2.0, False)):
        assert [n.ordered for n in draw(result).graph.nodes if n.kind == "operation"] == [ordered]


def test_a_result_that_is_used_twice_is_drawn_once():
    x = tg.tensor([1.0], requires_grad=True)
    y = tg.exp(x)
    assert titles(draw(y * y + y).graph, "operation") == ["exp", "*", "+"]


def test_what_the_result_does_not_depend_on_is_left_out():
    class Wasteful(Module):
        def forward(self, x):
            ops.exp(x)
            return ops.tanh(x)

    assert titles(draw(Wasteful(), batch()).graph, "operation") == ["tanh"]


def test_shapes_dtypes_and_numbers_of_elements():
    graph = draw(Affine(3, 4), batch()).graph
    assert node(graph, "@").details == ("(4, 4) float32",)
    assert node(graph, "kernel").details == ("(3, 4) float32", "12 elements")
    assert node(graph, "input").details == ("(4, 3) float32",)


def test_parameters_and_states_have_their_paths_and_lie_in_their_modules():
    model = Chain(Affine(3, 3), Centre(3)).eval()
    graph = draw(model, batch()).graph
    assert titles(graph, "parameter") == ["layers.0.kernel", "layers.0.bias"]
    assert titles(graph, "state") == ["layers.1.moving_mean"]
    assert node(graph, "layers.0.kernel").scope.title == "layers.0  Affine"
    assert node(graph, "layers.1.moving_mean").scope.title == "layers.1  Centre"


def test_the_batch_normalized_network():
    model = tg.Sequential(
        [
            layers.Flatten(input_shape=(28, 28)),
            layers.BatchNormalization(),
            layers.Dense(300, kernel_initializer="he_normal", use_bias=False),
            layers.BatchNormalization(),
            layers.Activation("elu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    graph = draw(model, np.zeros((32, 28, 28), np.float32)).graph
    kinds = ("Flatten", "BatchNormalization", "Dense", "BatchNormalization", "Activation", "Dense")
    assert scopes(graph) == [f"layers.{position}  {kind}" for position, kind in enumerate(kinds)]
    assert titles(graph, "parameter") == [path for path, _ in model.named_parameters()]
    assert node(graph, "softmax").details == node(graph, "output").details == ("(32, 10) float32",)


def test_scopes_are_nested_as_the_calls_are():
    graph = draw(Chain(Chain(Selu()), Selu()), batch()).graph
    assert scopes(graph) == ["layers.0  Chain", "layers.0.layers.0  Selu", "layers.1  Selu"]
    assert node(graph, "output").scope is node(graph, "input").scope is None
    assert [n.scope.parent and n.scope.parent.title for n in graph.nodes if n.kind == "operation"] == [
        "layers.0  Chain",
        None,
    ]


def test_a_module_that_is_called_twice_has_two_frames_and_one_kernel():
    shared = Affine(3, 3)
    graph = draw(Chain(shared, shared), batch()).graph
    assert scopes(graph) == ["layers.0  Affine", "layers.0  Affine"]
    assert titles(graph, "parameter") == ["layers.0.kernel", "layers.0.bias"]


def test_a_parameter_lies_in_the_module_that_has_it_though_one_inside_uses_it():
    class Outer(Module):
        def __init__(self):
            self.kernel = Parameter(np.ones((3, 3), np.float32))
            self.inner = Affine(3, 3)
            self.inner.kernel = self.kernel

        def forward(self, x):
            return self.inner(x)

    graph = draw(Chain(Outer()), batch()).graph
    assert node(graph, "layers.0.kernel").scope.title == "layers.0  Outer"
    assert node(graph, "layers.0.inner.bias").scope.title == "layers.0.inner  Affine"


def test_frozen_parameters_say_so():
    model = Affine(3, 3)
    model.trainable = False
    assert node(draw(model, batch()).graph, "kernel").details[-1] == "9 elements, frozen"


def test_leaves_without_a_name_are_numbered_when_there_are_several():
    x, y = tg.tensor([1.0, 2.0], requires_grad=True), tg.tensor([3.0, 4.0])
    assert titles(draw(x * y).graph, "input") == ["input 1", "input 2"]
    assert titles(draw(x * x).graph, "input") == ["input"]
    assert titles(draw(x * Parameter([1.0, 2.0])).graph, "parameter") == ["parameter"]
    assert titles(draw(x * Parameter([1.0, 2.0], name="w")).graph, "parameter") == ["w"]
    assert titles(draw(x * State([1.0, 2.0])).graph, "state") == ["state"]


def test_given_names_win():
    model, x = Affine(3, 3), tg.tensor(batch())
    graph = draw(model, x, names={"pixels": x, "weights": model.kernel}).graph
    assert titles(graph, "input") == ["pixels"]
    assert titles(graph, "parameter") == ["weights", "bias"]


def test_single_numbers_stand_in_the_operation():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    for result, title in (
        (x * 0.25, "* 0.25"),
        (1 - x, "1 -"),
        (x + tg.tensor(2.0), "+ 2"),
        (tg.where(x > 0, x, 0.0), "where(_, _, 0)"),
        (x**3, "** 3"),
    ):
        assert titles(draw(result).graph, "operation")[-1] == title


def test_a_number_that_is_learned_or_named_stays_a_node():
    x, t = tg.tensor([1.0, 2.0]), tg.tensor(2.0)
    assert titles(draw(x * Parameter(2.0, name="slope")).graph, "parameter") == ["slope"]
    assert titles(draw(tg.tensor([1.0], requires_grad=True) * t, names={"t": t}).graph, "input")[-1] == "t"


def test_arrays_are_constants():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    graph = draw(x * np.array([1.0, 2.0])).graph
    assert node(graph, "constant").details == ("(2,) float64",)


def test_what_a_module_is_called_with_is_the_input_whatever_made_it():
    x = tg.exp(tg.tensor(batch(), requires_grad=True))
    assert [node.title for node in draw(Selu(), x).graph.nodes] == ["input", "SELU", "output"]
    assert titles(draw(Selu(), np.float32(1)).graph, "input") == ["input"]


def test_a_tensor_of_a_module_that_is_not_learned_is_a_constant():
    class Shifted(Module):
        def __init__(self):
            self.shift = tg.tensor([1.0, 2.0, 3.0])

        def forward(self, x):
            return x + self.shift

    assert titles(draw(Shifted(), batch()).graph, "constant") == ["constant"]


def test_a_detached_tensor_is_drawn_as_what_it_came_from():
    class Detaching(Module):
        def forward(self, x):
            y = ops.exp(x)
            return y * y.detach()

    (_, exp, product, _) = draw(Detaching(), batch()).graph.nodes
    assert product.arguments == (exp, exp)


def test_updates_of_states_are_drawn_when_asked_for():
    graph = draw(Centre(3), batch()).graph
    assert not titles(graph, "state")
    graph = draw(Centre(3), batch(), updates=True).graph
    before, after = (node for node in graph.nodes if node.kind == "state")
    assert before.title == after.title == "moving_mean"
    assert after.details == ("updated",)
    assert [argument.title for argument in after.arguments] == ["+"]


def test_an_update_may_take_an_input_as_it_is():
    class Last(Module):
        def __init__(self):
            self.last = State(np.zeros((4, 3), np.float32))

        def forward(self, x):
            self.last.assign(x)
            return ops.exp(x)

    graph = draw(Last(), batch(), updates=True).graph
    assert [argument.title for argument in node(graph, "last").arguments] == ["input"]


def test_what_is_drawn_at_random_is_an_operation_without_arguments():
    graph = draw(layers.Dropout(0.25), batch()).graph
    assert titles(graph, "operation") == ["uniform 0 1", ">= 0.25", "as float32", "/ 0.75", "*"]
    assert node(graph, "uniform 0 1").arguments == ()


def test_names_are_given_by_name():
    x = tg.tensor([1.0], requires_grad=True)
    with pytest.raises(TypeError, match=r"draw expects names as a dict of Tensors by name"):
        draw(tg.exp(x), names=[x])


def test_drawing_changes_nothing():
    model = Chain(Centre(3), layers.Dropout(0.5))
    state = model.layers[0].moving_mean.numpy()
    tg.set_random_seed(1)
    expected = tg.dropout(batch(), 0.5)
    tg.set_random_seed(1)
    draw(model, 7 * batch(), updates=True)
    np.testing.assert_array_equal(model.layers[0].moving_mean.numpy(), state)
    np.testing.assert_array_equal(tg.dropout(batch(), 0.5), expected)


def test_a_module_that_is_not_built_is_built_with_parameters_that_nothing_else_will_be_given():
    tg.set_random_seed(3)
    first, second = layers.Dense(3), layers.Dense(3)
    assert titles(draw(first, batch()).graph, "parameter") == ["kernel", "bias"]
    second(batch())
    assert not np.array_equal(first.kernel.numpy(), second.kernel.numpy())


def test_drawing_is_the_same_without_gradients():
    model = Chain(Affine(3, 3), Selu())
    with tg.no_grad():
        assert draw(model, batch()).dot == draw(model, batch()).dot
        without = draw(model, batch()).dot
    assert without == draw(model, batch()).dot


def test_several_outputs():
    class Two(Module):
        def forward(self, x):
            return ops.exp(x), ops.tanh(x)

    class Named(Module):
        def forward(self, x):
            return {"mean": ops.exp(x), "scale": ops.tanh(x)}

    assert titles(draw(Two(), batch()).graph, "output") == ["output 1", "output 2"]
    assert titles(draw(Named(), batch()).graph, "output") == ["output mean", "output scale"]


def test_a_gradient_is_a_tensor_like_any_other():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    g = tg.gradients(tg.sum(tg.exp(x)), x, create_graph=True)
    assert "exp" in titles(draw(g).graph, "operation")


def test_what_cannot_be_drawn_says_why():
    class Nothing(Module):
        def forward(self, x):
            return 1

    x = tg.tensor([1.0])
    with pytest.raises(TypeError, match=r"Tensor, a captured program, or a module and an example input; got int"):
        draw(3)
    with pytest.raises(TypeError, match=r"example input for the module: draw\(module, x\)"):
        draw(Selu())
    with pytest.raises(TypeError, match="returns Tensors; got int"):
        draw(Nothing(), batch())
    with pytest.raises(ValueError, match=r"got a leaf of shape \(1,\)"):
        draw(x)
    with pytest.raises(TypeError, match="example inputs for a module only; got 1"):
        draw(tg.exp(tg.tensor([1.0], requires_grad=True)), x)
    with pytest.raises(TypeError, match="got ndarray for 'x'"):
        draw(Selu(), batch(), names={"x": batch()})
