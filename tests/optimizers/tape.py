"""A recorder that runs an optimizer's step again, from other gradients, and never lets anybody look at a value."""

import numpy as np

from tinygrad_bn.mode import Recorder, frozen_state, using
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.variables import Variable


class Tape(Recorder):
    """Takes a step of the optimizer on parameters that have gradients; each `replay` takes another, from others."""

    def __init__(self, optimizer, parameters):
        self.feeds, self.calls, self.checks, self.stores, self.actions, self.goods = {}, [], [], {}, [], []
        self.gradients = [parameter.grad for parameter in parameters]
        with frozen_state(), using(recorder=self):
            optimizer.step(parameters)
        self.replay([gradient.value for gradient in self.gradients])

    def reveal(self, tensor, request):
        raise AssertionError(f"somebody looks at a value: {request}")

    def feed(self, array, refresh):
        return self.feeds.setdefault(id(array), (Tensor(array), refresh))[0]

    def note(self, tensor):
        primitive, args, settings = tensor.source
        assert not tensor.requires_grad
        read = [self.stores.get(arg, (arg,))[0] if isinstance(arg, Variable) else arg for arg in args]
        self.calls.append((tensor, primitive, read, settings))

    def assigned(self, variable, data, writer):
        self.stores[variable] = data, tuple(self.goods)
        return True

    def guard(self, good, explain):
        if not isinstance(good, Tensor):
            return super().guard(good, explain)
        if explain is None:
            self.goods.append(good)
        else:
            self.checks.append((good, explain))
        return True

    def count(self, counter):
        self.actions.append((lambda: np.add(counter, 1, counter), tuple(self.goods)))

    def replay(self, gradients):
        values = dict(zip(self.gradients, gradients, strict=True))
        for tensor, refresh in self.feeds.values():
            if refresh is not None:
                refresh()
            values[tensor] = tensor.value

        def found(arg):
            return values.get(arg, arg.value) if isinstance(arg, Tensor) else arg

        for tensor, primitive, args, settings in self.calls:
            values[tensor] = primitive.evaluate([found(arg) for arg in args], settings)
        for good, explain in self.checks:
            if not found(good):
                raise explain()
        news = {variable: found(data) for variable, (data, goods) in self.stores.items() if all(map(found, goods))}
        for variable, value in news.items():
            variable.assign(value)
        for action, goods in self.actions:
            if all(map(found, goods)):
                action()
