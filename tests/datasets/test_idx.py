import gzip
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tinygrad_bn.datasets import load_fashion_mnist, load_mnist
from tinygrad_bn.datasets.idx import read_idx

REAL_DATA = os.environ.get("TINYGRAD_BN_DATA")  # before the fixture below hides it
IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
LABELS = np.array([3, 1, 4, 1, 9], dtype=np.uint8)
FILES = {
    "train-images-idx3-ubyte": IMAGES,
    "train-labels-idx1-ubyte": LABELS,
    "t10k-images-idx3-ubyte": IMAGES[:2],
    "t10k-labels-idx1-ubyte": LABELS[:2],
}


def idx(array):
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def write(folder, *, zipped=False, **changed):
    """The four files; those named in `changed` (train_images, ...) with the given bytes, or none."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in FILES.items():
        content = changed.get("_".join(name.split("-")[:2]), idx(array))
        if content is not None:
            (folder / f"{name}{'.gz' * zipped}").write_bytes(gzip.compress(content) if zipped else content)
    return folder


@pytest.fixture(autouse=True)
def nobody_has_data(monkeypatch, tmp_path):
    """The machine's own data are out of sight; the user's cache is an empty folder."""
    monkeypatch.delenv("TINYGRAD_BN_DATA", raising=False)
    for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


def user_cache(tmp_path):
    home = tmp_path / "home"
    return (home / "Library" / "Caches" if sys.platform == "darwin" else home) / "tinygrad_bn"


def expect_the_four_files(loaded):
    (x_train, y_train), (x_test, y_test) = loaded
    np.testing.assert_array_equal(x_train, IMAGES)
    np.testing.assert_array_equal(y_train, LABELS)
    np.testing.assert_array_equal(x_test, IMAGES[:2])
    np.testing.assert_array_equal(y_test, LABELS[:2])
    for x, y in ((x_train, y_train), (x_test, y_test)):
        assert (x.dtype, y.dtype) == (np.uint8, np.int64)
        assert x.flags.writeable
        assert y.flags.writeable


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kind", [str, Path])
def test_reads_a_folder(tmp_path, zipped, kind):
    folder = write(tmp_path / "anywhere", zipped=zipped)
    expect_the_four_files(load_mnist(kind(folder)))
    expect_the_four_files(load_fashion_mnist(path=kind(folder)))


def test_a_file_that_a_browser_unzipped_is_read(tmp_path):
    folder = write(tmp_path / "anywhere", zipped=True)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(idx(IMAGES))
    expect_the_four_files(load_mnist(folder))


@pytest.mark.parametrize(("load", "name"), [(load_mnist, "mnist"), (load_fashion_mnist, "fashion-mnist")])
def test_looks_in_the_data_folder_and_the_cache(monkeypatch, tmp_path, load, name):
    write(user_cache(tmp_path) / name)
    expect_the_four_files(load())

    monkeypatch.setenv("TINYGRAD_BN_DATA", str(tmp_path / "data"))
    expect_the_four_files(load())  # still from the cache: the data folder is empty

    write(tmp_path / "data" / name, train_images=idx(IMAGES + 1))
    np.testing.assert_array_equal(load()[0][0], IMAGES + 1)


def test_a_home_directory_is_understood(monkeypatch, tmp_path):
    write(tmp_path / "home" / "data" / "mnist")
    expect_the_four_files(load_mnist("~/data/mnist"))
    monkeypatch.setenv("TINYGRAD_BN_DATA", "~/data")
    expect_the_four_files(load_mnist())


def test_says_which_files_are_wanted_and_where(monkeypatch, tmp_path):
    write(tmp_path / "data" / "fashion-mnist", train_labels=None, t10k_images=None)
    monkeypatch.setenv("TINYGRAD_BN_DATA", str(tmp_path / "data"))
    with pytest.raises(FileNotFoundError) as caught:
        load_fashion_mnist()
    assert str(caught.value) == (
        "fashion-mnist needs four files, gzipped (.gz) or plain: train-images-idx3-ubyte, "
        "train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte. Looked in:\n"
        f"  {tmp_path / 'data' / 'fashion-mnist'}: no train-labels-idx1-ubyte, no t10k-images-idx3-ubyte\n"
        f"  {user_cache(tmp_path) / 'fashion-mnist'}: no such folder\n"
        "Put them there, or pass the folder that holds them as path=, or set TINYGRAD_BN_DATA "
        "to the folder that holds fashion-mnist/. They are published at https://github.com/zalandoresearch/fashion-mnist"
    )


def test_looks_only_in_the_path_that_was_given(tmp_path):
    write(user_cache(tmp_path) / "mnist")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match=rf"in:\n  {re.escape(str(empty))}: none of them\nPut"):
        load_mnist(empty)
    file = write(tmp_path / "data") / "train-images-idx3-ubyte"
    with pytest.raises(FileNotFoundError, match="a file, not the folder that holds them"):
        load_mnist(file)


ZIPPED = gzip.compress(idx(IMAGES))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an idx file of unsigned bytes in 3 dimensions: .* 00 00 08 03, got an empty file"),
        (b"<html>not found</html>", "is not an idx file .* got 3c 68 74 6d"),
        (idx(LABELS), "is not an idx file .* begin with 00 00 08 03, got 00 00 08 01"),
        (idx(IMAGES)[:9], "is truncated: its header takes 16 bytes, got 9"),
        (idx(IMAGES)[:-1], "is truncated: its header promises 5 x 4 x 3 = 60 bytes, got 59"),
        (idx(IMAGES) + b"\0", "is too long: its header promises 5 x 4 x 3 = 60 bytes, got 61"),
        (ZIPPED[:-1], "is a broken gzip file"),
        (ZIPPED[:20] + b"\xff\xff" + ZIPPED[22:], "is a broken gzip file"),
    ],
    ids=["empty", "html", "labels", "header", "short", "long", "gzip-short", "gzip-damaged"],
)
def test_says_what_is_wrong_with_a_broken_file(tmp_path, content, message):
    folder = write(tmp_path / "anywhere", train_images=content)
    with pytest.raises(ValueError, match=rf"train-images-idx3-ubyte {message}"):
        load_mnist(folder)


def test_labels_are_one_dimension(tmp_path):
    path = tmp_path / "labels"
    path.write_bytes(idx(IMAGES))
    with pytest.raises(ValueError, match=r"in 1 dimension: .* begin with 00 00 08 01, got 00 00 08 03"):
        read_idx(path, 1)


def test_images_and_labels_must_be_as_many(tmp_path):
    folder = write(tmp_path / "anywhere", t10k_labels=idx(LABELS))
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte holds 2 images, but .* holds 5 labels"):
        load_mnist(folder)


@pytest.mark.slow
@pytest.mark.parametrize(("load", "name"), [(load_mnist, "mnist"), (load_fashion_mnist, "fashion-mnist")])
def test_the_real_files(load, name):
    if REAL_DATA is None or not (Path(REAL_DATA) / name).is_dir():
        pytest.skip(f"needs $TINYGRAD_BN_DATA/{name}/")
    (x_train, y_train), (x_test, y_test) = load(Path(REAL_DATA) / name)
    assert x_train.shape == (60000, 28, 28)
    assert x_test.shape == (10000, 28, 28)
    assert x_train.max() == 255
    assert np.unique(y_train).tolist() == np.unique(y_test).tolist() == list(range(10))
