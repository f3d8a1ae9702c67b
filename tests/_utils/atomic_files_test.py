"""Files and folders appear complete or not at all."""

import pytest

from jood._utils import atomic_files


def test_a_file_appears_with_its_folder_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_files.atomic_file(path) as partial:
        partial.write_text("one")
        assert not path.exists()
    with atomic_files.atomic_file(path) as partial:  # replaces the other
        partial.write_text("two")
    assert path.read_text() == "two"
    assert [file.name for file in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("kind", ["atomic_file", "atomic_folder"])
def test_what_fails_leaves_nothing_behind(tmp_path, kind):
    def fails():
        with getattr(atomic_files, kind)(tmp_path / "a") as partial:
            (partial / "b" if partial.is_dir() else partial).write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert not list(tmp_path.iterdir())


def test_the_second_writer_of_a_folder_fails_and_the_first_ones_stays(tmp_path):
    def second():
        with atomic_files.atomic_folder(tmp_path / "a") as partial:
            with atomic_files.atomic_folder(tmp_path / "a") as first:
                (first / "file").write_text("first")
            (partial / "file").write_text("second")

    with pytest.raises(OSError, match="not empty"):
        second()
    assert (tmp_path / "a" / "file").read_text() == "first"
    with pytest.raises(FileExistsError, match="exists already and is not overwritten"):
        second()
