"""Functions with random draws: the noise is drawn apart, and is then an argument like any other.

`uniform` and `normal` draw it. They are not public: `frozen_state` brings back a generator that came through
`generator`, and these take any.

What has no `seed` or `rng` of its own draws from a stream that has a name: the weights and the order of the samples
from "main", dropout from "dropout", and so on. All follow from one seed, and none moves another on: with dropout a
network starts with the same weights and sees the same batches as without.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.domains import Case
from tinygrad_bn.errors import SettingError
from tinygrad_bn.functions import arrayed
from tinygrad_bn.mode import current, expect_outside
from tinygrad_bn.names import checked
from tinygrad_bn.ops.activations import SELU_ALPHA, SELU_SCALE, leaky_relu, prelu
from tinygrad_bn.ops.arithmetic import astype
from tinygrad_bn.ops.dtypes import floats
from tinygrad_bn.primitives import Array, primitive

if TYPE_CHECKING:
    from numpy.random import Generator

_MAIN = "main"
_streams: dict[str, Generator] = {}  # each made at its first draw, since numpy.random is slow to load
_root: Any = None  # what they follow from: a numpy.random.SeedSequence


@checked
def set_random_seed(seed: int) -> None:
    """Start the shared streams, from which everything without a `seed` or `rng` of its own draws, anew.

    Raises:
        ValueError: `seed` is no integer, or below 0.
    """
    expect_outside("set_random_seed")
    _start(_sequence(seed, "set_random_seed"))


def random_state() -> dict[str, Any]:
    """Where all shared streams stand, those included that nobody has drawn from yet; as JSON takes it."""
    streams = {name: stream.bit_generator.state for name, stream in _streams.items()}
    return {"seed": _rooted().entropy, "streams": streams}


def set_random_state(state: dict[str, Any]) -> None:
    """Let all shared streams go on from where they stood when `random_state` gave this."""
    expect_outside("set_random_state")
    _start(_sequence(state["seed"], "set_random_state"))
    for name, stood in state["streams"].items():
        _stream(name).bit_generator.state = stood


def _start(root: Any) -> None:
    global _root, _streams
    journal = current().journal
    if journal is not None:
        bring_back = partial(globals().update, _root=_root, _streams=_streams)
        journal.note(set_random_seed, lambda: [bring_back])
    _root, _streams = root, {}


def _sequence(seed: int | None, name: str) -> Any:
    try:
        return np.random.SeedSequence(seed)
    except (TypeError, ValueError):
        raise SettingError(f"{name} expects an integer, at least 0; got {seed!r}") from None


def _stream(name: str) -> Generator:
    """The shared generator of this name. That of "main" is the one that NumPy makes of the seed."""
    if name not in _streams:
        key = () if name == _MAIN else tuple(name.encode())
        _streams[name] = np.random.default_rng(np.random.SeedSequence(_rooted().entropy, spawn_key=key))
    return _streams[name]


def _rooted() -> Any:
    global _root
    _root = _root or np.random.SeedSequence()
    return _root


@checked
def generator(rng: Generator | None = None, seed: int | None = None, *, stream: str = _MAIN) -> Generator:
    """`rng` itself, or a new generator from `seed`, or the shared one of the name `stream`.

    Raises:
        TypeError: `rng` is not a numpy.random.Generator.
        ValueError: `seed` is no integer, or below 0.
    """
    if rng is None and seed is None:
        rng = _stream(stream)
    elif rng is None:
        rng = np.random.default_rng(_sequence(seed, "seed"))
        if (recorder := current().recorder) is not None:
            recorder.seeded(rng)
    elif not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng expects a numpy.random.Generator, such as np.random.default_rng(0); got {rng!r}")
    journal = current().journal
    if journal is not None and not journal.noted(rng):
        bring_back = partial(setattr, rng.bit_generator, "state", rng.bit_generator.state)
        journal.note(rng, lambda: [bring_back])
    return rng


def origin(rng: Generator) -> partial[Generator]:
    """Where to find, at any later time, the generator that stands where `rng` stands now.

    Only where that is `rng` itself, being none of the shared ones, it is held, as the one argument.
    """
    for name, shared in _streams.items():
        if rng is shared:
            return partial(generator, stream=name)
    return partial(generator, rng)


@primitive(
    label="uniform {low:g} {high:g}", random=True, cases=(Case(shape=(2, 3), low=-1.0, high=2.0, dtype=np.float32),)
)
def uniform(*, shape: tuple[int, ...], low: float, high: float, dtype: Any, rng: Generator) -> Array:
    """Numbers drawn evenly from `low` to `high` by `rng`, in an array of `shape` and `dtype`."""
    return low + (high - low) * rng.random(shape, np.float32 if dtype == np.float32 else np.float64).astype(dtype)


@primitive(label="normal", random=True, cases=(Case(shape=(2, 3), dtype=np.float32),))
def normal(*, shape: tuple[int, ...], dtype: Any, rng: Generator) -> Array:
    """Numbers of mean 0 and variance 1, normally distributed, drawn by `rng`, in an array of `shape` and `dtype`."""
    return rng.standard_normal(shape, np.float32 if dtype == np.float32 else np.float64).astype(dtype)


uniform.defvjp()
normal.defvjp()


def _ascend(*numbers: float) -> bool:
    """Whether these are numbers, none below the one before."""
    try:
        return all(low <= high for low, high in pairwise(numbers))
    except (TypeError, ValueError):  # what cannot be compared, or gives more than one answer
        return False


def _probability(name: str, rate: float) -> float:
    if not (_ascend(0, rate) and rate < 1):
        raise SettingError(f"{name} expects a rate in [0, 1); got {rate!r}")
    return float(rate)


def _kept(x: Array, rate: float, rng: Generator) -> Array:
    """1 with probability 1 - rate, else 0, for each element of x."""
    drawn = uniform(shape=x.shape, low=0.0, high=1.0, dtype=x.dtype, rng=rng)
    return astype(drawn >= rate, dtype=x.dtype)


@checked
def dropout(x: Array, rate: float, *, seed: int | None = None, rng: Generator | None = None) -> Array:
    """x / (1 - rate) with probability 1 - rate, else 0, element by element.  Reference: Srivastava et al. (2014).

    Raises:
        ValueError: `rate` is not in [0, 1).
    """
    rate, x = _probability("dropout", rate), floats(*arrayed("dropout", [x]))
    return x * (_kept(x, rate, generator(rng, seed, stream="dropout")) / (1 - rate))


@checked
def alpha_dropout(x: Array, rate: float, *, seed: int | None = None, rng: Generator | None = None) -> Array:
    """a * (x with probability 1 - rate, else SELU's limit) + b; a and b keep mean 0 and variance 1.

    With q = 1 - rate and limit m = -scale * alpha: a = (q * (1 + rate * m ** 2)) ** -1/2 and b = -a * m * rate.

    Raises:
        ValueError: `rate` is not in [0, 1).

    Reference: Klambauer et al. (2017), section "New Dropout Technique".
    """
    rate, x = _probability("alpha_dropout", rate), floats(*arrayed("alpha_dropout", [x]))
    kept = _kept(x, rate, generator(rng, seed, stream="alpha_dropout"))
    limit, a = alpha_dropout_settings(rate)
    return a * (x * kept + limit * (1 - rate - kept))  # b is part of it, so that nothing cancels near a rate of 1


def alpha_dropout_settings(rate: float) -> tuple[float, float]:
    """SELU's limit m, and the a of `alpha_dropout`; its b is -a * m * rate."""
    limit = -SELU_SCALE * SELU_ALPHA
    return limit, ((1 - rate) * (1 + rate * limit * limit)) ** -0.5


@checked
def rrelu(
    x: Array,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    *,
    training: bool = True,
    seed: int | None = None,
    rng: Generator | None = None,
) -> Array:
    """x where x > 0, else alpha * x: alpha drawn from [lower, upper) per element, or their mean outside training.

    Raises:
        ValueError: the bounds are not 0 <= lower <= upper.

    Reference: Xu et al. (2015), with the slope itself drawn instead of its reciprocal, as in PyTorch.
    """
    if not _ascend(0, lower, upper):
        raise SettingError(f"rrelu expects 0 <= lower <= upper; got lower={lower!r} and upper={upper!r}")
    x = floats(*arrayed("rrelu", [x]))
    if not training:
        return leaky_relu(x, alpha=(lower + upper) / 2)
    rng = generator(rng, seed, stream="rrelu")
    return prelu(x, uniform(shape=x.shape, low=lower, high=upper, dtype=x.dtype, rng=rng))
