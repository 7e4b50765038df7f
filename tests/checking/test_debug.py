import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.mode import current, using
from tinygrad_bn.recorders import Recorder
from tinygrad_bn.variables import Parameter


class Diary(Recorder):
    def __init__(self):
        self.entries = []

    def note(self, tensor):
        self.entries.append(tensor.source[0].__name__)

    def reveal(self, tensor, request):
        self.entries.append(request)

    def assigned(self, variable, data, writer):
        self.entries.append("assigned")
        return True

    def enter(self, module):
        self.entries.append("enter")

    def leave(self, module):
        self.entries.append("leave")


def raised(f, *args):
    with pytest.raises(FloatingPointError) as caught, tg.debug():
        f(*args)
    return str(caught.value)


def test_the_first_operation_that_is_not_finite_is_named_with_its_arguments_and_line():
    def loss(x):
        y = x - 1
        z = tg.log(y)  # the culprit
        return tg.sum(z * 0)

    said = raised(loss, tg.tensor([1.0, 0.0, 5.0]))
    assert said.startswith("log gave float32 of shape (3,) with 1 nan and 1 -inf, else from 1.38629 to 1.38629")
    assert "argument 0: float32 of shape (3,), from -1 to 4" in said
    assert f"{__file__}:" in said
    assert "in loss: z = tg.log(y)  # the culprit" in said


def test_settings_and_integer_arguments_are_told_too():
    said = raised(lambda: tg.take(tg.tensor([np.inf, 1.0]), np.array([0, 1]), 0))
    assert "with 1 inf" in said
    assert "int64 of shape (2,), from 0 to 1" in said


def test_the_module_at_work_is_named_by_its_path():
    class Root(tg.Module):
        def forward(self, x):
            return tg.sqrt(x)

    model = tg.Sequential([tg.layers.Dense(2, kernel_initializer="ones"), Root()])
    assert "in layers.1 (Root)" in raised(model, np.full((1, 3), -1.0, np.float32))


def test_finite_computations_pass_and_the_mode_is_as_before():
    with tg.debug():
        assert float(tg.sum(tg.exp(tg.tensor([1.0, 2.0])))) == pytest.approx(np.exp([1, 2]).sum())
        assert bool(tg.isnan(tg.tensor(1.0))) is False
    assert current().recorder is None
    raised(lambda: tg.log(tg.tensor(0.0)))
    assert current().recorder is None


@pytest.mark.parametrize("create_graph", [False, True])
def test_every_backward_pass_is_watched(create_graph):
    x = tg.tensor([0.0], requires_grad=True)
    y = tg.sqrt(x)
    assert raised(lambda: y.backward(create_graph=create_graph)).startswith("divide gave")
    assert raised(lambda: tg.gradients(y, x, create_graph=create_graph)).startswith("divide gave")
    assert x.grad is None


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_can_be_differentiated_where_they_can_be_without_it(create_graph):
    x = tg.tensor([2.0], requires_grad=True)
    y = tg.sqrt(x)
    with tg.debug():
        y.backward(create_graph=create_graph)
        found = tg.gradients(y, x, create_graph=create_graph)
    assert x.grad.requires_grad is found.requires_grad is create_graph


def test_it_decorates():
    @tg.debug()
    def f(x):
        return tg.log(x)

    for _ in range(2):
        with pytest.raises(FloatingPointError, match="log gave"):
            f(tg.tensor(0.0))


def test_a_recorder_already_at_work_hears_everything():
    class Twice(tg.Module):
        def forward(self, x):
            return 2 * x

    def work():
        p = Parameter(np.ones(2))
        p.assign(Twice()(p))
        return float(tg.sum(p))

    heard = []
    for debugging in (False, True):
        diary = Diary()
        with using(recorder=diary):
            if debugging:
                with tg.debug():
                    work()
            else:
                work()
        heard.append(diary.entries)
    assert heard[0] == heard[1]
    assert {"enter", "multiply", "leave", "assigned", "sum", ".item()"} <= set(heard[0])
