"""A wrong call says which function it was, what it expects and what came; never in NumPy's words."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.errors import AxisError, DtypeError, SettingError, ShapeError

M = np.ones((3, 4))
V = np.ones(3)
TEXT = np.array(["a", "b"])

BROKEN = [
    # shapes
    ("add(M, V)", ShapeError, "add expects shapes that broadcast", "(3, 4)", "(3,)"),
    ("power(M, V)", ShapeError, "power expects shapes that broadcast", "(3, 4)", "(3,)"),
    ("where(M > 0, M, V)", ShapeError, "where expects shapes that broadcast", "bool of shape (3, 4)"),
    ("prelu(M, V)", ShapeError, "prelu expects", "(3, 4)", "(3,)"),
    ("sigmoid_crossentropy(M, V)", ShapeError, "sigmoid_crossentropy expects", "(3,)"),
    ("matmul(M, M)", ShapeError, "matmul expects x of shape (..., n, k) and y of shape (..., k, m)", "(3, 4)"),
    ("matmul(M, V)", ShapeError, "matmul expects", "(3,)"),
    ("matmul(M, 2.0)", ShapeError, "matmul expects", "float64 of shape ()"),
    ("affine(M, M, V)", ShapeError, "affine expects x of shape (..., n), kernel of shape (n, m)", "(3, 4)"),
    ("affine(M[:1], np.ones((4, 2)), np.ones((3, 2)))", ShapeError, "affine expects", "bias of shape (m,)", "(3, 2)"),
    ("scale_and_shift(V, M, V)", ShapeError, "scale_and_shift expects gamma and beta that can be repeated", "(3, 4)"),
    ("scale_and_shift(M[:1], np.ones((3, 1)), 0.0)", ShapeError, "scale_and_shift expects gamma", "(1, 4)", "(3, 1)"),
    ("power(np.array([2]), -1)", ShapeError, "power expects", "no negative powers", "int64 of shape (1,)"),
    ("reshape(M, (5, 2))", ShapeError, "reshape expects", "as many elements", "shape=(5, 2)"),
    ("reshape(M, (-1, -1))", ShapeError, "reshape expects", "(-1, -1)"),
    ("broadcast_to(V, (3, 4))", ShapeError, "broadcast_to expects", "(3,)", "shape=(3, 4)"),
    ("concatenate([M, V])", ShapeError, "concatenate expects", "same shape but for `axis`", "(3,)"),
    ("concatenate([])", ShapeError, "concatenate expects at least one array", "no arrays"),
    ("stack([M, V])", ShapeError, "stack expects", "one shape", "(3,)"),
    ("stack([])", ShapeError, "stack expects at least one array", "no arrays"),
    ("split(M, 2)", ShapeError, "split expects a number of parts that divides 3; got 2"),
    ("split(M, 0)", ShapeError, "split expects a number of parts that divides 3; got 0"),
    ("pad(M, ((1, 1, 1), (2, 2, 2)))", ShapeError, "pad expects", "a pair", "pad_width=((1, 1, 1)"),
    ("pad(M, -1)", ShapeError, "pad expects", "pad_width=-1"),
    ("squeeze(M, 0)", ShapeError, "squeeze expects an axis of length 1", "(3, 4)", "axis=0"),
    ("transpose(M, (0,))", ShapeError, "transpose expects", "permutation", "axes=(0,)"),
    ("transpose(M, (0, 0))", ShapeError, "transpose expects", "permutation", "axes=(0, 0)"),
    ("sparse_softmax_crossentropy(np.zeros(3, int), V)", ShapeError, "labels of shape (...)", "int64 of shape (3,)"),
    ("sparse_softmax_crossentropy(np.zeros((3, 1), int), M)", ShapeError, "labels of shape (...)", "(3, 1)"),
    ("sparse_softmax_crossentropy(0, 3.0)", ShapeError, "labels of shape (...)", "float64 of shape ()"),
    ("sparse_softmax_crossentropy(np.array(['a']), np.ones((1, 2)))", DtypeError, "numeric arrays", "<U1"),
    ("log_softmax(np.array([1j, 2]))", DtypeError, "numeric arrays", "complex128"),
    ("softmax_crossentropy(V, np.ones((3, 3)))", ShapeError, "targets and logits of one shape", "(3,)", "(3, 3)"),
    ("exp([[1.0, 2.0], [3.0]])", ShapeError, "exp expects nested lists of equal lengths"),
    # nothing to reduce
    ("mean(np.ones((0, 3)))", ShapeError, "mean expects", "not empty", "(0, 3)"),
    ("max(np.ones((0, 3)), 0)", ShapeError, "max expects", "not empty", "(0, 3)"),
    ("argmax(np.ones(0))", ShapeError, "argmax expects", "not empty"),
    ("logsumexp(np.ones((2, 0)), 1)", ShapeError, "logsumexp expects", "not empty"),
    ("softmax(np.ones((2, 0)))", ShapeError, "softmax expects", "not empty", "(2, 0)"),
    (
        "standardize(np.ones((0, 3)), axis=0, epsilon=1e-3)",
        ShapeError,
        "standardize expects",
        "at least one value along each axis",
    ),
    ("var(V[:1], ddof=1)", ShapeError, "var expects", "more than ddof values", "ddof=1"),
    ("std(V[:1], ddof=1)", ShapeError, "std expects", "more than ddof values", "ddof=1"),
    # axes
    ("sum(M, 2)", AxisError, "sum expects axes that the array has", "(3, 4)", "axis=2"),
    ("sum(M, (0, 0))", AxisError, "sum expects axes", "each once", "axis=(0, 0)"),
    ("mean(M, -3)", AxisError, "mean expects axes", "axis=-3"),
    ("mean(np.array(1.0), 0)", AxisError, "mean expects axes", "shape ()", "axis=0"),
    ("prod(M, 2)", AxisError, "prod expects axes", "axis=2"),
    ("prod(M, (1, -1))", AxisError, "prod expects axes", "each once", "axis=(1, -1)"),
    ("var(M, 2)", AxisError, "var expects axes", "axis=2"),
    ("std(M, 2)", AxisError, "std expects axes", "axis=2"),
    ("norm(M, axis=2)", AxisError, "norm expects axes", "axis=2"),
    ("logsumexp(M, 2)", AxisError, "logsumexp expects axes", "axis=2"),
    ("cumsum(M, 2)", AxisError, "cumsum expects axes", "axis=2"),
    ("argmax(M, 2)", AxisError, "argmax expects axes", "axis=2"),
    ("softmax(M, 2)", AxisError, "softmax expects axes", "axis=2"),
    ("log_softmax(M, 2)", AxisError, "log_softmax expects axes", "axis=2"),
    ("standardize(M, axis=2, epsilon=1e-3)", AxisError, "standardize expects axes", "axis=2"),
    ("flip(M, 2)", AxisError, "flip expects axes", "axis=2"),
    ("squeeze(M, 2)", AxisError, "squeeze expects axes", "axis=2"),
    ("expand_dims(M, 5)", AxisError, "expand_dims expects axes", "axis=5"),
    ("concatenate([M, M], 2)", AxisError, "concatenate expects axes", "axis=2"),
    ("stack([M, M], 5)", AxisError, "stack expects axes", "axis=5"),
    ("split(M, 2, 2)", AxisError, "split expects an axis", "(3, 4)", "axis=2"),
    ("take(M, [0], 2)", AxisError, "take expects axes", "axis=2"),
    ("transpose(M, (0, 2))", AxisError, "transpose expects axes", "axes=(0, 2)"),
    # indices
    ("take(M, [3], 0)", IndexError, "take expects", "indices inside it", "axis=0"),
    ("take(M, 12)", IndexError, "take expects", "indices inside it"),
    # dtypes
    ("astype(M, 'foo')", DtypeError, "astype expects", "dtype='foo'"),
    ("exp(TEXT)", DtypeError, "exp expects numeric arrays", "<U1 of shape (2,)"),
    ("add(M, None)", DtypeError, "add expects", "numbers; got None of type NoneType"),
    ("elu('rellu')", DtypeError, "elu expects numbers; got 'rellu' of type str"),
    ("prod(None)", DtypeError, "prod expects numbers; got None of type NoneType"),
    ("squeeze('a')", DtypeError, "squeeze expects numbers; got 'a' of type str"),
    ("stack([M, 'a'])", DtypeError, "stack expects numbers; got 'a' of type str"),
    ("softmax_crossentropy(M, None)", DtypeError, "softmax_crossentropy expects numbers; got None of type NoneType"),
    ("split('a', 1)", DtypeError, "split expects numbers; got 'a' of type str"),
    ("split(M, 'a')", DtypeError, "split expects numbers; got 'a' of type str"),
    ("split(M, 1.5)", DtypeError, "split expects a number of parts, or the indices to cut before; got 1.5"),
    ("split(M, [1.5])", DtypeError, "split expects a number of parts, or the indices to cut before; got [1.5]"),
    ("dropout([[1], [1, 2]], 0.5)", ShapeError, "dropout expects nested lists of equal lengths; got"),
    ("alpha_dropout('a', 0.5)", DtypeError, "alpha_dropout expects numbers; got 'a' of type str"),
    ("rrelu([[1], [1, 2]])", ShapeError, "rrelu expects nested lists of equal lengths; got"),
    # numbers that do not fit
    (
        "multiply(M.astype('uint8'), -1)",
        DtypeError,
        "multiply expects numbers that the dtype of its arrays can hold; got",
    ),
    (
        "maximum(M.astype('uint8'), -1)",
        DtypeError,
        "maximum expects numbers that the dtype of its arrays can hold; got",
    ),
    ("add(M.astype('uint8'), 300)", DtypeError, "add expects numbers that", "uint8 of shape (3, 4) and 300"),
    ("clip(M.astype('uint8'), 300)", DtypeError, "clip expects numbers that", "a_min=300"),
    ("multiply(np.array(['a']), 2)", DtypeError, "multiply expects num", "and 2"),
    ("add(M, 2**2000)", DtypeError, "add expects numbers that", "can hold"),
    ("prelu(2**2000, M)", DtypeError, "prelu expects numbers that", "and float64 of shape (3, 4)"),
    ("sum(M, 10**20)", AxisError, "sum expects axes that the array has"),
    ("sum(M, 1.5)", DtypeError, "sum expects", "settings", "axis=1.5"),
    ("reshape(M, 'flat')", DtypeError, "reshape expects", "settings", "shape='flat'"),
    # settings
    ("gelu(M, 'none')", SettingError, "gelu expects approximate=True or approximate=False; got 'none'"),
    ("standardize(M, axis=0, epsilon=-10)", SettingError, "standardize expects epsilon >= 0; got -10"),
    ("elu(M, alpha=-1.0)", SettingError, "elu expects alpha >= 0; got -1.0"),
    ("celu(M, alpha=0.0)", SettingError, "celu expects alpha > 0; got 0.0"),
    ("rrelu(M, 0.5, 0.25)", SettingError, "rrelu expects 0 <= lower <= upper", "0.5", "0.25"),
    ("dropout(M, 1.0)", SettingError, "dropout expects a rate in [0, 1); got 1.0"),
    ("dropout(M, -0.1)", SettingError, "dropout expects a rate", "-0.1"),
    ("alpha_dropout(M, 1.5)", SettingError, "alpha_dropout expects a rate", "1.5"),
    ("alpha_dropout(M, float('nan'))", SettingError, "alpha_dropout expects a rate", "nan"),
    ("pad(M, 1, 'konstant')", SettingError, "unknown mode 'konstant' in pad()", "Did you mean 'constant'?"),
    ("dropout(M, 'a')", SettingError, "dropout expects a rate in [0, 1); got 'a'"),
    ("dropout(M, np.ones(2) / 2)", SettingError, "dropout expects a rate in [0, 1); got array"),
    ("alpha_dropout(M, None)", SettingError, "alpha_dropout expects a rate in [0, 1); got None"),
    ("rrelu(M, 'a')", SettingError, "rrelu expects 0 <= lower <= upper; got lower='a'"),
    ("rrelu(M, 0.1, np.ones(2))", SettingError, "rrelu expects 0 <= lower <= upper", "upper=array"),
    ("set_random_seed(-1)", SettingError, "set_random_seed expects an integer, at least 0; got -1"),
    ("set_random_seed('a')", SettingError, "set_random_seed expects an integer, at least 0; got 'a'"),
    ("dropout(M, 0.5, seed=-1)", SettingError, "seed expects an integer, at least 0; got -1"),
    ("norm(V, 3)", SettingError, "norm expects", "3"),
    ("clip(M, [None, 0.5, 1.0])", DtypeError, "clip expects numeric arrays", "None"),
    ("clip(M, ['0.5', '1', '2'])", DtypeError, "clip expects numeric arrays", "'0.5'"),
    ("pad(M, 1, constant_values=None)", DtypeError, "pad expects", "constant_values=None"),
    ("where(M > 0, M, 'a')", DtypeError, "where expects", "'a'"),
    ("where(M > 0, M, None)", DtypeError, "where expects", "None"),
    ("concatenate([V, ['a']])", DtypeError, "concatenate expects", "'a'"),
    ("leaky_relu(M, [0.1, 0.2, 0.3])", SettingError, "leaky_relu expects alpha to be one number", "prelu"),
    ("dropout(M, 0.5, rng=0)", TypeError, "rng expects a numpy.random.Generator", "got 0"),
    # names and numbers of arguments
    ("relu()", TypeError, "relu expects 1 array; got 0 by position"),
    ("add(M)", TypeError, "add expects 2 arrays; got 1"),
    ("relu(M, 0.1)", TypeError, "relu expects 1 array; got 2 positional"),
    ("sum(M, 0, True, None)", TypeError, "sum expects 1 array and the settings axis, keepdims; got 4"),
    ("leaky_relu(M, negative_slope=0.1)", TypeError, "unknown argument 'negative_slope'", "Choices: alpha"),
    ("sum(M, axes=0)", TypeError, "unknown argument 'axes' in sum()", "Did you mean 'axis'?"),
    ("var(M, keepdim=True)", TypeError, "unknown argument 'keepdim' in var()", "Did you mean 'keepdims'?"),
    ("standardize(M, axis=0)", TypeError, "standardize expects", "epsilon is missing"),
    ("clip(M, tg.tensor(0.0), 1.0)", TypeError, "clip expects a_min to be a fixed setting"),
]

NUMPYS_WORDS = (
    "could not be broadcast",
    "not aligned",
    "operands",
    "out of bounds",
    "ufunc",
    "zero-size",
    "cannot reshape",
    "cannot select",
    "must match exactly",
    "not supported for the input types",
    "takes ",
    "inhomogeneous",
)


def call(expression, wrap=lambda array: array):
    names = {"M": wrap(M), "V": wrap(V), "TEXT": TEXT, "np": np, "tg": tg}
    return eval(f"tg.{expression}", names)


@pytest.mark.parametrize(
    ("expression", "kind", "words"), [(e, k, w) for e, k, *w in BROKEN], ids=[b[0] for b in BROKEN]
)
def test_a_wrong_call_is_answered_in_our_words(expression, kind, words):
    for wrap in (np.array, tg.tensor):
        with pytest.raises(kind) as caught:
            call(expression, wrap)
        said = str(caught.value)
        assert all(word in said for word in words), said
        assert not any(word in said for word in NUMPYS_WORDS if word not in words[0]), said


def test_indexing_out_of_range_is_an_index_error():
    for t, index in ((tg.tensor(M), np.s_[3]), (tg.tensor(M), np.s_[:, 4]), (tg.tensor(V), np.s_[0, 0])):
        with pytest.raises(IndexError, match=r"getitem expects an index inside x; got float64 of shape"):
            t[index]


def test_an_index_is_made_of_integers():
    for index in (1.5, "a", np.array([0.5])):
        with pytest.raises(IndexError, match="an index expects integers"):
            tg.tensor(V)[index]


def test_the_classes_are_the_built_in_ones_too():
    with pytest.raises(ValueError, match="sum expects axes"):
        tg.sum(M, 2)
    with pytest.raises(IndexError, match="sum expects axes"):
        tg.sum(M, 2)
    with pytest.raises(TypeError, match="exp expects numeric"):
        tg.exp(TEXT)


def test_a_failed_call_leaves_its_arguments_as_they_were():
    x, y = np.ones((3, 4)), np.full(3, 2.0)
    with pytest.raises(ShapeError):
        tg.add(x, y)
    assert (x == 1).all()
    assert (y == 2).all()


@pytest.mark.parametrize("use", [tg.relu, tg.tensor, lambda x: tg.tensor(M) * x, tg.layers.Dense(2)])
def test_a_mask_is_not_lost_without_a_word(use):
    with pytest.raises(DtypeError, match=r"expects .* without a mask.*: give x\.filled\(\.\.\.\) instead"):
        use(np.ma.masked_array(M, M > 0))
