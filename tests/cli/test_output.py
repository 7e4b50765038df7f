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


def test_a_file_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(Misuse, match="is a folder"):
        output_file(tmp_path)
    with pytest.raises(Failure, match=r"cannot write into .*nowhere: No such file"):
        output_file(tmp_path / "nowhere" / "file")
