"""The images that a detector is fitted, calibrated and checked on: all different."""

import os

from helpers import brightness
import numpy as np
import pytest

import jood
from jood.data import benchmarks
from jood.data import id_splits
from jood.data.sources import ArraySource

PLAIN = jood.Preprocessing((0.0,) * 3, (1.0,) * 3)
SIZE = brightness.SIZE


def numbers(source):
    """Which images these are: each is one level of gray."""
    return [int(source[i]["image"][0, 0, 0]) for i in range(len(source))]


def classes(root, **levels):
    for name, values in levels.items():
        brightness.folder(root / name, values)
    return root


def of_folders(images, calibration=None, **options):
    return id_splits.of_folders(images, calibration, PLAIN, SIZE, **options)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.001, 0.999])
def test_a_split_shares_nothing_and_loses_nothing(share):
    source = ArraySource(np.arange(100, dtype=np.uint8)[:, None, None, None])
    kept, held = id_splits.split(source, share, seed=0)
    assert len(held) == min(max(round(100 * share), 1), 99)
    assert sorted(numbers(kept) + numbers(held)) == list(range(100))
    assert numbers(held) == sorted(numbers(held))


def test_a_split_is_random_and_repeats_with_its_seed():
    source = ArraySource(np.arange(100, dtype=np.uint8)[:, None, None, None])
    first, again, other = (
        numbers(id_splits.split(source, 0.3, seed)[1]) for seed in (0, 0, 1)
    )
    assert first == again != other
    assert len(set(np.diff(first))) > 2  # no every-third


@pytest.mark.parametrize("share", [0, 1, -1, 2])
def test_a_bad_share_is_refused(share):
    with pytest.raises(ValueError, match=r"a share in \(0, 1\)"):
        id_splits.split(ArraySource(np.zeros((9, 1, 1, 3), np.uint8)), share, 0)


@pytest.mark.slow
def test_a_benchmark_fits_on_train_and_halves_its_test_set():
    splits = id_splits.of_benchmark("digits_tiny", PLAIN, 32)
    made = benchmarks.get("digits_tiny", preprocessing=PLAIN)
    np.testing.assert_array_equal(splits.fit.images, made.id_train.images)
    parts = (splits.calibration, splits.check)
    assert [len(part) for part in parts] == [216, 217]
    found = np.concatenate([part.images for part in parts])
    np.testing.assert_array_equal(
        np.sort(found.reshape(433, -1), axis=0),
        np.sort(made.id_test.images.reshape(433, -1), axis=0),
    )
    assert splits.class_names == made.class_names
    assert splits.preprocessing.fixed_size == (32, 32)


def test_a_benchmark_on_disk_needs_its_id_sets_only(data_dir, tmp_path):
    os.symlink(data_dir / "tfds", tmp_path / "tfds")
    splits = id_splits.of_benchmark(
        "cifar10", PLAIN, 32, data_dir=tmp_path, share=0.3, skip_corrupt=True
    )
    assert len(splits.fit) == 25_000
    assert len(splits.calibration) == 3_000
    assert len(splits.check) == 7_000
    assert splits.calibration[0]["image"].shape == (32, 32, 3)
    assert splits.class_names[0] == "airplane"


def test_a_benchmark_without_its_id_sets_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="lacks its ID set") as error:
        id_splits.of_benchmark("cifar10", PLAIN, 32, data_dir=tmp_path)
    assert "id_train: looked for" in str(error.value)
    assert "id_test: looked for" in str(error.value)


def test_a_folder_is_split_and_the_user_warned(tmp_path):
    root = classes(tmp_path / "all", a=range(20), b=range(20, 40))
    splits = of_folders(root, num_classes=2, share=0.25)
    assert len(splits.calibration) == 10
    found = numbers(splits.fit) + numbers(splits.calibration)
    assert sorted(found) == list(range(40))
    assert splits.fit[0]["label"] == 0
    assert splits.class_names == ("a", "b")
    assert "in the order of the alphabet (a = 0, b = 1, ...)" in splits.remarks[0]
    assert "the network was trained on them" in splits.remarks[1]


def test_a_calibration_folder_leaves_the_other_whole(tmp_path):
    root = classes(tmp_path / "train", a=range(9), b=range(9))
    other = classes(tmp_path / "validation", b=range(50, 53))
    splits = of_folders(root, other, class_names=("a", "b"))
    assert len(splits.fit) == 18
    assert numbers(splits.calibration) == [50, 51, 52]
    assert splits.calibration[0]["label"] == 1  # the network's second class
    assert splits.check is None
    assert not splits.remarks


def test_two_folders_number_unnamed_classes_alike(tmp_path):
    root = classes(tmp_path / "train", car=range(9), plane=range(9))
    other = classes(tmp_path / "validation", airplane=range(9), car=range(9))
    splits = of_folders(root, other, num_classes=2)
    assert splits.class_names == ("car", "plane")
    assert "label" in splits.fit[0]
    assert "label" not in splits.calibration[0]
    assert "no classes: airplane; classes without a folder: plane" in splits.remarks[1]


@pytest.mark.parametrize("nested", [True, False])
def test_no_image_is_fitted_and_calibrated_on(tmp_path, nested):
    root = classes(tmp_path / "train", a=range(9), b=range(9))
    other = root / "a"
    if not nested:
        other = tmp_path / "copy"
        other.mkdir()
        os.symlink(root / "a" / "0000.png", other / "link.png")
    count = 9 if nested else 1
    with pytest.raises(ValueError, match=f"{count} image.s. are in both"):
        of_folders(root, other, num_classes=2)


@pytest.mark.parametrize(
    "options",
    [{"class_names": ("x", "y", "z")}, {"num_classes": 3}],
    ids=["other names", "another number"],
)
def test_folders_that_are_not_the_networks_classes_carry_no_labels(tmp_path, options):
    root = classes(tmp_path / "all", a=range(9), b=range(9))
    options = {"num_classes": 3, **options}
    splits = of_folders(root, **options)
    assert "label" not in splits.fit[0]
    assert "not named as the network's 3 classes" in splits.remarks[0]
    assert splits.class_names == options.get("class_names", ())


def test_images_without_folders_carry_no_labels(tmp_path):
    splits = of_folders(brightness.folder(tmp_path / "all", range(10)), num_classes=1)
    assert "label" not in splits.fit[0]


def test_images_of_any_size_become_the_networks(tmp_path):
    brightness.folder(tmp_path / "all", [1, 2, 3], (9, 30))
    splits = of_folders(tmp_path / "all")
    shapes = {splits.fit[i]["image"].shape for i in range(2)}
    assert shapes == {(SIZE, SIZE, 3)}
    own = jood.Preprocessing((0.0,) * 3, (1.0,) * 3, resize=6, crop=5)
    assert id_splits.sized(own, 5) is own
    with pytest.raises(ValueError, match="--crop"):
        id_splits.sized(jood.Preprocessing((0.0,), (1.0,), resize=6), 6)
