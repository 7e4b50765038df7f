"""What is wrong with a module before it is trained: found in the graph of one call, not in the names of layers.

A primitive says what it does to its neighbours: `standardize` takes away what was added before it, an activation wants
kernels of a certain variance. So the checks hold for layers and for any other module alike. A new check is a function
from `Observed` to findings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_bn import ops
from tinygrad_bn.errors import NotBuiltError, ShapeError
from tinygrad_bn.module.observing import Observed, example, named
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.tensors.graph import arguments, made, moved, source
from tinygrad_bn.variables import Parameter

if TYPE_CHECKING:
    from tinygrad_bn.module.modules import Module


class Finding(NamedTuple):
    """One thing that is not as it should be.

    Attributes:
        kind: what kind of thing; those of one kind share `why` and `remedy`.
        path: of the parameter, or of the module.
        found: the evidence.
        why: why it matters.
        remedy: what to do.
    """

    kind: str
    path: str
    found: str
    why: str
    remedy: str


class Audit:
    """What `Module.audit` found; `str()` is a table, and under it why each kind matters and what to do.

    Attributes:
        findings: in the order of the checks; none is good news.
    """

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        self.findings = findings

    def __repr__(self) -> str:
        return f"Audit({len(self.findings)} findings)"

    def __str__(self) -> str:
        if not self.findings:
            return "nothing found"
        rows = [("finding", "path", "found"), *(finding[:3] for finding in self.findings)]
        first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
        lines = [f"{kind:{first}}  {path:{second}}  {found}" for kind, path, found in rows]
        reasons = {each.kind: fill(f"{each.kind}: {each.why}. {each.remedy}.", 100) for each in self.findings}
        return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], "", *reasons.values()])

    def to_dict(self) -> dict[str, Any]:
        """The findings as dicts of their fields."""
        return {"findings": [finding._asdict() for finding in self.findings]}


def audit(model: Module, x: Any = None, optimizer: Any = None) -> Audit:
    """`Module.audit`."""
    x = example(model) if x is None else x
    if x is None:
        raise NotBuiltError(
            f"{type(model).__name__}.audit expects a batch of inputs, since the module does not know their shape: "
            "model.audit(x)"
        )
    if optimizer is not None and not hasattr(optimizer, "decays"):
        raise TypeError(
            f"{type(model).__name__}.audit expects an Optimizer, such as tg.optimizers.SGD(); got {optimizer!r:.60}"
        )
    observed = Observed(model, x)
    optimizer = getattr(model, "optimizer", None) if optimizer is None else optimizer
    findings = [
        *_bias_before_normalization(observed),
        *_decay(observed, optimizer),
        *_without_gradient(observed),
        *_gradient_of_zero(observed),
        *_mixed_dtypes(observed),
        *_mismatched_initializers(observed),
    ]
    return Audit(tuple(findings))


# The checks


def _bias_before_normalization(observed: Observed) -> Iterator[Finding]:
    for bias in observed.parameters:
        if bias not in observed.cancelled:
            continue
        taker = observed.path_of(observed.cancelled[bias]) or "the standardization"
        yield Finding(
            "bias before batch normalization",
            observed.paths[bias],
            f"{bias.size} numbers that {taker} subtracts again",
            "The mean of the batch takes the bias away, so it learns nothing, and beta takes its place",
            "Say use_bias=False in the layer before",
        )


def _decay(observed: Observed, optimizer: Any) -> Iterator[Finding]:
    for parameter, role in _roles(observed).items():
        rules = [repr(parameter.regularizer)] if parameter.regularizer is not None else []
        if optimizer is not None and optimizer.weight_decay and optimizer.decays(parameter):
            rules.append(f"{type(optimizer).__name__}(weight_decay={optimizer.weight_decay:g})")
        for rule in rules:
            yield Finding(
                f"weight decay on {role}",
                observed.paths[parameter],
                f"made smaller by {rule}",
                "It is a scale, a shift or a slope: decay does not make the function simpler, it only moves it",
                "Leave the regularizer out; an optimizer never decays a parameter named gamma, beta or alpha",
            )


def _without_gradient(observed: Observed) -> Iterator[Finding]:
    for parameter in observed.parameters:
        if observed.gradients.get(parameter) is None:
            yield Finding(
                "parameter without gradient",
                observed.paths[parameter],
                "no output depends on it" if parameter.trainable else "is not trainable",
                "It stays as it is, whatever the training",
                "Use it in forward, or remove it; look for what detaches; set trainable=True if it is frozen by "
                "accident",
            )


def _gradient_of_zero(observed: Observed) -> Iterator[Finding]:
    for parameter, gradient in observed.gradients.items():
        if gradient is not None and not gradient.value.any() and parameter not in observed.cancelled:
            yield Finding(
                "gradient of 0",
                observed.paths[parameter],
                "exactly 0 on this batch",
                "It learns nothing as long as that is so: often for good where units are dead, for some steps where "
                "zeros that learn stand before or behind it, such as the last kernel of a residual branch",
                "Look for dead units, and for zeros whose own gradient is 0; zeros that learn are no fault",
            )


def _mixed_dtypes(observed: Observed) -> Iterator[Finding]:
    sizes: Counter[np.dtype[Any]] = Counter()
    for variable in observed.paths:
        sizes[variable.dtype] += variable.size
    if not sizes:
        return
    usual = max(sizes, key=lambda dtype: sizes[dtype])
    others = [(path, f"is {v.dtype}, most are {usual}") for v, path in observed.paths.items() if v.dtype != usual]
    for result in observed.results if not others else ():
        if result.dtype.kind == "f" and result.dtype != usual and arguments(result):
            others = [(observed.path_of(result), f"computes in {result.dtype} with parameters of {usual}")]
            break
    for path, found in others:
        yield Finding(
            "mixed dtypes",
            path,
            found,
            "Each meeting of two dtypes costs a conversion, and what is narrower sets the precision",
            "Give every layer the same dtype, and cast inputs to it once",
        )


def _mismatched_initializers(observed: Observed) -> Iterator[Finding]:
    stops = (*_SUITS, ops.standardize)  # behind a standardization the kernel's scale does not matter
    told: set[Parameter] = set()
    for result in observed.made_by(*_SUITS):
        suits = _SUITS[made(result)]
        if _gates(result, observed):
            continue
        for kernel in observed.kernels_into(arguments(result), stops):
            said, report = _origin(kernel, observed.model)
            if report is None or kernel in told or suits.fits(report):
                continue
            told.add(kernel)
            spoken = said if isinstance(said, str) else getattr(said, "__name__", repr(said))
            yield Finding(
                "initializer and activation do not match",
                observed.paths[kernel],
                f"{spoken} before {named(result)}; {suits.initializer} suits it",
                "Kernels of another variance let the signal shrink or grow from layer to layer, by the same factor "
                "each time",
                "Use He initialization before ReLU and its kin, LeCun before SELU, Glorot before sigmoid, tanh and "
                "softmax; or batch normalization between kernel and activation",
            )


# What the primitives say of themselves


class _Suits(NamedTuple):
    """The kernels that an activation wants: of variance scale / fan.

    The fan is the one that the initializer looks at; where it looks at none, that of either direction of the signal
    will do, or their mean. What is only about the signal `forwards` takes fan_in, whatever the initializer.
    """

    initializer: str
    least: float
    most: float
    forwards: bool = False

    def fits(self, report: Any) -> bool:
        """Whether the law that an initializer reports for a kernel's shape is one of them."""
        either = (report.fan_in, report.fan_out, (report.fan_in + report.fan_out) / 2)
        fans = either if report.fan is None else (report.fan,)
        return any(self.least <= report.variance * fan <= self.most for fan in (either[:1] if self.forwards else fans))


_HE = _Suits("he_normal", 1.5, 2.5)
_LECUN = _Suits("lecun_normal", 0.95, 1.1, forwards=True)
_GLOROT = _Suits("glorot_uniform", 0.75, 1.25)
_SUITS: dict[Any, _Suits] = {
    **dict.fromkeys((ops.relu, ops.leaky_relu, ops.prelu, ops.elu), _HE),
    ops.selu: _LECUN,
    **dict.fromkeys((ops.sigmoid, ops.hard_sigmoid, ops.tanh, ops.softmax, ops.log_softmax), _GLOROT),
}
"""He et al. (2015), Eq. 10; Klambauer et al. (2017), Theorem 1, for the range of SELU; Glorot and Bengio (2010)."""


def _origin(parameter: Parameter, model: Module) -> tuple[Any, Any]:
    """What a module was told to draw the parameter with, and the report on that; None where there is no law to ask."""
    for module in model.modules():
        for name, value in vars(module).items():
            if value is parameter and hasattr(module, f"{name}_initializer"):
                said = getattr(module, f"{name}_initializer")
                initializer = module.initializer_of(name) if hasattr(module, "initializer_of") else said
                try:
                    return said, initializer.report(parameter.shape)
                except (AttributeError, NotImplementedError, ShapeError):
                    return said, None
    return None, None


def _gates(result: Tensor, observed: Observed) -> bool:
    """Whether an activation only weighs another signal, as the sigmoid does in silu(x) = x * sigmoid(x)."""
    factors = [
        other
        for product in observed.consumers(result)
        if made(product) is ops.multiply
        for other in arguments(product)
        if other is not result
    ]
    return any(True for _ in observed.kernels_into(factors))


def _roles(observed: Observed) -> dict[Parameter, str]:
    """gamma, beta and alpha: what scales and shifts a standardized signal, and the slopes of PReLU."""
    roles: dict[Parameter, str] = {}
    scaled = set(observed.made_by(ops.standardize))
    for result in observed.made_by(*_ROLES):
        primitive, args, _ = source(result)
        inside = [moved(arg) if isinstance(arg, Tensor) else None for arg in args]
        pairs = list(zip(inside, _ROLES[primitive], strict=True))
        signals = [each for each, role in pairs if not role] or inside
        if primitive is ops.prelu or scaled.intersection(signals):
            scaled.add(result)
            roles.update((each, role) for each, role in pairs if role and isinstance(each, Parameter))
    return roles


_ROLES: dict[Any, tuple[str, ...]] = {
    ops.scale_and_shift: ("", "gamma", "beta"),
    ops.multiply: ("gamma", "gamma"),
    ops.add: ("beta", "beta"),
    ops.prelu: ("", "alpha"),
}
"""What a parameter is called by its place among the arguments; none where the signal stands."""
