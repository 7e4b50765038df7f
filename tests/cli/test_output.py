import pytest

from tinygrad_bn.cli.output import output_folder, replacing


def test_a_file_is_replaced_when_all_is_done(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("old")
    with replacing(path) as part:
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


def test_what_is_in_the_folder_stays(tmp_path):
    (tmp_path / "trial").write_text("mine")
    assert output_folder(tmp_path) == tmp_path
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("trial", "mine")]
