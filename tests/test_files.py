import os
import stat
import sys
from pathlib import Path

import pytest

from tinygrad_bn.files import picture, replacing


@pytest.mark.parametrize("kind", [Path, str])
def test_a_file_is_replaced_when_all_is_done(tmp_path, kind):
    path = tmp_path / "results.json"
    path.write_text("old")
    with replacing(kind(path)) as part:
        assert part.suffix == ".json"
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("old")

    def write_half():
        with replacing(path) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_not_replaced(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OSError, match="folder"), replacing(folder) as part:
        part.write_text("new")
    assert list(tmp_path.iterdir()) == [folder]


def test_a_missing_folder_is_an_error_of_its_own(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "nowhere" / "file") as part:
        part.write_text("new")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="nothing is forbidden to this user")
def test_a_folder_that_may_not_be_written_into_is_left_alone(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(PermissionError), replacing(path) as part:
            part.write_text("new")
        assert path.read_text() == "old"
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_what_the_system_forbids_is_raised_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")

    def forbid(self, target):
        raise PermissionError(13, "Permission denied", str(target))

    monkeypatch.setattr(Path, "replace", forbid)
    with pytest.raises(PermissionError), replacing(path) as part:
        part.write_text("new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_picture_has_the_form_of_its_suffix_and_the_same_bytes_each_time(tmp_path):
    pytest.importorskip("matplotlib")
    for name in ("one.svg", "two.svg", "three.png"):
        with picture(tmp_path / name, 2, 1) as figure:
            figure.add_subplot().plot([1, 2])
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert (tmp_path / "three.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 3


def test_without_matplotlib_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tinygrad_bn\[plot\]'"), picture(tmp_path / "a", 1, 1):
        pass
