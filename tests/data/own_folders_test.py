"""Folders of one's own images: as training sets, as a benchmark, with hints."""

import os

from helpers import brightness
import numpy as np
import pytest

import jood
from jood.data import benchmarks
from jood.data import id_splits
from jood.data import own_folders
from jood.training import config as config_lib
from jood.training import data as data_lib

FIT = brightness.FIT
SIZE = brightness.SIZE


def classes(root, **levels):
    for name, values in levels.items():
        brightness.folder(root / name, values)
    return root


def numbers(source):
    return [int(source[i]["image"][0, 0, 0]) for i in range(len(source))]


@pytest.fixture
def photos(tmp_path):
    classes(tmp_path / "train", cat=range(20), dog=range(20, 40))
    classes(tmp_path / "val", dog=range(50, 53))
    brightness.folder(tmp_path / "other" / "deep", [100, 101], (9, 5))
    return tmp_path


def test_a_list_of_ood_sets_holds_names_and_folders():
    found = own_folders.split_ood(["near", "a=photos/a", "b=c=d"])
    assert found == (["near"], {"a": "photos/a", "b": "c=d"})
    assert own_folders.split_ood(None) == ([], {})
    for bad in ("=photos", "a="):
        with pytest.raises(ValueError, match="is name=folder"):
            own_folders.split_ood([bad])
    for twice in (["a=x", "a=y"], ["a", "a=y"], ["id_test=x"]):
        with pytest.raises(ValueError, match="two sets called"):
            own_folders.split_ood(twice)


def benchmark(photos, **ood):
    splits = id_splits.of_folders(
        photos / "train", photos / "val", FIT, SIZE, class_names=("cat", "dog")
    )
    return own_folders.benchmark(splits, ood, SIZE)


def test_folders_are_a_benchmark_like_others(photos):
    np.savez(photos / "b.npz", images=np.full((3, 7, 7, 3), 9, np.uint8))
    made = benchmark(photos, a=photos / "other", b=photos / "b.npz")
    assert made.name == "folders"
    assert made.class_names == ("cat", "dog")
    assert len(made.id_train) == 40
    assert made.id_test[0]["label"] == 1
    assert numbers(made.ood["a"]) == [100, 101]
    assert made.ood["b"][0]["image"].shape == (SIZE, SIZE, 3)
    assert "label" not in made.ood["a"][0]
    assert "40, 3 others are scored" in made.protocol


def test_an_image_is_id_or_ood(photos):
    os.symlink(photos / "val" / "dog" / "0000.png", photos / "other" / "link.png")
    with pytest.raises(ValueError, match=r"of the OOD set mine .* ID images"):
        benchmark(photos, mine=photos / "other")


def open_data(photos, images="train", validation="val", **options):
    of_the_call = ("data_dir", "in_memory")
    given = {name: options.pop(name) for name in of_the_call if name in options}
    config = config_lib.TrainConfig(
        images=str(photos / images),
        validation=validation and str(photos / validation),
        image_size=8,
        **options,
    )
    return data_lib.open_data(config, **given)


def test_a_run_trains_on_the_folders_that_its_configuration_names(photos):
    data = open_data(photos)
    assert data.name == "folders"
    assert data.class_names == ("cat", "dog")
    assert data.folders == (str(photos / "train"), str(photos / "val"))
    assert len(data.train) == 40
    assert numbers(data.validation) == [50, 51, 52]
    assert data.validation[0]["label"] == 1
    assert data.preprocessing.mean == (0.485, 0.456, 0.406)
    assert data.image_shape == (8, 8, 3)
    held = open_data(photos, validation="", hold_out=4)
    assert (len(held.train), len(held.validation)) == (30, 10)
    with pytest.raises(ValueError, match=r"--data_dir=.* is for benchmarks"):
        open_data(photos, data_dir=photos)
    with pytest.raises(ValueError, match=r"are in both .* nothing is valid"):
        open_data(photos, validation="train")


def test_images_need_not_be_read_when_a_run_is_opened(photos):
    (photos / "train" / "dog" / "0000.png").write_bytes(b"damaged")
    assert len(open_data(photos, in_memory=False).train) == 40
    with pytest.raises(ValueError, match=r"0000\.png"):
        open_data(photos)


def test_a_configuration_names_folders_or_a_benchmark():
    assert config_lib.TrainConfig().benchmark == "digits"
    assert config_lib.TrainConfig(images="x").benchmark == "folders"
    for bad in ({"images": "x", "benchmark": "digits"}, {"benchmark": "folders"}):
        with pytest.raises(ValueError, match="instead of a benchmark's"):
            config_lib.TrainConfig(**bad)
    for bad in ({}, {"images": "x", "hold_out": 3}):
        with pytest.raises(ValueError, match="validation needs images"):
            config_lib.TrainConfig(validation="y", **bad)


@pytest.mark.parametrize("name", ["digits", "digits_tiny"])
def test_a_benchmark_that_reads_nothing_takes_no_folder(name, photos):
    with pytest.raises(ValueError, match=r"reads nothing from .*--images=") as error:
        benchmarks.get(name, data_dir=photos)
    assert str(photos) in str(error.value)
    config = config_lib.TrainConfig(benchmark=name)
    with pytest.raises(ValueError, match="reads nothing from disk"):
        data_lib.open_data(config, data_dir=photos)


# Hints


@pytest.mark.parametrize("beside", [True, False])
def test_the_parent_of_the_class_folders_is_noticed(photos, beside):
    if not beside:  # images of no class, where docs/folders.md has them
        os.rename(photos / "other", photos.parent / f"{photos.name}_other")
    with pytest.raises(ValueError, match=r"parts of a data set: give one of") as error:
        open_data(photos, images=".", validation="")
    assert str(photos / "train") in str(error.value)
    options = {"class_names": ("cat", "dog"), "num_classes": 2}
    splits = id_splits.of_folders(photos, None, FIT, SIZE, **options)
    assert f"give one of {photos / 'train'}, {photos / 'val'}." in splits.remarks[0]


def test_a_folder_around_the_class_folders_is_noticed(photos, tmp_path):
    around = tmp_path / "photos"
    around.mkdir()
    os.rename(photos / "train", around / "all")
    options = {"class_names": ("cat", "dog"), "num_classes": 2}
    splits = id_splits.of_folders(around, None, FIT, SIZE, **options)
    assert f"folders are in {around / 'all'}: give that." in splits.remarks[0]


def test_another_case_of_a_class_name_is_noticed(photos):
    os.rename(photos / "val" / "dog", photos / "val" / "Dog")
    with pytest.raises(ValueError, match="case matters: rename Dog to dog"):
        open_data(photos)
    options = {"class_names": ("cat", "dog"), "num_classes": 2}
    splits = id_splits.of_folders(photos / "val", None, FIT, SIZE, **options)
    assert "rename Dog to dog." in splits.remarks[0]


def test_images_without_class_folders_cannot_be_trained_on(photos):
    with pytest.raises(ValueError, match="a folder per class, such as"):
        open_data(photos, images="other/deep", validation="")


def test_folders_of_a_gray_network_are_gray(photos):
    config = config_lib.TrainConfig(images=str(photos / "train"), image_size=8)
    gray = jood.Preprocessing((0.5,), (0.25,))
    data = data_lib.open_data(config, preprocessing=gray)
    assert data.image_shape == data.train[0]["image"].shape == (8, 8, 1)
