"""Prepared TFDS folders, read without TensorFlow."""

import json
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

import jood
from jood.data.sources.tfds import TfdsSource

FIT = jood.Preprocessing((0.5,) * 3, (0.5,) * 3, resize=20, crop=16)


@pytest.fixture(scope="module")
def folder(data_dir):
    return data_dir / "tfds/cifar10/3.0.2"


@pytest.fixture
def copied(folder, tmp_path):
    """A copy of the descriptions, for tests that break them; links to the records."""
    for path in folder.iterdir():
        if path.suffix in (".json", ".txt"):
            shutil.copyfile(path, tmp_path / path.name)
        else:
            (tmp_path / path.name).symlink_to(path)
    return tmp_path


def test_examples_are_those_that_tfds_decodes(folder):
    tfds = pytest.importorskip("tensorflow_datasets")
    raw = tfds.builder_from_directory(str(folder)).as_data_source("test")
    source = TfdsSource(folder, "test")
    assert len(source) == 10_000
    for index in (0, np.int64(17), 9999):
        example = source[index]
        np.testing.assert_array_equal(example["image"], raw[int(index)]["image"])
        assert example["label"] == raw[int(index)]["label"]
        assert example["label"].dtype == np.int32
    assert source.class_names[:3] == ("airplane", "automobile", "bird")


def test_splits_features_and_preprocessing(data_dir, folder):
    part = TfdsSource(folder, "train[:1%]", preprocessing=FIT)
    assert len(part) == 250
    assert part[0]["image"].shape == (16, 16, 3)
    ood = TfdsSource(data_dir / "tfds/cifar100/3.0.2", "test", label=None)
    assert set(ood[0]) == {"image"}
    assert ood.class_names is None
    coarse = TfdsSource(data_dir / "tfds/cifar100/3.0.2", "test", label="coarse_label")
    assert len(coarse.class_names) == 20


@pytest.mark.slow
def test_reading_needs_no_tensorflow_and_says_nothing(folder):
    code = (
        "import sys; from jood.data.sources.tfds import TfdsSource;"
        f"TfdsSource({str(folder)!r}, 'test')[3];"
        "print([m for m in sys.modules if m.split('.')[0] == 'tensorflow'])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_it_can_be_sent_to_a_worker(folder):
    source = TfdsSource(folder, "test", preprocessing=FIT)
    source[0]  # the files are open now
    blob = pickle.dumps(source)
    assert len(blob) < 1000
    copy = pickle.loads(blob)
    np.testing.assert_array_equal(copy[5]["image"], source[5]["image"])
    assert copy.fingerprint() == source.fingerprint()


def test_the_fingerprint_tells_data_apart(folder, copied):
    texts = [
        TfdsSource(folder, "test").fingerprint(),
        TfdsSource(folder, "test[:50%]").fingerprint(),
        TfdsSource(folder, "train").fingerprint(),
        TfdsSource(folder, "test", label=None).fingerprint(),
        TfdsSource(folder, "test", preprocessing=FIT).fingerprint(),
    ]
    assert TfdsSource(copied, "test").fingerprint() == texts[0]
    assert texts[0].startswith("tfds cifar10 3.0.2 test, 10000 examples")
    # Another record file, as one image that is a byte longer would make it.
    record = copied / "cifar10-test.array_record-00000-of-00001"
    data = bytearray(record.read_bytes())
    data[-70_000] ^= 1
    record.unlink()
    record.write_bytes(data)
    texts.append(TfdsSource(copied, "test").fingerprint())
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    ("split", "options", "message"),
    [
        ("validation", {}, r"no split 'validation' .*it has train, test"),
        ("test[", {}, r"no split 'test\['"),
        ("test[:0]", {}, r"split 'test\[:0\]' .* is empty"),
        ("test", {"image": "img"}, "no feature 'img' of kind Image, only .*image"),
        ("test", {"label": "id"}, "no feature 'id' of kind ClassLabel"),
    ],
)
def test_what_is_not_there_is_named(folder, split, options, message):
    with pytest.raises(ValueError, match=message):
        TfdsSource(folder, split, **options)


def test_another_format_is_refused(copied):
    path = copied / "dataset_info.json"
    text = json.loads(path.read_text()) | {"fileFormat": "tfrecord"}
    path.write_text(json.dumps(text))
    with pytest.raises(
        ValueError, match=r"prepared as tfrecord.*file_format=array_rec"
    ):
        TfdsSource(copied, "test")


def test_missing_folders_and_files_are_named(copied, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"dataset_info\.json is missing"):
        TfdsSource(tmp_path / "nowhere", "test")
    (copied / "cifar10-test.array_record-00000-of-00001").unlink()
    with pytest.raises(FileNotFoundError, match=r"cifar10-test\.array_record"):
        TfdsSource(copied, "test")
    TfdsSource(copied, "train")  # the other split is there
