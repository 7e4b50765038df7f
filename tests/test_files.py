import os
import re
import signal
import stat
import subprocess
import sys
import threading
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
    path = tmp_path / "nowhere" / "file"
    with (
        pytest.raises(FileNotFoundError, match=r"the folder .*nowhere' is not there") as raised,
        replacing(path) as part,
    ):
        part.write_text("new")
    assert raised.value.filename == str(path)


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    link, target = tmp_path / "link.json", tmp_path / "real" / "file"
    link.symlink_to(Path("real", "file"))
    for text in ("new", "newer"):  # at first it leads nowhere yet
        with replacing(link) as part:
            assert part.suffix == ".json"
            part.write_text(text)
        assert link.is_symlink()
        assert target.read_text() == text
        assert list(target.parent.iterdir()) == [target]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes")
def test_what_is_no_plain_file_is_refused_and_stays(tmp_path):
    pipe, link, circle = (tmp_path / name for name in ("pipe", "link", "circle"))
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    circle.symlink_to(circle)
    for path in (pipe, link, circle, tmp_path):
        with pytest.raises(FileExistsError, match="only a plain file is replaced") as raised:
            replacing(path).__enter__()
        assert raised.value.filename == str(path)
    assert pipe.is_fifo()
    assert sorted(tmp_path.iterdir()) == [circle, link, pipe]


@pytest.mark.skipif(sys.platform == "win32", reason="files have no such modes")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400, 0o755])
def test_a_new_file_is_open_to_the_same_as_the_old_one(tmp_path, mode):
    path = tmp_path / "private"
    path.write_text("old")
    path.chmod(mode)
    with replacing(path) as part:
        assert not stat.S_IMODE(part.stat().st_mode) & 0o077
        part.write_text("new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("path", [None, 3, b"file"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(TypeError, match=f"the path of a file is expected, such as 'model.npz'; got {path!r}"):
        replacing(path).__enter__()


@pytest.mark.parametrize("path", ["", "."])
def test_a_path_without_a_name_is_refused(path):
    with pytest.raises(
        ValueError, match=f"the path of a file is expected, such as 'model.npz'; got '{re.escape(path)}'"
    ):
        replacing(path).__enter__()


def test_what_the_system_says_names_the_path_that_was_given(tmp_path):
    with pytest.raises(OSError, match="file") as raised, replacing(tmp_path / "file") as part:
        part.unlink()
    assert str(raised.value).endswith(f": {str(tmp_path / 'file')!r}")
    with pytest.raises(OSError, match="under") as raised, replacing(tmp_path / "file") as part:
        (part / "under").read_text()
    assert raised.value.filename == str(part / "under")


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


KILLS_ITSELF = """
import os, signal, sys
from tinygrad_bn.files import replacing
with replacing(sys.argv[1]) as part:
    part.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")
def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("old")
    other = tmp_path / ".1-2.another.json"
    other.write_text("not of this path")
    assert subprocess.run([sys.executable, "-c", KILLS_ITSELF, str(path)], check=False).returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 3
    with replacing(path) as part:
        part.write_text("new")
    assert sorted(tmp_path.iterdir()) == [other, path]


def test_what_another_is_still_writing_is_left_alone(tmp_path):
    path = tmp_path / "results.json"
    with replacing(path) as first:
        first.write_text("first")
        with replacing(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
        assert first.read_text() == "first"
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_many_writers_at_once_leave_one_whole_file(tmp_path):
    path = tmp_path / "results.txt"

    def write(text):
        for _ in range(20):
            with replacing(path, durable=True) as part:
                part.write_text(text * 1000)

    writers = [threading.Thread(target=write, args=(text,)) for text in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    text = path.read_text()
    assert text == text[0] * 1000
    assert list(tmp_path.iterdir()) == [path]


def test_a_picture_has_the_form_of_its_suffix_and_the_same_bytes_each_time(tmp_path):
    pytest.importorskip("matplotlib")
    for name in ("one.svg", "two.svg", "three.png"):
        with picture(tmp_path / name, 2, 1) as figure:
            figure.add_subplot().plot([1, 2])
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert (tmp_path / "three.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 3


def test_a_picture_in_no_form_that_there_is_is_refused_before_it_is_drawn(tmp_path):
    for name in ("loss.pgn", "loss"):
        with pytest.raises(ValueError, match=rf"unknown suffix '.*' in '.*{name}'.* Choices: .*\.png.*\.svg"):
            picture(tmp_path / name, 2, 1).__enter__()
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with (
        pytest.raises(ModuleNotFoundError, match=r"pip install 'tinygrad_bn\[plot\]'"),
        picture(tmp_path / "a.svg", 1, 1),
    ):
        pass
