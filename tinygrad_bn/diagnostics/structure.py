"""The layers of a computation, read from what its Tensors remember: each a product with a kernel, and what follows it.

Only the graph is asked, not the modules, so that every model that computes with Tensors has layers, whatever its
`forward` looks like. What follows a product is a chain: the Tensors that every path from it to the result passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Literal, NamedTuple

from tinygrad_bn import ops
from tinygrad_bn.ops.linear import contract
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.tensors.graph import ancestors, arguments, consumers, made, source
from tinygrad_bn.variables import Parameter, Variable

Kind = Literal["linear", "join", "elementwise", "mixing"]

_age = attrgetter("serial")
_PRODUCTS = (ops.matmul, ops.affine, contract)
_ARITHMETIC = (ops.add, ops.subtract, ops.multiply, ops.scale_and_shift, ops.negative)
_LINEAR = (*_ARITHMETIC, ops.reshape, ops.transpose, ops.astype, ops.copy)
_MIXING = (ops.softmax, ops.log_softmax)
_ELEMENTWISE = tuple(f"tinygrad_bn.ops.{module}" for module in ("activations", "arithmetic", "elementary"))


class Link(NamedTuple):
    """From one Tensor of a chain to the next.

    Attributes:
        before, after: the two.
        kind: "linear" or "elementwise" in `before` alone; a "join" with another path; "mixing": anything else.
        steps: what was computed between them, `after` included, in order.
    """

    before: Tensor
    after: Tensor
    kind: Kind
    steps: tuple[Tensor, ...]


class GraphLayer(NamedTuple):
    """A product with a kernel, and what becomes of it until the next product.

    Attributes:
        path: of the parameter that the kernel is, or is computed from.
        kernel: the factor that is made of parameters alone.
        entering: the other factor.
        product: the result, a bias included where that is part of the operation.
        links: the chain from the product to the activations.
    """

    path: str
    kernel: Tensor
    entering: Tensor
    product: Tensor
    links: tuple[Link, ...]

    @property
    def activation(self) -> Tensor:
        """What the layer hands on: the last Tensor of its chain."""
        return self.links[-1].after if self.links else self.product

    @property
    def nonlinearity(self) -> tuple[Link, ...]:
        """The first links that are elementwise, and the linear ones in between."""
        kinds = [link.kind for link in self.links]
        if "elementwise" not in kinds:
            return ()
        start = kinds.index("elementwise")
        stop = next((i for i in range(start, len(kinds)) if kinds[i] in ("mixing", "join")), len(kinds))
        last = max(i for i in range(start, stop) if kinds[i] == "elementwise")
        return self.links[start : last + 1]


class Structure:
    """The layers that lead to a result, in the order of computation.

    Args:
        result: what was computed.
        end: where the chain of the last layer ends, such as the model's output on the way to a loss.
        names: the path of each parameter.
        x: the model's input.

    Attributes:
        layers: one for each product with a kernel.
        bypassed: those of them that some path from `x` to the end goes around.
    """

    def __init__(self, result: Tensor, end: Tensor, names: Mapping[Parameter, str], x: Tensor) -> None:
        self._end = end
        steps = sorted(ancestors(result), key=_age)
        self._data = _made_of_data(steps, x)
        self._sources = _parameters_behind(steps, names, self._data)
        self._users = consumers(steps)
        self._after = _meetings(steps, self._users)
        self._products = {tensor: factors for tensor in steps if (factors := self._factors(tensor))}
        self.layers = tuple(
            GraphLayer(names[self._sources[kernel]], kernel, entering, product, tuple(self._links(product)))
            for product, (entering, kernel) in self._products.items()
        )
        passed = set(self._chain(x))
        self.bypassed = tuple(layer for layer in self.layers if layer.product not in passed)

    def _factors(self, tensor: Tensor) -> tuple[Tensor, Tensor] | None:
        """(data, kernel) of a product of the two."""
        if made(tensor) not in _PRODUCTS:
            return None
        pair = [arg for arg in source(tensor)[1][:2] if isinstance(arg, Tensor)]
        data, kernels = [arg for arg in pair if arg in self._data], [arg for arg in pair if arg in self._sources]
        return (data[0], kernels[0]) if data and kernels else None

    def _chain(self, tensor: Tensor) -> Iterator[Tensor]:
        """What every path from `tensor` to the end passes."""
        following = self._after.get(tensor)
        while following is not None and following.serial <= self._end.serial:
            yield following
            following = self._after.get(following)

    def _links(self, product: Tensor) -> Iterator[Link]:
        before = product
        if product is self._end:
            return
        for after in self._chain(product):
            link = self._link(before, after)
            if any(step in self._products for step in link.steps):
                return
            yield link
            before = after

    def _link(self, before: Tensor, after: Tensor) -> Link:
        steps, pending = {after}, [user for user in self._users[before] if user is not after]
        while pending:
            step = pending.pop()
            if step not in steps:
                steps.add(step)
                pending += [user for user in self._users[step] if user is not after]
        return Link(before, after, self._kind(before, after, steps), tuple(sorted(steps, key=_age)))

    def _kind(self, before: Tensor, after: Tensor, steps: set[Tensor]) -> Kind:
        inside = steps | {before}
        if any(arg in self._data and arg not in inside for step in steps for arg in arguments(step)):
            return "join"
        primitive, args, _ = source(after)
        uses = sum(arg is before for arg in args)
        divided = primitive is ops.divide and args[0] is before
        if len(steps) == 1 and uses == 1 and (primitive in _LINEAR or divided):
            return "linear"
        alike = all(
            step.shape == before.shape and made(step).__module__ in _ELEMENTWISE
            for step in steps
            if made(step) not in _LINEAR
        )
        return "elementwise" if alike and not any(made(step) in _MIXING for step in steps) else "mixing"


def _made_of_data(steps: Iterable[Tensor], x: Tensor) -> set[Tensor]:
    """What depends on `x`; where nothing does, because it left the graph, on any leaf that is no variable."""
    data: set[Tensor] = set()
    leaves = {tensor for tensor in steps if tensor.source is None and not isinstance(tensor, Variable)}
    roots = {x} if x in leaves else leaves
    for tensor in steps:
        if tensor in roots or any(arg in data for arg in arguments(tensor)):
            data.add(tensor)
    return data


def _parameters_behind(
    steps: Iterable[Tensor], names: Mapping[Parameter, str], data: set[Tensor]
) -> dict[Tensor, Parameter]:
    """Of each Tensor that is made of parameters and constants alone, the first of these parameters."""
    behind: dict[Tensor, Parameter] = {}
    for tensor in steps:
        first = next((behind[arg] for arg in arguments(tensor) if arg in behind), None)
        if isinstance(tensor, Parameter) and tensor in names:
            behind[tensor] = tensor
        elif first is not None and tensor not in data:
            behind[tensor] = first
    return behind


def _meetings(steps: list[Tensor], users: Mapping[Tensor, list[Tensor]]) -> dict[Tensor, Tensor | None]:
    """The first Tensor that all paths to the result have in common: the immediate post-dominator.

    Reference: Cooper, Harvey and Kennedy (2001), for graphs without cycles.
    """
    after: dict[Tensor, Tensor | None] = {steps[-1]: None}
    for tensor in reversed(steps[:-1]):
        meeting, *others = users[tensor]
        for other in others:
            while meeting is not other:
                younger, older = (meeting, other) if meeting.serial > other.serial else (other, meeting)
                following = after[older]
                assert following is not None  # the result is the youngest of all
                meeting, other = younger, following
        after[tensor] = meeting
    return after
