"""An exported C file is complete, strict C99, checks itself, and computes what the model predicts."""

import ctypes
import re
import shutil
import subprocess

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.errors import CaptureError, NotBuiltError
from tinygrad_bn.layers import Activation, BatchNormalization, Dense, Dropout, Flatten, LayerNormalization

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
STRICT = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O2")

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")


def built(*options):
    """What the compiler makes of net.c, which it does without a word."""

    def make(folder, name):
        done = subprocess.run(
            [COMPILER, *STRICT, *options, "net.c", "-o", name, "-lm"], cwd=folder, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
        return folder / name

    return make


as_test, as_library = built("-DNET_TEST"), built("-shared", "-fPIC")


def outcome(folder):
    """The exit status of the file's own test, and what it prints."""
    done = subprocess.run([as_test(folder, "net")], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def predicted(folder, x, batch_size, width):
    """What the C function makes of x, batch by batch."""
    predict = ctypes.CDLL(str(as_library(folder, "net.so"))).net_predict
    predict.restype = None
    results = []
    for start in range(0, len(x), batch_size):
        batch, y = np.ascontiguousarray(x[start : start + batch_size]), np.zeros((batch_size, width), x.dtype)
        predict(ctypes.c_void_p(batch.ctypes.data), ctypes.c_void_p(y.ctypes.data))
        results.append(y)
    return np.concatenate(results)


def images(dtype="float32"):
    layers = [
        Flatten(input_shape=(4, 5), dtype=dtype),
        Dense(16, use_bias=False, dtype=dtype),
        BatchNormalization(dtype=dtype),
        Activation("elu", dtype=dtype),
        Dropout(0.3, dtype=dtype),
        Dense(8, activation="selu", dtype=dtype),
        Dense(3, activation="softmax", dtype=dtype),
    ]
    tg.set_random_seed(0)
    model = tg.Sequential(layers)
    model.compile("sgd", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 4, 5)).astype(dtype)
    model.fit(x, rng.integers(0, 3, 64), epochs=3, verbose=0)
    return model, x


@needs_compiler
@pytest.mark.parametrize("batch_size", [1, 16])
def test_a_trained_model_predicts_the_same_in_c(tmp_path, batch_size):
    model, x = images()
    paths = model.export_c(tmp_path / "net.c", batch_size=batch_size)
    assert paths == (tmp_path / "net.c", tmp_path / "net.h")
    assert outcome(tmp_path) == (0, "")
    np.testing.assert_allclose(predicted(tmp_path, x, batch_size, 3), model.predict(x), rtol=0, atol=1e-6)


@needs_compiler
@pytest.mark.parametrize("name", ["relu", "gelu", "tanh", "sigmoid", "silu", "mish", "softplus", "log_softmax"])
def test_activations_are_written_with_the_c_library(tmp_path, name):
    model = tg.Sequential(
        [Dense(7, activation=name, input_shape=(5,)), LayerNormalization(), Dense(3, activation=name)]
    )
    model.export_c(tmp_path / "net")
    assert outcome(tmp_path) == (0, "")
    x = np.random.default_rng(1).standard_normal((20, 5)).astype(np.float32)
    np.testing.assert_allclose(predicted(tmp_path, x, 1, 3), model.predict(x), rtol=0, atol=2e-6)


@needs_compiler
def test_a_model_of_double_precision_is_written_in_double(tmp_path):
    model, x = images("float64")
    model.export_c(tmp_path / "net.c")
    assert "void net_predict(const double *x, double *y);" in (tmp_path / "net.h").read_text()
    np.testing.assert_allclose(predicted(tmp_path, x, 1, 3), model.predict(x), rtol=0, atol=1e-13)


@needs_compiler
def test_the_test_in_the_file_finds_a_wrong_weight(tmp_path):
    model, _ = images()
    model.export_c(tmp_path / "net.c")
    text = (tmp_path / "net.c").read_text()
    (first,) = [line for line in text.splitlines() if "layers_6_kernel_values[" in line]
    (tmp_path / "net.c").write_text(text.replace(first, f"{first} 7.5f +"))
    status, said = outcome(tmp_path)
    assert status == 1
    assert "as expected" in said


class Choosing(tg.Model):
    """Indexing, joining and other things that layers do not do."""

    def __init__(self):
        self.dense = Dense(6)

    def forward(self, x):
        y = self.dense(x)
        joined = tg.concatenate([y[:, ::2], tg.pad(y, 1)[1:-1]], axis=1)
        chosen = tg.take(tg.cumsum(joined, axis=1), np.array([1, 0, -1]), axis=1)
        return chosen * tg.astype(tg.argmax(y, axis=1), dtype=np.float32)[:, None]


@needs_compiler
@pytest.mark.filterwarnings("ignore:the array that take meets", "ignore:the array that getitem meets")
def test_a_model_with_a_forward_of_its_own_is_written_from_samples(tmp_path):
    model, x = Choosing(), np.random.default_rng(2).standard_normal((6, 4)).astype(np.float32)
    model(x)
    model.export_c(tmp_path / "net.c", x, batch_size=2)
    assert outcome(tmp_path) == (0, "")
    np.testing.assert_allclose(predicted(tmp_path, x, 2, 3), model.predict(x), rtol=0, atol=1e-5)


def test_batch_normalization_is_one_multiplication_and_one_addition(tmp_path):
    model, _ = images()
    model.export_c(tmp_path / "net.c")
    text = (tmp_path / "net.c").read_text()
    assert "layers_2_multiply[i] * matmul_then_elu[i] + layers_2_add[i]" in text
    assert "sqrt" not in text


def test_only_the_c_library_is_needed_and_the_same_model_gives_the_same_file(tmp_path):
    model, _ = images()
    model.export_c(tmp_path / "net.c")
    text = (tmp_path / "net.c").read_text()
    included = {line for line in text.partition("#ifdef NET_TEST")[0].splitlines() if line.startswith("#include")}
    assert included == {"#include <math.h>", '#include "net.h"'}
    model.export_c(tmp_path / "net.c")
    assert (tmp_path / "net.c").read_text() == text


def test_weights_are_written_as_they_are_now(tmp_path):
    model = tg.Sequential([Dense(1, use_bias=False, input_shape=(2,))])
    for number in (0.25, -3.5):
        model.layers[0].kernel.assign(np.array([[1.0], [number]], np.float32))
        model.export_c(tmp_path / "net.c")
        assert f"1.0f, {number}f" in (tmp_path / "net.c").read_text()


def test_exporting_changes_nothing(tmp_path):
    model, _ = images()
    before, state = model.state_dict(), tg.generator().bit_generator.state
    model.export_c(tmp_path / "net.c")
    assert all(np.array_equal(value, before[name]) for name, value in model.state_dict().items())
    assert tg.generator().bit_generator.state == state


@tg.primitive
def sorted_row(x, /):
    return np.sort(x)


sorted_row.defvjp(None)


class Sorting(tg.Model):
    def __init__(self):
        self.dense = Dense(3, input_shape=(2,))

    def forward(self, x):
        return sorted_row(self.dense(x))


class Dividing(Sorting):
    def forward(self, x):
        return self.dense(x) % 0.5


class Looking(Sorting):
    def forward(self, x):
        return self.dense(x) if float(tg.sum(x)) > 0 else x


def test_what_has_no_c_text_is_named(tmp_path):
    x = np.ones((1, 2), np.float32)
    expected = ((Sorting(), "sort has no"), (Dividing(), "remainder has no C text"), (Looking(), "look at the value"))
    for model, named in expected:
        model(x)
        with pytest.raises(CaptureError, match=named):
            model.export_c(tmp_path / "net.c", x)
    assert list(tmp_path.iterdir()) == []


class Multiplying(tg.Model):
    """Multiplies by matrices, each of which has a name."""

    def __init__(self, *names):
        self.order = names
        for number, name in enumerate(names):
            setattr(self, name, tg.Parameter(np.eye(3, dtype=np.float32) * (1 + number)))

    def forward(self, x):
        for name in self.order:
            kernel = getattr(self, name)
            x = tg.tanh(x @ kernel) * kernel[0]
        return x


WORDS = [
    *("given", "int", "long", "double", "void", "static", "inline", "restrict", "gemm_float", "tanh_float", "int8_t"),
    *(
        "x",
        "y",
        "block",
        "compute",
        "example",
        "main",
        "bool",
        "linux",
        "größe",
        "名前",
        "2nd",
        "a/*b",
        "*/",
        "/*",
        "??/",
    ),
]
SETS = [*((name,) for name in WORDS), WORDS, ("a", "A", "a_", "a_2", "a_values"), ("new\nline",)]


@needs_compiler
@pytest.mark.parametrize("names", SETS, ids=ascii)
def test_parameters_may_be_called_anything(tmp_path, names):
    model, x = Multiplying(*names), np.ones((1, 3), np.float32)
    model.export_c(tmp_path / "net.c", x)
    assert outcome(tmp_path) == (0, "")
    np.testing.assert_allclose(predicted(tmp_path, x, 1, 3), model.predict(x), rtol=0, atol=1e-4)


class Keyed(tg.Model):
    def __init__(self):
        self.branches = {"a/*b": Dense(3), "*/ int": Dense(3)}

    def forward(self, x):
        return sum(tg.tanh(branch(x)) for branch in self.branches.values())


@needs_compiler
def test_modules_may_be_called_anything(tmp_path):
    model, x = Keyed(), np.ones((1, 4), np.float32)
    model(x)
    model.export_c(tmp_path / "net.c", x)
    assert outcome(tmp_path) == (0, "")


@needs_compiler
@pytest.mark.parametrize("name", ["modèle", "a b", "int", "_math", "math", "net-1.2", "a'*b"])
def test_a_file_may_be_called_whatever_an_include_can_say(tmp_path, name):
    tg.Sequential([Dense(2, input_shape=(3,))]).export_c(tmp_path / f"{name}.c")
    macro = re.sub(r"\W", "_", name, flags=re.ASCII).upper()
    command = [COMPILER, *STRICT, f"-D{macro}_TEST", f"{name}.c", "-o", "net", "-lm"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert subprocess.run([tmp_path / "net"], check=False).returncode == 0


@pytest.mark.parametrize("name", ['a"b.c', "a\nb.c", "a\\b.c", "a??'b.c", "a\udc80.c"])
def test_a_file_whose_name_no_include_can_say_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="a name that #include can give"):
        tg.Sequential([Dense(2, input_shape=(3,))]).export_c(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_model_that_gives_no_finite_number_is_refused(tmp_path, number):
    model = tg.Sequential([Dense(2, input_shape=(3,))])
    model.layers[0].bias.assign(np.array([number, 0], np.float32))
    with pytest.raises(CaptureError, match="gives NaN or infinity"):
        model.export_c(tmp_path / "net.c")
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_ready_is_refused(tmp_path):
    with pytest.raises(NotBuiltError, match="Dense"):
        tg.Sequential([Dense(3)]).export_c(tmp_path / "net.c")
    with pytest.raises(ValueError, match="expects x, a few samples"):
        Sorting().export_c(tmp_path / "net.c")
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_is_refused(tmp_path):
    model = tg.Sequential([Dense(3, input_shape=(2,))])
    with pytest.raises(ValueError, match=r"ends in \.c"):
        model.export_c(tmp_path / "net.py")
    with pytest.raises(ValueError, match="begins with a letter"):
        model.export_c(tmp_path / "3d.c")
    with pytest.raises(FileNotFoundError, match="make it first"):
        model.export_c(tmp_path / "missing" / "net.c")
    with pytest.raises(ValueError, match="batch_size"):
        model.export_c(tmp_path / "net.c", batch_size=0)
    assert list(tmp_path.iterdir()) == []
