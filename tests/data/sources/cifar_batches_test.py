"""CIFAR's own files: read without running what a pickle may hold."""

import os
import pickle

import numpy as np
from PIL import Image
import pytest

from jood.data import benchmarks
from jood.data.benchmarks import cifar_classes
from jood.data.sources import cifar_batches

NAMES = {10: cifar_classes.CIFAR10, 100: cifar_classes.CIFAR100}


def batch(count, classes, seed=0):
    """What a file holds: an image's planes of red, green and blue in a row."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count).tolist()
    key = b"labels" if classes == 10 else b"fine_labels"
    rows = rng.integers(0, 256, (count, 3072), np.uint8)
    return {b"data": rows, key: labels, b"filenames": [b"x.png"] * count}


def write(folder, name, content, protocol=2):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(pickle.dumps(content, protocol))


def cifar(root, classes):
    """Writes tiny files in CIFAR's layout; returns the batches by name."""
    if classes == 10:
        folder = root / "cifar-10-batches-py"
        files = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
        meta = ("batches.meta", {b"label_names": [n.encode() for n in NAMES[10]]})
    else:
        folder, files = root / "cifar-100-python", ["train", "test"]
        meta = ("meta", {b"fine_label_names": [n.encode() for n in NAMES[100]]})
    written = {name: batch(3, classes, i) for i, name in enumerate(files)}
    for name, content in [*written.items(), meta]:
        write(folder, name, content)
    return folder, written


@pytest.mark.parametrize("classes", [10, 100])
def test_images_labels_and_names_are_the_files(tmp_path, classes):
    folder, written = cifar(tmp_path, classes)
    train = cifar_batches.read(folder, "train")
    parts = [content for name, content in written.items() if "test" not in name]
    rows = np.concatenate([part[b"data"] for part in parts])
    key = b"labels" if classes == 10 else b"fine_labels"
    assert train.labels.tolist() == [label for part in parts for label in part[key]]
    assert train.images.shape == (len(rows), 32, 32, 3)
    np.testing.assert_array_equal(train.images[1, 2, 3], rows[1, [67, 1091, 2115]])
    assert train.class_names == tuple(NAMES[classes])
    assert len(cifar_batches.read(folder, "test")) == 3


def test_a_benchmark_reads_them_where_tfds_is_absent(tmp_path):
    folder, _ = cifar(tmp_path, 10)
    _, other = cifar(tmp_path, 100)
    found = benchmarks.get("cifar10", data_dir=tmp_path, ood=["cifar100_test"])
    assert (len(found.id_train), len(found.id_test)) == (15, 3)
    assert set(found.ood["cifar100_test"][0]) == {"image"}
    first = other["test"][b"data"][0].reshape(3, 32, 32).transpose(1, 2, 0)
    np.testing.assert_array_equal(found.ood["cifar100_test"][0]["image"], first)
    (folder / "data_batch_3").unlink()
    with pytest.raises(FileNotFoundError, match="data_batch_3"):
        benchmarks.get("cifar10", data_dir=tmp_path, ood=["cifar100_test"])


class Attack:
    def __reduce__(self):
        return os.system, ("touch OWNED",)


class Codec:
    def __reduce__(self):
        return __import__("_codecs").encode, ("x", "zip")


@pytest.mark.parametrize(
    "content",
    [
        Attack(),
        {b"data": Attack()},
        {b"data": Codec()},
        {b"data": np.array([Attack()], object)},
        [1],
        {b"data": np.zeros((3, 3072), np.float32), b"labels": [1, 2, 3]},
        {b"data": np.zeros((3, 3072), np.uint8), b"labels": [1, 2]},
        {b"data": np.zeros((3, 5), np.uint8), b"labels": [1, 2, 3]},
        {b"labels": [1, 2, 3]},
    ],
    ids=lambda content: type(content).__name__,
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_what_is_no_batch_is_refused_and_runs_nothing(
    tmp_path, monkeypatch, content, protocol
):
    monkeypatch.chdir(tmp_path)
    folder, _ = cifar(tmp_path, 10)
    write(folder, "test_batch", content, protocol)
    with pytest.raises(ValueError, match="test_batch"):
        cifar_batches.read(folder, "test")
    assert not (tmp_path / "OWNED").exists()


def test_a_damaged_file_is_named(tmp_path):
    folder, _ = cifar(tmp_path, 10)
    whole = (folder / "test_batch").read_bytes()
    (folder / "test_batch").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"test_batch is not a file of CIFAR's"):
        cifar_batches.read(folder, "test")


def test_openood_s_folders_and_lists(tmp_path):
    for split, count in (("train", 4), ("test", 2)):
        lines = []
        for index in range(count):
            path = f"cifar10/{split}/{NAMES[10][index]}/{index}.png"
            file = tmp_path / "images_classic" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (index, 0, 0)).save(file)
            lines.append(f"{path} {index}")
        listed = tmp_path / "benchmark_imglist/cifar10" / f"{split}_cifar10.txt"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text("\n".join(reversed(lines)))
    cifar(tmp_path, 100)
    found = benchmarks.get("cifar10", data_dir=tmp_path, ood=["cifar100_test"])
    assert found.id_train.labels.tolist() == [3, 2, 1, 0]
    assert found.id_test[0]["label"] == 1
    assert found.id_test[0]["image"][0, 0, 0] == 1
