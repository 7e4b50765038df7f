import os
import sys

import pytest

from tinygrad_bn.cli import Failure, Misuse
from tinygrad_bn.cli.output import output_file, output_folder


def test_what_is_in_the_folder_stays(tmp_path):
    (tmp_path / "trial").write_text("mine")
    assert output_folder(tmp_path) == tmp_path
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("trial", "mine")]


def test_a_file_that_can_be_written_is_not_touched(tmp_path):
    assert output_file(tmp_path / "new") == tmp_path / "new"
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_a_folder_that_is_not_there_yet_makes_it(tmp_path):
    link = tmp_path / "link"
    link.symlink_to("real")
    assert output_folder(link) == link
    assert (tmp_path / "real").is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes")
def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Misuse, match="pipe is no plain file"):
        output_file(tmp_path / "pipe")


def test_a_file_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(Misuse, match="is a folder"):
        output_file(tmp_path)
    with pytest.raises(Failure, match=r"cannot write into .*nowhere: No such file"):
        output_file(tmp_path / "nowhere" / "file")
