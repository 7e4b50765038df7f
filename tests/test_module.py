import copy
import pickle
import re

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn import layers
from tinygrad_bn.errors import DtypeError, NotBuiltError, SettingError, ShapeError
from tinygrad_bn.mode import using
from tinygrad_bn.module import Module
from tinygrad_bn.recorders import Recorder
from tinygrad_bn.variables import Parameter, State


class Scale(Module):
    def __init__(self, factor=2.0):
        self.factor = factor
        self.weight = Parameter(np.array([factor, 1.0]))
        self.count = State(np.array([7]))

    def forward(self, x):
        return self.weight * x if self.in_training else x


class Tree(Module):
    def __init__(self):
        self.first = Scale(3.0)
        self.branches = [Scale(4.0), {"deep": Scale(5.0), "own": (Parameter(np.zeros(3)),)}]
        self.note = "not a module"

    def forward(self, x):
        return self.branches[1]["deep"](self.branches[0](self.first(x)))


class Row(Module):
    def __init__(self, *steps):
        self.layers = list(steps)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def notebook_network():
    return Row(
        layers.Flatten(input_shape=[28, 28]),
        layers.BatchNormalization(),
        layers.Dense(300, kernel_initializer="he_normal"),
        layers.BatchNormalization(),
        layers.Activation("elu"),
        layers.Dense(100, kernel_initializer="he_normal"),
        layers.BatchNormalization(),
        layers.Activation("elu"),
        layers.Dense(10, activation="softmax"),
    )


# What a module holds


def test_attributes_are_found_by_walking_in_the_order_of_definition():
    tree = Tree()
    assert [path for path, _ in tree.named_modules()] == ["", "first", "branches.0", "branches.1.deep"]
    assert [path for path, _ in tree.named_parameters()] == [
        "first.weight",
        "branches.0.weight",
        "branches.1.deep.weight",
        "branches.1.own.0",
    ]
    assert [path for path, _ in tree.named_states()] == ["first.count", "branches.0.count", "branches.1.deep.count"]
    assert tree.parameters()[0] is tree.first.weight


def test_an_attribute_set_later_is_found_and_a_deleted_one_is_not():
    tree = Tree()
    tree.late = Parameter(np.zeros(1))
    del tree.first
    assert [path for path, _ in tree.named_parameters()][0::3] == ["branches.0.weight", "late"]


def test_what_is_shared_counts_once_under_its_first_path():
    tree = Tree()
    tree.again = tree.first
    tree.tied = tree.first.weight
    assert len(tree.parameters()) == 4
    assert "again" not in dict(tree.named_modules())


def test_a_module_that_knows_its_parent_is_walked_once():
    tree = Tree()
    tree.first.parent = tree
    tree.branches.append(tree.branches)
    assert len(list(tree.modules())) == 4


@pytest.mark.parametrize(
    ("held", "path"),
    [
        ({"a.b": Scale(), "a": {"b": Scale()}}, "held.a.b"),
        ({0: Scale(), "0": Scale()}, "held.0"),
        ({"a": Scale(), "a.weight": Parameter(np.zeros(1))}, "held.a.weight"),
    ],
    ids=["dots", "numbers", "a variable"],
)
def test_two_things_under_one_path_are_refused(held, path, tmp_path):
    module = Row()
    module.held = held
    for use in (module.state_dict, lambda: module.save(tmp_path / "values.npz"), module.parameters):
        with pytest.raises(SettingError, match=rf"two things have the path '{path}'"):
            use()
    module.held = {"a.b": held}  # a dot alone is no harm
    del held[next(iter(held))]
    assert module.state_dict()


def test_nesting_may_be_deeper_than_the_recursion_limit():
    outer = Scale()
    for _ in range(3000):
        inner, outer = outer, Module()
        outer.inner = inner
    assert len(list(outer.modules())) == 3001
    assert len(outer.eval().parameters()) == 1
    assert len(repr(outer).splitlines()) == 3001


def test_parameters_before_building_say_what_to_do():
    for ask in (Module.parameters, Module.state_dict, lambda m: m.summary(None), lambda m: m.load_state_dict({})):
        with pytest.raises(NotBuiltError, match=r'^Dense "layers.0" has no parameters yet.*input_shape.*Input'):
            ask(Row(layers.Dense(3), layers.Dense(4)))


class Elsewhere(layers.Layer):
    """Puts its parameters on another module when it is built."""

    def __init__(self, other, **options):
        super().__init__(**options)
        self.other = other

    def build(self, input_shape):
        self.other.more = self.parameter("more", (2,), "zeros")
        self.other.several = (self.parameter("one", (1,), "zeros"),)
        super().build(input_shape)


def test_what_a_layer_puts_on_a_module_before_it_is_found_at_once():
    row, first = Row(), Module()
    first.several = (1.0,)
    row.first, row.last = first, Elsewhere(first, input_shape=(3,))
    assert [path for path, _ in row.named_variables()] == ["first.several.0", "first.more"]


class Counting(Module):
    def __init__(self):
        self.count = State(np.zeros(1))

    def forward(self, x):
        self.count.assign(self.count + 1)
        return x


def test_what_is_not_built_is_built_on_an_input_and_the_rest_stays_as_it_was():
    row = Row(Counting(), layers.Dense(3), layers.BatchNormalization())
    row.build_on(np.ones((2, 4), np.float32))
    values = row.state_dict()
    assert [path for path, value in values.items() if value.shape == (4, 3)] == ["layers.1.kernel"]
    assert values["layers.0.count"].tolist() == [0]
    assert values["layers.2.moving_mean"].tolist() == [0, 0, 0]
    assert row.training


def test_what_is_built_is_not_run_to_build_it():
    counting = Counting()
    written = counting.count.version.updated
    counting.build_on("anything")
    assert counting.count.version.updated == written


# How it runs


def test_training_is_the_modules_own_mode_unless_the_call_says_otherwise():
    tree, x = Tree(), np.ones(2)
    assert tree.training
    assert tree(x).tolist() == [60.0, 1.0]
    assert tree(x, training=False).tolist() == [1.0, 1.0]
    tree.branches[0].eval()
    assert tree(x).tolist() == [15.0, 1.0]
    assert tree.eval()(x).tolist() == [1.0, 1.0]
    assert tree(x, training=True).tolist() == [60.0, 1.0]
    assert not any(module.training for module in tree.modules())
    assert all(module.training for module in tree.train().modules())


@pytest.mark.parametrize("wrong", ["a", 1, None])
def test_training_is_true_or_false(wrong):
    tree = Tree()
    asks = [lambda: tree.train(wrong), lambda: setattr(tree, "training", wrong)]
    for ask in asks if wrong is None else [*asks, lambda: tree(np.ones(2), training=wrong)]:
        with pytest.raises(SettingError, match=f"Tree expects training to be True or False; got {wrong!r}"):
            ask()
    assert all(module.training is True for module in tree.modules())


def test_trainable_reaches_every_parameter_and_module_under_it():
    tree = Tree()
    tree.branches[0].trainable = False
    assert [p.trainable for p in tree.parameters()] == [True, False, True, True]
    assert tree.trainable
    tree.trainable = False
    assert not any(p.requires_grad for p in tree.parameters())
    assert not tree.first.trainable


def test_zero_grad_forgets_gradients():
    tree = Tree()
    tree(np.ones(2)).sum().backward()
    assert tree.first.weight.grad is not None
    tree.zero_grad()
    assert all(p.grad is None for p in tree.parameters())


def test_a_recorder_sees_modules_enter_and_leave_even_when_they_fail():
    class Diary(Recorder):
        def __init__(self):
            self.lines = []

        def enter(self, module):
            self.lines.append(("enter", module))

        def leave(self, module):
            self.lines.append(("leave", module))

    inner = layers.Dense(3, input_shape=[2])
    outer, diary = Row(inner), Diary()
    with using(recorder=diary), pytest.raises(ShapeError):
        outer(tg.tensor(np.zeros((1, 5))))
    assert diary.lines == [("enter", outer), ("enter", inner), ("leave", inner), ("leave", outer)]


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Module defines no forward"):
        Module()(np.zeros(1))


def test_a_call_that_nothing_would_call_is_refused_when_the_class_is_made():
    with pytest.raises(
        TypeError, match=r"^MCDropout defines call, which nothing would call: define forward\(self, x\)"
    ):

        class MCDropout(layers.Dropout):
            def call(self, x):
                return super().call(x, training=True)


def test_a_forward_that_calls_call_may():
    class AsInKeras(Module):
        def forward(self, x):
            return self.call(x)

    class Twice(AsInKeras):
        def call(self, x):
            return 2 * x

    class Both(Module):
        def call(self, x):
            return 3 * x

        forward = call

    assert (Twice()(1.0), Both()(1.0)) == (2.0, 3.0)


def test_trainable_is_true_or_false():
    dense = layers.Dense(2)
    for wrong in ("no", 0, None):
        with pytest.raises(SettingError, match="Dense expects trainable to be True or False; got"):
            dense.trainable = wrong
    with pytest.raises(SettingError, match="Dense expects trainable to be True or False; got 'no'"):
        layers.Dense(2, trainable="no")
    dense.trainable = np.False_
    assert dense.trainable is False


# Errors name the module by its path from the outermost call


def test_errors_name_the_path():
    net = notebook_network()
    net(np.zeros((2, 28, 28)))
    with pytest.raises(
        ShapeError, match=r'^Flatten "layers.0" expects x of shape \(batch, 28, 28\); got \(2, 27, 28\)$'
    ):
        net(np.zeros((2, 27, 28)))
    with pytest.raises(ShapeError, match=r"^Dense expects x of shape \(batch, 784\); got \(784, 32\)$"):
        net.layers[2](np.zeros((784, 32)))
    whole = Row(net)
    with pytest.raises(ShapeError, match=r'^Flatten "layers.0.layers.0" expects'):
        whole(np.zeros((2, 27, 28)), training=False)


def test_an_operation_that_fails_inside_a_module_is_named_with_it():
    with pytest.raises(ShapeError, match=r'^Softmax "layers.0": softmax expects axes that the array has'):
        Row(layers.Softmax(axis=2))(np.zeros((2, 2)))
    with pytest.raises(DtypeError, match=r'^Dense "layers.0": tensor expects real numbers; got \[None\]'):
        Row(layers.Dense(1))([None])


def test_a_layer_that_is_in_no_model_is_called_by_its_name():
    with pytest.raises(ShapeError, match=r'^Dense "head" expects'):
        layers.Dense(1, name="head")(np.zeros(3))


# Values


def test_state_dict_copies_and_loads_back():
    net, other = notebook_network(), notebook_network()
    x = np.random.default_rng(0).normal(size=(4, 28, 28)).astype(np.float32)
    net(x)
    other(x)
    state = net.state_dict()
    other.load_state_dict(state)
    assert np.array_equal(net(x, training=False).numpy(), other(x, training=False).numpy())
    state["layers.2.kernel"][:] = 0
    assert net.layers[2].kernel.numpy().any()
    assert other.layers[2].kernel.numpy().any()


def test_a_failed_load_lists_everything_and_changes_nothing():
    net = Row(layers.Dense(3, input_shape=[2]), layers.BatchNormalization(input_shape=[3]))
    before = net.state_dict()
    wrong = {path: value + 1 for path, value in before.items() if path != "layers.1.gamma"}
    wrong |= {"layers.1.gama": np.ones(3), "layers.0.kernel": np.ones((3, 2)), "layers.0.bias": np.ones(3, complex)}
    with pytest.raises(SettingError) as caught:
        net.load_state_dict({**wrong, "layers.0.bias": np.ones(3)})
    assert str(caught.value).splitlines() == [
        "Row cannot take over these values:",
        "  layers.1.gamma is missing",
        "  layers.1.gama is unexpected: did you mean layers.1.gamma?",
        "  layers.0.kernel expects shape (2, 3); got (3, 2)",
    ]
    with pytest.raises(TypeError):
        net.load_state_dict(wrong)
    with pytest.raises(ShapeError):
        net.load_state_dict({**before, "layers.0.bias": np.ones(1)})
    with pytest.raises(DtypeError, match=r"layers\.0\.bias expects real numbers; got 'a'"):
        net.load_state_dict({**before, "layers.0.bias": "a"})
    for nothing in (None, [1]):
        with pytest.raises(TypeError, match=r"Row expects a dict of values by path, .*; got"):
            net.load_state_dict(nothing)
    after = net.state_dict()
    assert all(np.array_equal(before[path], after[path]) for path in before)


def test_numbers_are_loaded_with_all_their_digits():
    dense = layers.Dense(1, input_shape=(1,), dtype=np.float64)
    dense(np.ones((1, 1)))
    dense.load_state_dict({"kernel": [[0.1]], "bias": [0.2]})
    assert (dense.kernel.item(), dense.bias.item()) == (0.1, 0.2)


def test_loading_keeps_the_dtype_and_the_mark_of_who_wrote():
    dense = layers.Dense(1, input_shape=[1])
    dense.load_state_dict({"kernel": [[2]], "bias": np.array([0.5])})
    assert dense.kernel.dtype == np.float32
    assert dense.kernel.version.writer == "load_state_dict"


def test_a_value_that_would_lose_its_kind_is_refused():
    module = Scale()
    with pytest.raises(ShapeError, match="count expects int64; got float64"):
        module.load_state_dict({"weight": np.zeros(2), "count": np.array([0.5])})


# Files


def test_save_and_load(tmp_path):
    tree, other = Tree(), Tree()
    tree.first.weight.assign([8.0, 9.0])
    tree.first.count.assign([1])
    tree.save(tmp_path / "weights")
    other.load(str(tmp_path / "weights"))
    assert other.first.weight.tolist() == [8.0, 9.0]
    assert other.first.count.tolist() == [1]
    assert [file.name for file in tmp_path.iterdir()] == ["weights"]


def test_the_file_is_numpys_and_the_same_for_the_same_weights(tmp_path, monkeypatch):
    Tree().save(tmp_path / "a.npz")
    monkeypatch.setattr("time.time", lambda: 1e9)
    Tree().save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as archive:
        assert archive["branches.0.weight"].tolist() == [4.0, 1.0]


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "weights.npz"
    Tree().save(path)
    before = path.read_bytes()

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(np.lib.format, "write_array", fail)
    with pytest.raises(OSError, match="disk full"):
        Tree().save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_not_a_saved_file_is_refused_and_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("unpickled",)

    path = tmp_path / "weights.npz"
    np.savez(path, **{"first.weight": np.array([Trap()], dtype=object)})
    damaged = tmp_path / "damaged.npz"
    Tree().save(damaged)
    damaged.write_bytes(damaged.read_bytes()[:-200])
    (tmp_path / "text").write_text("weights")
    (tmp_path / "pickle").write_bytes(pickle.dumps([1]))
    np.save(tmp_path / "one.npy", np.zeros(2))
    for name in ("weights.npz", "damaged.npz", "text", "pickle", "one.npy"):
        with pytest.raises(SettingError, match=f"load expects an .npz file that save wrote; got .*{name}"):
            Tree().load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        Tree().load(tmp_path / "missing.npz")
    for load in (Tree().load, tg.models.load):
        with pytest.raises(TypeError, match="load expects the path of a file; got 3"):
            load(3)


# Copies


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_computes_the_same_and_shares_nothing(copied):
    net = notebook_network()
    x = np.random.default_rng(0).normal(size=(4, 28, 28)).astype(np.float32)
    net(x)
    net.layers[8].trainable = False
    twin = copied(net.eval())
    assert np.array_equal(net(x).numpy(), twin(x).numpy())
    assert not twin.layers[8].kernel.trainable
    assert not {id(p) for p in net.parameters()} & {id(p) for p in twin.parameters()}
    twin.layers[8].bias.assign(np.ones(10))
    assert not net.layers[8].bias.numpy().any()


def test_a_copy_keeps_what_is_shared_shared():
    tree = Tree()
    tree.tied = tree.first.weight
    twin = copy.deepcopy(tree)
    assert twin.tied is twin.first.weight


# What it shows


def test_the_notebooks_network_has_271346_parameters():
    net = notebook_network()
    net(np.zeros((2, 28, 28)))
    summary = net.summary(None)
    assert (summary.total, summary.trainable, summary.non_trainable) == (271_346, 268_978, 2_368)
    net.trainable = False
    assert net.summary(None).trainable == 0


def test_summary_prints_a_table(capsys):
    net = Row(layers.Input((4,)), layers.Dense(3), layers.BatchNormalization())
    net(np.zeros((2, 4)))
    net.extra = Parameter(np.zeros(2))
    summary = net.summary()
    assert capsys.readouterr().out == (
        "path      layer               output shape  parameters\n"
        "------------------------------------------------------\n"
        "          Row                 ?                      2\n"
        "layers.0  Input               (batch, 4)             0\n"
        "layers.1  Dense               (batch, 3)            15\n"
        "layers.2  BatchNormalization  (batch, 3)            12\n"
        "------------------------------------------------------\n"
        "total: 29\n"
        "trainable: 23\n"
        "non-trainable: 6\n"
    )
    assert repr(summary) == "Summary(total=29, trainable=23, non_trainable=6)"


def test_a_variable_in_a_list_belongs_to_the_module_that_holds_the_list():
    rows = Tree().summary(None).rows
    assert [(path, size) for path, _, _, size in rows] == [
        ("", 3),
        ("first", 3),
        ("branches.0", 3),
        ("branches.1.deep", 3),
    ]


def test_repr_is_a_tree_with_settings_and_mode():
    net = Row(Row(layers.Dense(3, "elu", name="head")), layers.BatchNormalization(axis=[1, 2]), layers.Dropout(0.5))
    net.layers[1].eval()
    net.layers[2].trainable = False
    assert repr(net) == (
        "Row(training=True)\n"
        "  layers.0: Row()\n"
        "    layers.0: Dense(units=3, activation='elu', name='head')\n"
        "  layers.1: BatchNormalization(axis=[1, 2], training=False)\n"
        "  layers.2: Dropout(rate=0.5, trainable=False)"
    )
    assert repr(layers.Dense(2, dtype=np.float64).eval()) == "Dense(units=2, dtype='float64', training=False)"
    assert not re.search("0x", repr(Row(layers.RReLU(seed=1))))


def test_a_weight_is_never_lost_to_an_array():
    dense = tg.layers.Dense(2, input_shape=(3,))
    assert len(dense.parameters()) == 2
    with pytest.raises(TypeError, match=r"Dense\.kernel is a Parameter: give it values by \.kernel\.assign"):
        dense.kernel = np.ones((3, 2))
    dense.kernel.assign(np.ones((3, 2)))
    dense.bias = None
    assert [path for path, _ in dense.named_parameters()] == ["kernel"]
