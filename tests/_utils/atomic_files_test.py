"""Files and folders appear complete or not at all."""

import errno
import os
import pathlib
import subprocess
import sys

from helpers.jobs import ROOT
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

    with pytest.raises(FileExistsError, match="another process has written it"):
        second()
    assert (tmp_path / "a" / "file").read_text() == "first"
    with pytest.raises(FileExistsError, match="exists already and is not overwritten"):
        second()


KILLED = f"""
import importlib.util, os, pathlib, sys, types
sys.path.insert(0, "{ROOT}")
for name in ("jood", "jood._utils"):  # without jood's imports, which take seconds
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [str(pathlib.Path("{ROOT}", *name.split(".")))]
from jood._utils import atomic_files
kind, path = sys.argv[1:]
with getattr(atomic_files, kind)(path) as partial:
    print("writes", flush=True)
    sys.stdin.read()
"""


def written_by_another(kind, path):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, kind, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"writes\n"
    return process


def age(folder):
    for entry in folder.iterdir():
        os.utime(entry, (0, 0))


@pytest.mark.parametrize("kind", ["atomic_file", "atomic_folder"])
def test_what_a_killed_process_left_goes_when_its_job_starts_again(tmp_path, kind):
    process = written_by_another(kind, tmp_path / "a.b")
    mine = [tmp_path / name for name in (".a.b.old", ".a.b.12345678", ".axb.partial")]
    for folder in mine:
        folder.mkdir()
    age(tmp_path)
    atomic_files.check_new(tmp_path / "a.b")
    assert len(list(tmp_path.iterdir())) == 4, "a living process still writes there"
    process.kill()
    process.communicate()
    atomic_files.check_new(tmp_path / "a.c")
    assert len(list(tmp_path.iterdir())) == 4, "it is another job's"
    if kind == "atomic_folder":
        atomic_files.check_new(tmp_path / "a.b")
    else:
        with atomic_files.atomic_file(tmp_path / "a.b") as partial:
            partial.write_text("")
        (tmp_path / "a.b").unlink()
    assert sorted(tmp_path.iterdir()) == sorted(mine)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, r"cannot write .*/new/a: No space left.*Free space"),
        (errno.EROFS, r"cannot write .*/new/a: Read-only.*make .*/new writable"),
    ],
)
def test_what_cannot_be_written_is_told_before_the_work(
    tmp_path, monkeypatch, number, says
):
    def fails(dir):
        raise OSError(number, os.strerror(number), f"{dir}/tmp1234")

    monkeypatch.setattr(atomic_files.tempfile, "TemporaryFile", fails)
    with pytest.raises(OSError, match=says):
        atomic_files.check_new(tmp_path / "new" / "a")
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_of_a_folder_is_told_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write .*/file/new/a: Not a directory"):
        atomic_files.check_new(tmp_path / "file" / "new" / "a")


def test_an_error_names_what_is_written_and_not_what_is_read(tmp_path):
    def folder(error):
        with atomic_files.atomic_folder(tmp_path / "a"):
            raise error

    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match=rf"cannot write {tmp_path}/a: No space left"):
        folder(full)
    gone = FileNotFoundError(errno.ENOENT, "No such file", "/images/1.png")
    with pytest.raises(FileNotFoundError, match=r"No such file: '/images/1\.png'"):
        folder(gone)
    assert not list(tmp_path.iterdir())


def test_results_that_cannot_be_written_are_kept_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic_files.tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "file").write_text("")
    full = []

    def write(folder):
        with atomic_files.atomic_folder(folder) as partial:
            if full:
                raise OSError(errno.ENOSPC, "No space left on device")
            (partial / "results").write_text("hours of work")
        return "written"

    assert atomic_files.kept(write, tmp_path / "a") == "written"
    with pytest.raises(
        OSError, match=r"cannot write .*The results are kept in"
    ) as told:
        atomic_files.kept(write, tmp_path / "file" / "b")
    where = pathlib.Path(str(told.value).rpartition(" kept in ")[2].rstrip("."))
    assert (where / "results").read_text() == "hours of work"
    full.append(True)
    with pytest.raises(OSError, match=r"same command again\.$"):
        atomic_files.kept(write, tmp_path / "c")
    assert len(list((tmp_path / "temporary").iterdir())) == 1
