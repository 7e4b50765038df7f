"""Laws about what is captured: a replay gives the bits of eager execution, each time and on other numbers."""

from __future__ import annotations

import numpy as np

import tinygrad_bn as tg
from tests.laws.derivatives import assert_slope, direction
from tests.laws.lawbook import draws_nothing, law
from tests.laws.subjects import elementwise, generator, is_random, sample, settings, smooth
from tinygrad_bn.capturing import chosen
from tinygrad_bn.tensors import Tensor

LAYOUTS = {
    "as they come": lambda x: x,
    "transposed": lambda x: x.T.copy().T,
    "flipped": lambda x: x[::-1].copy()[::-1] if x.ndim else x,
}


def step(function, case):
    """The function, and its pullback of a cotangent that comes last."""
    chosen = settings(function, case)

    def run(*given):
        *tensors, g = given
        result = function(*tensors, **chosen)
        wanted = [tensor for tensor in tensors if tensor.requires_grad]
        if not isinstance(result, Tensor) or not result.requires_grad:
            return result, ()
        found = tg.gradients(result, wanted, grad_outputs=g, allow_unused=True)
        return result, tuple(gradient for gradient in found if gradient is not None)

    return run


def tensors_of(arrays):
    return [Tensor(array, requires_grad=array.dtype.kind == "f") for array in arrays]


NATIVE = chosen(None) == "native"


def assert_agree(captured, eager):
    """The same bits; of the native executor: no more than 4 units in the last place of the largest element apart."""
    for ours, theirs in zip(*[map(np.asarray, (result, *found)) for result, found in (captured, eager)], strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        if NATIVE and ours.dtype.kind == "f":
            apart = 4 * np.finfo(ours.dtype).eps * np.abs(theirs).max(initial=0, where=np.isfinite(theirs))
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=apart)
        else:
            assert ours.tobytes() == theirs.tobytes()


def other(arrays):
    """The same numbers in another order."""
    return [array[::-1].copy() if array.ndim else array.copy() for array in arrays]


def uneven(result):
    """A cotangent for `result` that no pullback cancels: of ones, that of a softmax leaves rounding alone."""
    return np.cos(np.arange(result.size)).reshape(result.shape).astype(result.dtype)


@law()
def replay_gives_the_bits_of_eager(function, case):
    """What is captured gives the bits of eager execution, results and gradients, in every run and on other numbers.

    So it does in float32, on transposed and flipped arrays, and on arrays of no dimensions. With the native executor as
    the default the same holds within its tolerance, or it says that it runs the replay.
    """
    shapes = [None, ((),) * (function.arity or 0)] if elementwise(function, case) and not NATIVE else [None]
    for dtype in (np.float64, np.float32):
        for some in shapes:
            arrays = sample(function, case, dtype, some)
            for change in [*LAYOUTS.values()][: 1 if NATIVE else None]:  # each one is compiled
                run = step(function, case)
                captured = tg.capture(run)
                for numbers in (arrays, other(arrays), arrays):
                    given = tensors_of(map(change, numbers))
                    g = Tensor(change(uneven(function(*given, **settings(function, case)).value)))
                    eager = run(*given, g)
                    assert_agree(captured(*given, g), eager)
                assert len(captured.programs) == 1


@law(lambda function, case: is_random(function))
def replay_draws_anew(function, case):
    """What is captured draws what eager execution would draw, in every run."""

    def drawn(wrap):
        chosen = settings(function, case)
        run = wrap(lambda: function(**chosen))
        return [np.asarray(run()).tobytes() for _ in range(3)]

    eager = drawn(lambda run: run)
    assert len(set(eager)) == 3
    assert drawn(tg.capture) == eager


def _smooth(function, case):
    return draws_nothing(function, case) and bool(smooth(sample(function, case)))


@law(_smooth)
def captured_gradients_are_right(function, case):
    """The gradient that a replay gives is the derivative of the eager function, by differences."""
    arrays, rng = sample(function, case), generator(function, case)
    run = step(function, case)
    w = direction(rng, np.asarray(function(*arrays, **settings(function, case))))
    captured = tg.capture(run)
    captured(*tensors_of(other(arrays)), Tensor(np.asarray(w)))
    _, found = captured(*tensors_of(arrays), Tensor(np.asarray(w)))
    for i, g in zip(smooth(arrays), found, strict=False):  # functions without a gradient give none
        d = direction(rng, arrays[i])

        def along(t, i=i, d=d):
            moved = [*arrays[:i], arrays[i] + t * d, *arrays[i + 1 :]]
            return float(np.sum(w * function(*moved, **settings(function, case))))

        terms = w * np.asarray(function(*arrays, **settings(function, case)))
        assert_slope(along, float(np.sum(g.numpy() * d)), terms, f"argument {i}")
