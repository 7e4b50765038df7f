"""Holding: lists and dicts of modules that are changed in place, which sets no attribute, are seen at once."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.callbacks import Callback
from tinygrad_bn.layers import Dense

X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
Y = np.ones((4, 3), np.float32)


def dense():
    return Dense(3, input_shape=(3,))


class Nested(tg.Model):
    """Modules in lists, tuples and dicts in each other, in a module that is never called, and scales that are none."""

    def __init__(self):
        self.rows = [[dense(), dense()], {"a": ([dense()], []), "b": [{"c": dense()}]}]
        self.spare, self.named, self.inner = dense(), {}, tg.Module()
        self.inner.inmost = tg.Module()
        self.inner.inmost.scales = [tg.Parameter([2.0], name="two"), tg.Parameter([3.0], name="three")]
        self.inner.inmost.factor = 1.0
        self.inner.others = [tg.Module()]
        self.inner.others[0].factor = 1.0
        self.keys = {dense(): 1.0}

    def forward(self, x):
        (many, dicts), inmost = self.rows, self.inner.inmost
        (some, few), (last,) = dicts["a"], dicts["b"]
        for layer in [*many, *some, *few, *last.values(), *self.named.values(), *self.keys]:
            x = layer(x)
        for number, scale in enumerate(inmost.scales):
            x = x * scale + number
        return x * inmost.factor * self.inner.others[0].factor


def sequential():
    return tg.Sequential([dense(), tg.layers.Activation("tanh"), dense()])


def swap(net):
    net.layers[0], net.layers[1] = net.layers[1], net.layers[0]


def replace(net):
    net.layers[0:2] = [net.layers[2]]


def reorder(net):
    net.rows[1]["b"][0]["d"] = net.spare
    net.rows[1]["b"][0]["c"] = net.rows[1]["b"][0].pop("c")


CHANGES = {
    "popped": (sequential, lambda net: net.layers.pop()),
    "swapped": (sequential, swap),
    "replaced": (sequential, replace),
    "in a list of lists": (Nested, lambda net: net.rows[0].pop()),
    "in a list in a tuple": (Nested, lambda net: net.rows[1]["a"][0].pop()),
    "in an empty list": (Nested, lambda net: net.rows[1]["a"][1].append(net.spare)),
    "in an empty dict": (Nested, lambda net: net.named.update(spare=net.spare)),
    "from a dict": (Nested, lambda net: net.rows[1]["b"][0].pop("c")),
    "the order of a dict": (Nested, reorder),
    "among the keys of a dict": (Nested, lambda net: net.keys.clear()),
    "a variable": (Nested, lambda net: net.inner.inmost.scales.reverse()),
    "a setting of what is never called": (Nested, lambda net: setattr(net.inner.inmost, "factor", 2.0)),
    "a setting in a list": (Nested, lambda net: setattr(net.inner.others[0], "factor", 2.0)),
}


@pytest.mark.parametrize(("make", "change"), CHANGES.values(), ids=CHANGES)
def test_what_modules_hold_is_compared_in_each_call(make, change):
    net = make()
    net.compile("sgd", "mse")
    step = tg.capture(lambda x: net(x), executor="numpy")

    def expect_the_network_as_it_is():
        results = net(X).numpy()
        np.testing.assert_array_equal(step(X).numpy(), results)
        np.testing.assert_array_equal(net.predict(X), results)
        np.testing.assert_allclose(net.evaluate(X, Y), ((results - Y) ** 2).mean(), 1e-5)

    for _ in range(2):
        expect_the_network_as_it_is()
    change(net)
    for _ in range(2):
        expect_the_network_as_it_is()
    assert len(step.programs) == 2


@pytest.mark.parametrize(("make", "change"), CHANGES.values(), ids=CHANGES)
def test_so_it_is_between_the_steps_of_fit(make, change):
    def fitted(executor):
        class Changing(Callback):
            def on_epoch_end(self, epoch, logs):
                if epoch == 0:
                    change(self.model)

        tg.set_random_seed(0)
        net = make()
        net.compile(tg.optimizers.SGD(0.01), "mse")
        history = net.fit(X, Y, epochs=3, callbacks=[Changing()], verbose=0, executor=executor).history["loss"]
        return [*history, *(value.tobytes() for value in net.state_dict().values())]

    assert fitted("numpy") == fitted("eager")


def test_lists_of_modules_that_no_module_holds_are_compared_too():
    class Trainer:
        def __init__(self):
            self.layers, self.nets = [dense(), dense()], {"a": [dense(), dense()]}
            self.step = tg.capture(self.forward, executor="numpy")

        def forward(self, x):
            for layer in [*self.layers, *self.nets["a"]]:
                x = layer(x)
            return x

    trainer = Trainer()
    for change in (list, trainer.layers.pop, trainer.nets["a"].pop):
        change()
        np.testing.assert_array_equal(trainer.step(X).numpy(), trainer.forward(X).numpy())


def test_what_was_held_before_has_its_program_still():
    net = sequential()
    step = tg.capture(lambda x: net(x), executor="numpy")
    for _ in range(3):
        step(X)
        swap(net)
    assert len(step.programs) == 2


def test_lists_without_modules_are_no_news():
    net = Nested()
    net.losses, net.logs = [0.0], [{"epoch": 0, "bits": X}]
    net.myself = [net.losses]
    net.myself.append(net.myself)
    step = tg.capture(lambda x: net(x), executor="numpy")
    for epoch in range(3):
        step(X)
        net.losses.append(0.0)
        net.logs.append({"epoch": epoch, "bits": X})
    assert len(step.programs) == 1
