"""Checking and getting data: counts, checksums, archives, exit codes."""

import dataclasses
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile

from helpers import layouts
from helpers.jobs import ROOT
import pytest
import tensorflow_datasets as tfds

from jood.data import benchmarks
from jood.data.benchmarks import check
from jood.data.benchmarks import download
from jood.data.benchmarks import set_spec

CIFAR10 = benchmarks.describe("cifar10")


def by_name(findings):
    return {one.name: one for one in findings}


def test_real_data_are_counted_and_their_checksums_known(data_dir):
    found = check.inspect(CIFAR10, data_dir)
    states = {one.name: (one.state, one.count, one.checksum) for one in found}
    assert states["id_train"] == (
        check.INCOMPLETE,
        25_000,
        "ok; a part: 25,000 of 50,000, 2,500 of each class",
    )
    assert states["id_test"] == (check.PRESENT, 10_000, "ok")
    assert states["cifar100_test"][:2] == (check.INCOMPLETE, 5_000)
    assert states["svhn"] == (check.ABSENT, None, "-")
    for name in (
        "tin_resize",
        "tin_crop",
        "gtsrb",
        "chars74k",
        "scene15_gray",
        "mnist",
    ):
        assert states[name] == (check.PRESENT, 1_000, "ok")
    assert states["dtd10"] == (check.PRESENT, 1_200, "ok")
    roles = {one.name: one.role for one in found}
    assert roles["id_test"] == "ID"
    assert roles["cifar100_test"] == "OOD, near, extra"
    assert roles["svhn"] == "OOD"
    assert check.runs(found)


def test_the_text_says_where_from_and_under_which_licence(data_dir):
    found = check.inspect(CIFAR10, data_dir)
    text = check.text(found, data_dir)
    row = next(line for line in text.splitlines() if line.startswith("id_train "))
    assert row.split()[3:5] == ["25,000", "50,000"]
    assert f"expected at  {data_dir}/LSUN\n" in text
    assert f"is at        {data_dir}/tfds/cifar10/3.0.2\n" in text
    assert "https://www.dropbox.com/s/fhtsw1m3qxlwj6h/LSUN.tar.gz" in text
    assert "licence      non-commercial use only" in text
    assert "ood_datasets" in text


@pytest.fixture
def linked(data_dir, tmp_path):
    """A data root that a test may break: links to the real files."""
    shutil.copytree(data_dir / "tfds", tmp_path / "tfds", copy_function=os.symlink)
    shutil.copytree(data_dir / "ood32", tmp_path / "ood32", copy_function=os.symlink)
    return tmp_path


def test_a_changed_file_has_a_wrong_checksum(linked):
    (linked / "ood32/mnist.npz").unlink()
    shutil.copyfile((linked / "ood32/gtsrb.npz").resolve(), linked / "ood32/mnist.npz")
    found = by_name(check.inspect(CIFAR10, linked))
    assert found["mnist"].checksum == "WRONG: mnist.npz"
    assert "expected 089a65c1" in found["mnist"].problem
    assert "PROBLEM" in check.text(list(found.values()), linked)
    assert not check.runs(list(found.values()))


def test_records_of_another_tfds_version_are_no_error(linked):
    (record,) = (linked / "tfds/cifar10/3.0.2").glob("cifar10-test*")
    content = record.resolve().read_bytes()
    record.unlink()
    record.write_bytes(content + b"\0")
    finding = check.inspect_set(CIFAR10, "id_test", linked)
    assert finding.checksum == "none recorded for this version"
    assert not finding.is_wrong


def test_what_cannot_be_opened_is_broken_and_named(linked):
    (linked / "ood32/mnist.npz").unlink()
    (linked / "ood32/mnist.npz").write_bytes(b"no archive")
    (linked / "LSUN/test").mkdir(parents=True)
    (record,) = (linked / "tfds/cifar10/3.0.2").glob("cifar10-train*")
    record.unlink()
    found = by_name(check.inspect(CIFAR10, linked))
    for name, text in {
        "mnist": "mnist.npz",
        "lsun_c": "no image",
        "id_train": "missing",
    }.items():
        assert found[name].state == check.BROKEN
        assert text in found[name].problem
    assert not check.runs(list(found.values()))


def test_a_benchmark_without_ood_or_without_id_does_not_run(data_dir, tmp_path):
    shutil.copytree(data_dir / "tfds", tmp_path / "tfds", copy_function=os.symlink)
    spec = dataclasses.replace(CIFAR10, extra=(), near=())
    assert not check.runs(check.inspect(spec, tmp_path))
    layouts.ood_folder(tmp_path, "isun")
    found = check.inspect(spec, tmp_path)
    assert check.runs(found)
    assert by_name(found)["isun"].state == check.INCOMPLETE  # 2 of 8,925
    shutil.rmtree(tmp_path / "tfds/cifar10")
    assert not check.runs(check.inspect(spec, tmp_path))


def archive(path, **options):
    """What is known of a file that `path` offers."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return set_spec.Archive(path.as_uri(), f"sha256:{digest}", **options)


def test_archives_are_checked_and_unpacked(tmp_path):
    packed = tmp_path / "web"
    packed.mkdir()
    with tarfile.open(packed / "LSUN.tar.gz", "w:gz") as file:
        member = tarfile.TarInfo("LSUN/test/1.png")
        member.size = 3
        file.addfile(member, io.BytesIO(b"abc"))
    with zipfile.ZipFile(packed / "val2017.zip", "w") as file:
        file.writestr("val2017/1.jpg", b"def")
    (packed / "test_32x32.mat").write_bytes(b"ghi")
    root = tmp_path / "data"
    for name, into in {
        "LSUN.tar.gz": "",
        "val2017.zip": "coco",
        "test_32x32.mat": "svhn",
    }.items():
        download.fetch(archive(packed / name, into=into), root)
    assert (root / "LSUN/test/1.png").read_bytes() == b"abc"
    assert (root / "coco/val2017/1.jpg").read_bytes() == b"def"
    assert (root / "svhn/test_32x32.mat").read_bytes() == b"ghi"
    assert not list((root / "downloads").glob(".*"))


def test_a_download_with_another_digest_is_refused_and_not_unpacked(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"abc")
    wanted = set_spec.Archive((tmp_path / "x.bin").as_uri(), f"md5:{'0' * 32}")
    with pytest.raises(ValueError, match="md5 900150983cd24fb0d6963f7d28e17f72"):
        download.fetch(wanted, tmp_path / "data")
    assert not (tmp_path / "data/x.bin").exists()


def test_a_file_that_was_put_there_by_hand_needs_no_network(tmp_path):
    offered = tmp_path / "x.bin"
    offered.write_bytes(b"abc")
    wanted = archive(offered, into="place")
    (tmp_path / "data/downloads").mkdir(parents=True)
    offered.rename(tmp_path / "data/downloads/x.bin")
    assert download.fetch(wanted, tmp_path / "data") == tmp_path / "data/place"
    with pytest.raises(OSError, match=r"put it at .*downloads/x\.bin"):
        download.fetch(wanted, tmp_path / "elsewhere")


def test_an_archive_cannot_write_outside_its_folder(tmp_path):
    with tarfile.open(tmp_path / "bad.tar", "w") as file:
        file.addfile(tarfile.TarInfo("../escaped"), io.BytesIO())
    with pytest.raises(ValueError, match="cannot unpack"):
        download.fetch(archive(tmp_path / "bad.tar"), tmp_path / "data")
    assert not (tmp_path / "escaped").exists()


def test_preparing_without_tensorflow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_has_tensorflow", lambda: False)
    with pytest.raises(ValueError, match=r"pip install 'jood\[prepare\]'"):
        download.prepare_tfds("cifar10", tmp_path)


def test_a_failing_tfds_says_why_and_what_else_to_do(tmp_path, monkeypatch):
    class Builder:
        def download_and_prepare(self):
            raise ConnectionError("no route")

    asked = {}
    monkeypatch.setattr(download, "_has_tensorflow", lambda: True)
    monkeypatch.setattr(
        tfds, "builder", lambda name, **options: asked.update(options) or Builder()
    )
    with pytest.raises(OSError, match=r"ConnectionError: no route.* copy a prepared"):
        download.prepare_tfds("cifar10", tmp_path)
    assert asked == {"data_dir": tmp_path / "tfds", "file_format": "array_record"}


def prepare(*arguments):
    """Runs launch/prepare.py; returns the exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "launch/prepare.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_the_job_checks_and_its_exit_code_says_whether_it_runs(data_dir, tmp_path):
    code, printed = prepare("--benchmark=cifar10", f"--data_dir={data_dir}", "--check")
    assert code == 0
    assert "25,000" in printed
    code, printed = prepare("--benchmark=cifar10", f"--data_dir={tmp_path}", "--check")
    assert code == 1
    assert "cannot run" in printed
    assert not list(tmp_path.iterdir())  # --check writes nothing


@pytest.mark.slow
def test_the_job_prepares_what_it_can_and_goes_on(tmp_path):
    """A set that cannot be got does not keep the others back."""
    root = tmp_path / "new"
    layouts.ood_folder(root, "isun")
    (root / "downloads").mkdir()
    (root / "downloads/test_32x32.mat").write_bytes(b"not SVHN")
    sets = "--sets=svhn,isun"
    code, printed = prepare("--benchmark=waterbirds", f"--data_dir={root}", sets)
    assert code == 1  # no Waterbirds
    assert "svhn: " in printed
    assert "expected cdce80df" in printed
    assert "generate_waterbird.py" in printed
    code, printed = prepare("--benchmark=waterbirds", f"--data_dir={root}", "--sets=x")
    assert code == 1
    assert "has no set x" in printed
    code, printed = prepare("--benchmark=digits")
    assert code == 0
    assert "nothing to prepare" in printed
