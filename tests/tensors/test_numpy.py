"""NumPy meets us halfway: its functions on Tensors, with a gradient, without one, or not at all."""

import contextlib

import numpy as np
import pytest

import tinygrad_bn as tg

x64 = np.random.default_rng(0).uniform(0.1, 0.9, (2, 3))

WITH_GRADIENT = {
    "exp": lambda x: np.exp(x),
    "sum": lambda x: np.sum(x, axis=0),
    "mean": lambda x: np.mean(x, axis=1, keepdims=True),
    "var": lambda x: np.var(x, axis=0, ddof=1),
    "std": lambda x: np.std(x),
    "max": lambda x: np.max(x, axis=0),
    "amin": lambda x: np.amin(x, axis=0),
    "abs": lambda x: np.abs(x),
    "add": lambda x: np.add(np.ones(3), x),
    "power": lambda x: np.power(x, 2.5),
    "maximum": lambda x: np.maximum(0.5, x),
    "where": lambda x: np.where(x64 > 0.5, x, 0.0),
    "clip": lambda x: np.clip(x, 0.2, 0.7),
    "matmul": lambda x: np.matmul(x, x64.T),
    "dot": lambda x: np.dot(x64, x.T),
    "einsum": lambda x: np.einsum("ij,kj->ik", x, x64),
    "transpose": lambda x: np.transpose(x, (1, 0)),
    "reshape": lambda x: np.reshape(x, (3, 2)),
    "ravel": lambda x: np.ravel(x),
    "squeeze": lambda x: np.squeeze(x[:, :1]),
    "expand_dims": lambda x: np.expand_dims(x, 1),
    "broadcast_to": lambda x: np.broadcast_to(x, (2, 2, 3)),
    "concatenate": lambda x: np.concatenate([x, x64], axis=1),
    "stack": lambda x: np.stack([x64, x], axis=1),
    "concatenate of one": lambda x: np.concatenate(x),
    "concatenate of one, flat": lambda x: np.concatenate(x, None),
    "stack of one": lambda x: np.stack(x),
    "stack of one along an axis": lambda x: np.stack(arrays=x, axis=1),
    "split": lambda x: np.split(x, 3, axis=1)[1],
    "take": lambda x: np.take(x, [0, 0, 2], axis=1),
    "pad": lambda x: np.pad(x, 1),
    "flip": lambda x: np.flip(x, 0),
    "cumsum": lambda x: np.cumsum(x, axis=0),
    "prod": lambda x: np.prod(x, axis=1),
    "norm": lambda x: np.linalg.norm(x, axis=1),
    "copy": lambda x: np.copy(x),
    "divmod": lambda x: np.divmod(x, 0.3)[1],
    "broadcast_arrays": lambda x: np.broadcast_arrays(x[0], x64)[0],
    "array * t": lambda x: x64 * x,
    "array @ t": lambda x: x64.T @ x,
    "array - t": lambda x: x64 - x,
}


@pytest.mark.parametrize("function", WITH_GRADIENT.values(), ids=WITH_GRADIENT)
def test_functions_we_know_give_tensors_with_gradients(function):
    x = tg.tensor(x64, requires_grad=True)
    y = function(x)
    assert isinstance(y, tg.Tensor) and y.requires_grad
    np.testing.assert_allclose(y, function(x64), rtol=1e-14)


@pytest.mark.parametrize(("function", "name"), [(np.linalg.inv, "np.linalg.inv"), (np.fft.fft, "np.fft.fft")])
def test_a_function_of_numpy_is_called_by_its_whole_name(function, name):
    with pytest.raises(TypeError, match=f"^{name} has no derivative here"):
        function(tg.tensor(np.eye(3), requires_grad=True))


@pytest.mark.parametrize("function", [np.isnan, np.argmax, np.sign, np.floor, np.rint, np.isfinite, np.equal])
def test_functions_without_a_derivative_give_tensors_without_gradients(function):
    args = (tg.tensor(x64, requires_grad=True),) * (2 if function is np.equal else 1)
    y = function(*args)
    assert isinstance(y, tg.Tensor) and not y.requires_grad
    np.testing.assert_array_equal(y, function(*(x64,) * len(args)))


@pytest.mark.parametrize(
    "question",
    [
        lambda x: np.argsort(x, axis=0),
        lambda x: np.nonzero(x > 0.5),
        lambda x: np.searchsorted([0.3, 0.6], x),
        lambda x: np.isclose(x, x64),
        lambda x: np.allclose(x, x64),
        lambda x: np.array_equal(x, x64),
        lambda x: np.iscomplexobj(x),
        lambda x: np.signbit(x),
        lambda x: np.shape(x),
        lambda x: np.size(x, 0),
        lambda x: np.zeros_like(x),
        lambda x: np.ones_like(x, dtype=int),
        lambda x: np.result_type(x, np.float16),
        lambda x: np.array_repr(x),
        lambda x: np.logical_and.reduce(x > 0),
    ],
)
def test_questions_that_have_no_derivative_are_answered_on_the_values(question):
    np.testing.assert_equal(question(tg.tensor(x64, requires_grad=True)), question(x64))


UNKNOWN = {
    "arcsin": lambda x: np.arcsin(x),
    "add.reduce": lambda x: np.add.reduce(x),
    "modf": lambda x: np.modf(x),
    "sort": lambda x: np.sort(x),
    "histogram": lambda x: np.histogram(x),
    "vstack": lambda x: np.vstack([x, x]),
    "median": lambda x: np.median(x),
    "linspace": lambda x: np.linspace(x[0], x[1], 3),
    "interp": lambda x: np.interp(0.5, x64[0], x[1]),
}


@pytest.mark.parametrize(("name", "function"), UNKNOWN.items(), ids=UNKNOWN)
def test_functions_we_do_not_know_refuse_to_lose_a_gradient(name, function):
    x = tg.tensor(x64, requires_grad=True)
    with pytest.raises(TypeError, match=rf"np\.{name} .*\.detach\(\)"):
        function(x)
    np.testing.assert_equal(function(x.detach()), function(x64))


def test_unknown_arguments_are_named():
    with pytest.raises(TypeError, match="unknown argument 'dtype' in sum"):
        np.sum(tg.tensor(x64), dtype=float)
    with pytest.raises(TypeError, match="unknown argument 'where' in add"):
        np.add(tg.tensor(x64), 1, where=x64 > 0.5)


def test_as_an_array_it_is_a_read_only_view():
    x = tg.tensor(x64, requires_grad=True) * 2
    for view in (x.numpy(), np.asarray(x), np.asarray(x, copy=False)):
        assert np.shares_memory(view, x.value) and not view.flags.writeable
    for copy in (np.array(x), np.asarray(x, np.float32)):
        assert not np.shares_memory(copy, x.value) and copy.flags.writeable
    assert np.asarray(x, np.float32).dtype == np.float32
    with pytest.raises(ValueError, match="copy"):
        np.asarray(x, np.float32, copy=False)


def test_arrays_can_be_filled_from_it():
    a, x = np.zeros((2, 3)), tg.tensor(x64, requires_grad=True)
    a[:] = x
    np.testing.assert_array_equal(a, x)
    np.copyto(a, 2 * x)
    np.testing.assert_array_equal(a, 2 * x64)
    np.testing.assert_array_equal(np.array([x[0], x[1]]), x64)


@pytest.mark.parametrize("write", [lambda x: np.copyto(x, 0.0), lambda x: np.fill_diagonal(x, 0.0)])
@pytest.mark.parametrize("made", [tg.tensor, tg.Parameter])
def test_numpys_functions_cannot_write_to_it(write, made):
    x = made(x64)
    with contextlib.suppress(ValueError):  # a copy may be written to
        write(x)
    np.testing.assert_array_equal(x, x64)


def test_what_numpys_functions_give_does_not_change_with_the_next_update():
    w = tg.Parameter(x64, trainable=False)
    given = np.atleast_3d(w)
    w.assign(0.0)
    np.testing.assert_array_equal(given, x64[..., None])


def test_numpys_assertions_work_on_it():
    x = tg.tensor(x64, requires_grad=True)
    np.testing.assert_allclose(x * 2, x + x)
    np.testing.assert_array_equal(x, x64)
    np.testing.assert_array_almost_equal(x64, x)
    np.testing.assert_array_less(x, x + 1)
    with pytest.raises(AssertionError, match="Mismatched"):
        np.testing.assert_allclose(x, x * 1.1)


def test_matplotlib_draws_it():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    x = tg.tensor(np.linspace(0, 1, 6), requires_grad=True)
    y = x * x
    figure, axes = pyplot.subplots()
    axes.plot(x, y)
    axes.plot(tg.Parameter(x64))
    axes.scatter(x, y, c=y)
    axes.bar(x, y)
    axes.hist(y, bins=3)
    axes.errorbar(x, y, yerr=y)
    axes.fill_between(x, y, y + 1)
    axes.imshow(y.reshape(2, 3))
    axes.set_xlim(x[0], x[-1])
    axes.axhline(y.mean())
    figure.canvas.draw()
    pyplot.close(figure)
