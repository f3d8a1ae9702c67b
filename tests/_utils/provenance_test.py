"""Which commit made a result."""

import pathlib
import subprocess

from jood._utils import provenance


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True)


def test_the_commit_is_told_and_whether_files_were_edited(tmp_path):
    assert provenance._commit(tmp_path) == ""
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "first")
    found = provenance._commit(tmp_path)
    assert len(found) == 12
    (tmp_path / "file").write_text("two")
    assert provenance._commit(tmp_path) == f"{found}+"
    (tmp_path / "below").mkdir()
    assert provenance._commit(tmp_path / "below") == ""  # installed inside of a clone


def test_versions_name_jood_and_what_computes():
    found = provenance.versions()
    assert {"jood", "git", "python", "jax", "flax"} <= found.keys()
    assert all(isinstance(value, str) for value in found.values())


def test_versions_tell_the_commit_of_the_clone_that_holds_the_package():
    clone = pathlib.Path(__file__).parents[2]
    assert provenance.versions()["git"] == provenance._commit(clone)
