"""What the user's texts look up is seen when it changes: the functions that a step runs are told by tracing."""

import contextlib
import functools
import sys
import types
import weakref

import numpy as np
import pytest

import tinygrad_bn as tg

K = 2.0
X = np.ones((1, 3), np.float32)


def to(number):
    globals()["K"] = number


@pytest.fixture(autouse=True)
def from_two():
    to(2.0)


def direct(x):
    return x * K


class Methods:
    """Each way to reach `scaled` without a variable that stands for it."""

    def __init__(self, x=None):
        self.made = None if x is None else self.scaled(x)

    def scaled(self, x):
        return x * K

    def deeper(self, x):
        return self.scaled(x)

    @property
    def factor(self):
        return K

    @staticmethod
    def still(x):
        return x * K

    @classmethod
    def of_class(cls, x):
        return cls.still(x)

    def times(self, x, number):
        return x * K * number

    once = functools.partialmethod(times, number=1.0)

    def __enter__(self):
        return K

    def __exit__(self, *_):
        pass

    __call__ = __getitem__ = __rmatmul__ = scaled


class Block(tg.Module):
    def __init__(self, way):
        super().__init__()
        self.way = way

    def forward(self, x):
        return self.inner(x) if self.way == "a method" else self.way(x)

    def inner(self, x):
        return x * K


BLOCK, METHODS = Block("a method"), Methods()


def within(x):
    with Methods() as number:
        return x * number


def imported(x):
    import late_settings

    return x * late_settings.K


def imported_name(x):
    from late_settings import K as number

    return x * number


def late(x):
    return x * late_settings.K  # noqa: F821 it is imported later


def late_module():
    """A module that is not there yet where the functions above are written."""
    module = types.ModuleType("late_settings")
    module.K = 2.0
    sys.modules["late_settings"] = globals()["late_settings"] = module
    return functools.partial(setattr, module, "K")


def of_object(make, use, name="k"):
    """A thing that a step uses, and how to change a number in it."""
    it = make()
    return use(it), functools.partial(setattr, it, name)


class Scale:
    def __init__(self):
        self.k = 2.0

    def __call__(self, *given):
        return given[-1] * self.k


def registry():
    def scaled(x):
        return x * number

    def change(new):
        nonlocal number
        number = new

    number = 2.0
    table = {"scaled": scaled}
    return lambda x: table["scaled"](x), change


def with_class(change):
    class Base(tg.Module):
        k = 2.0

        def forward(self, x):
            return self.scaled(x) * self.k / 2.0

        def scaled(self, x):
            return x * 2.0

    class Sub(Base):
        pass

    it = Sub()
    return tg.Sequential([it]), lambda number: change(it, Sub, Base, number)


def replaced(own, sub, base, number):
    base.scaled = lambda self, x: x * number


def shadowed(own, sub, base, number):
    sub.k = number


def uncovered(own, sub, base, number):
    del own.k


def uncovering():
    step, change = with_class(uncovered)
    step.layers[0].k = 5.0
    return step, change


def turned(own, sub, base, number):
    own.__class__ = type("Other", (base,), {"k": number})


def recoded(own, sub, base, number):
    base.scaled.__code__ = (lambda self, x: x * 3.0).__code__


def of_function(change):
    def helper(x, k=2.0, *, again=1.0):
        return x * k * again * helper.own

    helper.own = 1.0
    return lambda x: helper(x), lambda number: change(helper, number)


def with_defaults(helper, number):
    helper.__defaults__ = (number,)


def with_keyword(helper, number):
    helper.__kwdefaults__["again"] = number


def with_own(helper, number):
    helper.own = number


WORLDS = {
    "a method of a layer's": lambda: (tg.Sequential([Block("a method")]), to),
    "a function in a layer": lambda: (tg.Sequential([Block(direct)]), to),
    "a method in a layer": lambda: (tg.Sequential([Block(Methods().deeper)]), to),
    "an object in a layer": lambda: (tg.Sequential([Block(Methods())]), to),
    "a default": lambda: ((lambda x, layer=BLOCK: layer(x)), to),
    "a method of a method": lambda: (Methods().deeper, to),
    "a property": lambda: (lambda x: x * METHODS.factor, to),
    "a method of a class": lambda: (Methods.of_class, to),
    "a partial method": lambda: (Methods().once, to),
    "__getitem__": lambda: (lambda x: Methods()[x], to),
    "an operator": lambda: (lambda x: Methods().__rmatmul__(x), to),
    "__init__": lambda: (lambda x: Methods(x).made, to),
    "__enter__": lambda: (within, to),
    "a function made in the step": lambda: (lambda x: (lambda: x * K)(), to),
    "what is differentiated": lambda: (lambda x: tg.grad(lambda y: tg.sum(y * K))(x), to),
    "another captured function": lambda: (tg.capture(direct), to),
    "a function in a dict": registry,
    "a module imported later": lambda: (late, late_module()),
    "a module imported inside": lambda: (imported, late_module()),
    "a name imported inside": lambda: (imported_name, late_module()),
    "a plain object as a loss": lambda: of_object(Scale, lambda it: lambda x: it(x, x)),
    "a plain object as an activation": lambda: of_object(Scale, lambda it: tg.Sequential([tg.layers.Activation(it)])),
    "a plain object in a lambda in a layer": lambda: of_object(
        Scale, lambda it: tg.Sequential([tg.layers.Activation(lambda x: it(x))])
    ),
    "a method that is replaced": lambda: with_class(replaced),
    "an attribute that shadows one": lambda: with_class(shadowed),
    "an attribute that is deleted": uncovering,
    "another class": lambda: with_class(turned),
    "the text of a method": lambda: with_class(recoded),
    "the defaults of a function": lambda: of_function(with_defaults),
    "the keyword defaults of a function": lambda: of_function(with_keyword),
    "an attribute of a function": lambda: of_function(with_own),
}


@pytest.mark.parametrize("world", WORLDS)
def test_what_the_users_text_looks_up_is_seen_when_it_changes(world):
    step, change = WORLDS[world]()
    captured = tg.capture(step)
    before = captured(X).numpy()
    np.testing.assert_array_equal(captured(X).numpy(), before)
    assert len(captured.programs) == 1
    change(3.0)
    eager = tg.tensor(getattr(step, "function", step)(X)).numpy()
    assert (eager != before).any()
    np.testing.assert_array_equal(captured(X).numpy(), eager)


class Moving:
    def __init__(self):
        self.t = 0.0

    def step(self, x):
        self.t += 1.0
        return x * self.t


def moving_global(x):
    to(K + 1.0)
    return x * K


def moving_closure():
    t = 0.0

    def step(x):
        nonlocal t
        t += 1.0
        t += 1.0
        return x * t

    return step


def moving_dict():
    table = {"t": 0.0}

    def step(x):
        table["t"] += 1.0
        return x * table["t"]

    return step


MOVING = {
    "a variable of its own": lambda: moving_global,
    "of a closure": moving_closure,
    "in a dict": moving_dict,
    "in its object": lambda: Moving().step,
}


@pytest.mark.parametrize("what", MOVING)
def test_what_the_function_itself_moves_on_is_moved_on_in_each_call(what):
    def results(wrap):
        to(2.0)
        step = wrap(MOVING[what]())
        return [np.asarray(step(X)).tolist() for _ in range(4)]

    assert results(tg.capture) == results(lambda step: step)


@pytest.mark.parametrize("argument", [direct, lambda x: x * K, Methods(), Methods().deeper, Block("a method")])
def test_so_is_what_the_text_of_an_argument_looks_up(argument):
    captured = tg.capture(lambda x, function: function(x))
    for number in (2.0, 3.0, 3.0, 2.0):
        to(number)
        np.testing.assert_array_equal(captured(X, argument).numpy(), number * X)
    assert len(captured.programs) == 2


class Loss(tg.losses.Loss):
    def per_sample(self, y_true, y_pred):
        return self.scaled(tg.mean(tg.square(y_true - y_pred), axis=1))

    def scaled(self, x):
        return x * K


class Penalty(tg.regularizers.Regularizer):
    def __call__(self, parameter):
        return self.scaled(tg.sum(parameter * parameter))

    def scaled(self, x):
        return x * K


class PlainLoss(Scale):
    def __call__(self, y_true, y_pred):
        return tg.mean(tg.square(y_true - y_pred)) * self.k


class PlainPenalty(Scale):
    def __call__(self, parameter):
        return tg.sum(parameter * parameter) * self.k


class Limit(Scale):
    def __call__(self, parameter):
        return tg.clip(parameter, -0.1 * self.k, 0.1 * self.k)


def in_fit(kind):
    """The place of a thing in a model, and the thing."""
    it = Block("a method") if kind is Block else kind()
    places = {Block: "layer", Scale: "layer", Loss: "loss", PlainLoss: "loss", Limit: "constraint"}
    return places.get(kind, "regularizer"), it


@pytest.mark.parametrize("kind", [Block, Scale, Loss, Penalty, PlainLoss, PlainPenalty, Limit])
def test_so_it_is_in_fit_evaluate_and_predict(kind, monkeypatch):
    def told(executor):
        monkeypatch.setenv("TINYGRAD_BN_EXECUTOR", executor)
        tg.set_random_seed(0)
        to(2.0)
        place, it = in_fit(kind)
        layers = [it if kind is Block else tg.layers.Activation(it)] if place == "layer" else []
        model = tg.Sequential([*layers, tg.layers.Dense(2)])
        model(X)
        kernel = model.layers[-1].kernel
        if place in ("regularizer", "constraint"):
            setattr(kernel, place, it)
        model.compile(tg.optimizers.SGD(0.01), it if place == "loss" else "mse")
        seen = []
        for number in (2.0, 5.0):
            to(number)
            it.k = number
            fitted = model.fit(X, np.ones((1, 2), np.float32), verbose=0).history["loss"]
            seen += [
                *fitted,
                model.evaluate(X, np.ones((1, 2), np.float32)),
                *model.predict(X)[0],
                *kernel.numpy().flat,
            ]
        return np.array(seen)

    np.testing.assert_array_equal(told("numpy"), told("eager"))


def test_what_is_made_in_the_step_is_not_kept():
    made = []

    def step(x):
        it = Methods(x)
        made.append(weakref.ref(it))
        return it.deeper(it.made)

    captured = tg.capture(step)
    np.testing.assert_array_equal(captured(X).numpy(), 4 * X)
    assert made[0]() is None


def test_a_step_without_functions_of_the_users_has_nothing_to_look_at():
    model = tg.Sequential([tg.layers.Dense(2, activation="relu"), tg.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, np.ones((1, 1), np.float32), verbose=0)
    (entry,) = model._captured["step"]._run._entries()
    assert entry.settings._around._known == entry.settings._around._open == []


def installed(name):
    """A module as pip would have put it there."""
    text = """
import tinygrad_bn as tg
K = 2.0
def scaled(x):
    return x * K
class Scaled(tg.Module):
    def forward(self, x):
        return scaled(x)
"""
    module = types.ModuleType(name)
    module.__file__ = f"/lib/site-packages/{name}.py"
    exec(text, vars(module))
    return module


def test_installed_packages_are_looked_into_where_the_function_or_a_layer_comes_from_there():
    package = installed("installed_package")
    for step, seen in [
        (package.scaled, True),
        (tg.Sequential([package.Scaled()]), True),
        (lambda x: package.scaled(x), False),
    ]:
        package.K = 2.0
        captured = tg.capture(step)
        np.testing.assert_array_equal(captured(X).numpy(), 2 * X)
        package.K = 3.0
        np.testing.assert_array_equal(captured(X).numpy(), (3 if seen else 2) * X)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("takes", [False, True], ids=["", "as tracers in C do, it puts itself in place"])
def test_who_traced_before_goes_on_doing_so(fails, takes):
    def inner(x):
        if fails:
            raise KeyError
        return deeper(x)

    def deeper(x):
        return x * K

    seen = []

    def local(frame, event, arg):
        seen.append((frame.f_code.co_name, event))

    def tracer(frame, event, arg):
        if takes:
            sys.settrace(tracer)
        return local if frame.f_code is inner.__code__ else None

    captured, before = tg.capture(lambda x: inner(x)), sys.gettrace()
    try:
        sys.settrace(tracer)
        with contextlib.suppress(KeyError):
            captured(X)
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(before)
    assert ("inner", "line") in seen
    if not fails:
        to(3.0)
        np.testing.assert_array_equal(captured(X).numpy(), 3 * X)


def test_nobody_traces_afterwards():
    before = sys.gettrace()
    for step in (direct, lambda x: x.no_such_attribute):
        with contextlib.suppress(AttributeError):
            tg.capture(step)(X)
        assert sys.gettrace() is before


def test_the_text_of_a_class_that_the_step_makes_is_observed_too():
    @tg.capture
    def step(x):
        class Scale:
            by = K

        return x * Scale.by

    for number in (2.0, 3.0):
        to(number)
        assert step(X).value.tolist() == [[number] * 3]


def test_what_cython_compiled_may_be_named(monkeypatch):
    monkeypatch.setitem(globals(), "draws", [np.random.default_rng, np.random.default_rng(0).normal, np.random.rand])
    w = tg.Parameter([1.0])

    def helper():
        return [np.random.default_rng, draws[0], draws[1]]  # noqa: F821

    for thing in draws:  # noqa: F821

        @tg.capture
        def step(x, made=thing, holder=types.SimpleNamespace(draw=thing)):  # noqa: B008
            w.assign(w + 1)
            return x * len(helper()) if made is holder.draw else x

        assert step(X).value.tolist() == step(X).value.tolist() == [[3.0] * 3]
        assert len(step.programs) == 1


def test_who_turns_the_tracing_off_is_recorded_anew():
    @tg.capture
    def step(x):
        sys.settrace(None)
        return direct(x)

    before = sys.gettrace()
    try:
        for number in (2.0, 3.0):
            to(number)
            assert step(X).value.tolist() == [[number] * 3]
    finally:
        sys.settrace(before)


class Trainer:
    def __init__(self, model):
        self.model, self.steps, self.losses, self.scale = model, 0, [], 1.0
        self.step = tg.capture(self.loss)

    def loss(self, x):
        return tg.mean(self.model(x)) * self.scale


class Counting(tg.Module):
    scale = 1.0

    def forward(self, x):
        return x * self.scale


@pytest.mark.parametrize("make", [Counting, lambda: tg.Sequential([Counting()])], ids=["own", "ours"])
def test_what_no_text_of_the_step_reads_is_no_news(make):
    trainer = Trainer(make())
    for number in range(3):
        trainer.losses.append(trainer.step(X).item())
        trainer.steps, trainer.model.steps, trainer.model.best = number, number, f"epoch {number}"
    assert len(trainer.step.programs) == 1
    trainer.scale = 2.0
    assert trainer.step(X).item() == 2.0
    inner = trainer.model if isinstance(trainer.model, Counting) else trainer.model.layers[0]
    inner.scale = 3.0
    assert trainer.step(X).item() == 6.0


def test_what_a_text_may_ask_for_by_any_name_is():
    thing = types.SimpleNamespace(k0=2.0, k1=3.0)

    class Own:
        k0, k1 = 2.0, 3.0

        def __init__(self):
            self.k1 = 3.0

    own, number = Own(), 1
    step = tg.capture(lambda x: x * getattr(own, f"k{number}") * getattr(thing, f"k{number}"))
    assert step(X).value[0, 0] == 9.0
    own.k1 = 4.0
    assert step(X).value[0, 0] == 12.0
    thing.k1 = 5.0
    assert step(X).value[0, 0] == 20.0
