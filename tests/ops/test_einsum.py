"""einsum reads its subscripts as NumPy does, and its gradient is the contraction with g in the operand's place."""

import numpy as np
import pytest

import tinygrad_bn as tg

RNG = np.random.default_rng(0)
SIZES = {"b": 2, "i": 3, "j": 4, "k": 2, "l": 3, "B": 2, "A": 3}


def operands(subscripts, hidden=(2, 3)):
    """Arrays that fit; an ellipsis stands for the last axes of `hidden`."""
    for term in subscripts.replace(" ", "").split("->")[0].split(","):
        shape = []
        for part in term.replace("...", "."):
            shape += [SIZES[part]] if part != "." else hidden
        yield RNG.uniform(-1, 1, shape)


GOOD = """
ij,jk->ik | ij,jk | ij,jk->ki | ij-> | ij->j | ij->ji | ij | ji | i,i-> | i,i | i,j->ij | i,j | ij,kl-> | ij,ij->ij
ii | ii-> | ii->i | iij->ij | iij->j | iji->j | iii->i | iij,jk->ik | ii,ii-> | ii,jj->ij | ii,ij->j
... | ...-> ... | ...i->... | i...->...i | ...i,...i | ...ij,...jk->...ik | ...ij,jk->...ik | i...,i...->... | ij...
bij,bjk->bik | bij,kj->bik | ij , jk -> ik | ijk,ilk,jl-> | i,i,i->i | ij,jk,kl->il | Aij,jB->ABi | bA,Ai
ii...->i... | ...ii->...i | ,ij | ij, | -> | i->i
"""


def subscripts(text):
    return [entry.strip() for line in text.strip().splitlines() for entry in line.split(" | ")]


@pytest.mark.parametrize("entry", subscripts(GOOD))
def test_the_value_is_numpys_and_the_gradient_is_right_to_the_second_order(entry):
    arrays = list(operands(entry))
    expected = np.einsum(entry, *arrays)
    np.testing.assert_allclose(tg.einsum(entry, *arrays), expected, rtol=1e-13, atol=1e-14)
    w = RNG.uniform(-1, 1, expected.shape)

    def weighted(*xs):
        return (tg.einsum(entry, *xs) * w).sum()

    gradient = tg.grad(weighted, argnums=tuple(range(len(arrays))))
    tangents = [RNG.uniform(-1, 1, array.shape) for array in arrays]
    for i, (g, d) in enumerate(zip(gradient(*arrays), tangents, strict=True)):
        along = np.einsum(entry, *arrays[:i], d, *arrays[i + 1 :])  # it is linear in each operand
        np.testing.assert_allclose(np.sum(g * d), np.sum(w * along), rtol=1e-12, atol=1e-13)
    after = gradient(*(array + d for array, d in zip(arrays, tangents, strict=True)))
    before = gradient(*(array - d for array, d in zip(arrays, tangents, strict=True)))
    for ours, plus, minus in zip(tg.hvp(weighted, arrays, tangents), after, before, strict=True):
        half = (plus - minus) / 2  # exact: the gradient of at most three operands is quadratic
        np.testing.assert_allclose(ours, half, rtol=1e-12, atol=1e-13)


BAD = "ij,jk->ik | ij->ijk | ij->ii | i | ijk | ij,jk,kl | i1 | i.j | ->i | ...i->i | ij->k"


@pytest.mark.parametrize("entry", subscripts(BAD))
def test_what_numpy_refuses_is_refused_with_the_name_the_subscripts_and_the_shapes(entry):
    arrays = [np.ones((2, 3)), np.ones((2, 3))][: max(1, min(2, entry.count(",") + 1))]
    with pytest.raises(ValueError, match=r"."):
        np.einsum(entry, *arrays)
    for given in (arrays, [tg.tensor(array) for array in arrays]):
        with pytest.raises(ValueError, match=r"einsum expects") as caught:
            tg.einsum(entry, *given)
        assert repr(entry) in str(caught.value)
        assert "(2, 3)" in str(caught.value)


def test_subscripts_come_first_and_as_a_string():
    with pytest.raises(TypeError, match="einsum expects subscripts such as 'ij,jk->ik' first; got a ndarray"):
        tg.einsum(np.ones((2, 2)), [0, 1])


SHORT = """
ij,jk->ik (2,1) (3,4) | ij,ij->ij (2,1) (1,3) | ij,ij->j (2,3) (1,3) | ij,ij-> (2,3) (1,3) | ij,j,j-> (2,1) (3,) (1,)
ij,ij->i (2,3) (2,1) | ii,ij->j (3,3) (1,2) | ij,ij->i (2,0) (2,1)
"""


@pytest.mark.parametrize("entry", subscripts(SHORT))
def test_axes_of_length_1_are_repeated_as_numpy_repeats_them_and_their_gradients_summed(entry):
    text, *shapes = entry.split()
    arrays = [RNG.uniform(-1, 1, eval(shape)) for shape in shapes]
    terms = text.split("->")[0].split(",")
    given = [axis for term, array in zip(terms, arrays, strict=True) for axis in zip(term, array.shape, strict=True)]
    lengths = {**dict(given), **{name: length for name, length in given if length != 1}}
    expected = np.einsum(text, *arrays)
    np.testing.assert_allclose(tg.einsum(text, *arrays), expected, rtol=1e-14, atol=1e-15)
    w = RNG.uniform(-1, 1, expected.shape)

    def in_full(*xs):
        pairs = zip(terms, xs, strict=True)
        return [tg.broadcast_to(x, tuple(lengths[name] for name in term)) for term, x in pairs]

    everything = tuple(range(len(arrays)))
    ours = tg.grad(lambda *xs: (tg.einsum(text, *xs) * w).sum(), argnums=everything)(*arrays)
    repeated = tg.grad(lambda *xs: (tg.einsum(text, *in_full(*xs)) * w).sum(), argnums=everything)(*arrays)
    for one, other in zip(ours, repeated, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.bool])
def test_integers_beside_floats_are_multiplied_as_floats(dtype):
    x, w, y = np.full((2, 3), 100).astype(dtype), np.array([1.5, 2.0]), np.full(3, 100).astype(dtype)
    exact = np.einsum("ij,k,j->ki", x.astype(float), w, y.astype(float))
    np.testing.assert_array_equal(tg.einsum("ij,k,j->ki", x, w, y), exact)


def test_float32_stays_float32():
    x = np.ones((2, 3), np.float32)
    assert tg.einsum("ij,kj->ik", x, x).dtype == np.float32
    assert tg.grad(lambda x: tg.einsum("ij,ij->", x, x))(x).dtype == np.float32
