"""OpenOOD's benchmarks, on tiny folders laid out as its downloader leaves them."""

import hashlib

from helpers import layouts
import numpy as np
import pytest

from jood.data import benchmarks
from jood.data.benchmarks import check
from jood.data.benchmarks import on_disk
from jood.data.benchmarks import wordnet_ids

NAMES = [name for name in benchmarks.names() if name.startswith("openood_")]
CIFAR10 = benchmarks.describe("openood_cifar10")
IMAGENET200 = benchmarks.describe("openood_imagenet200")


def test_the_four_benchmarks_have_the_groups_of_version_1_5():
    cifar_far = ("mnist", "svhn", "textures", "places365")
    large = {
        "near": ("ssb_hard", "ninco"),
        "far": ("inaturalist", "textures", "openimage_o"),
    }
    assert {name: benchmarks.describe(name).groups for name in NAMES} == {
        "openood_cifar10": {"near": ("cifar100", "tin"), "far": cifar_far},
        "openood_cifar100": {"near": ("cifar10", "tin"), "far": cifar_far},
        "openood_imagenet200": large,
        "openood_imagenet": large,
    }
    shifted = {n: [one.name for one in benchmarks.describe(n).shifted] for n in NAMES}
    assert shifted["openood_cifar10"] == shifted["openood_cifar100"] == []
    assert shifted["openood_imagenet"] == ["imagenet_v2", "imagenet_c", "imagenet_r"]
    assert shifted["openood_imagenet200"] == shifted["openood_imagenet"]


def test_validation_and_test_images_are_the_usual_test_images():
    whole = {"cifar10": 10_000, "cifar100": 10_000, "imagenet": 50_000}
    for name, size in whole.items():
        sets = benchmarks.describe(f"openood_{name}").sets
        assert sets["id_test"].size + sets["id_validation"].size == size
    assert IMAGENET200.sets["id_test"].size == 200 * 45


def test_the_classes_are_those_that_are_published():
    digest = hashlib.sha256("\n".join(wordnet_ids.IMAGENET_1K).encode()).hexdigest()
    assert digest == benchmarks.describe("imagenet").classes_sha256
    classes = wordnet_ids.IMAGENET_200
    assert len(classes) == 200
    assert list(classes) == sorted(classes)
    # Labels of three lines of OpenOOD's lists of ImageNet-200.
    assert wordnet_ids.IMAGENET_1K[617] == classes[147]
    assert (classes[77], classes[199]) == ("n02130308", "n12267677")


def test_preprocessing_is_the_evaluators():
    sizes = {name: benchmarks.describe(name).image_size for name in NAMES}
    assert sizes == dict(zip(NAMES, (32, 32, 224, 224), strict=True))
    own = {n: benchmarks.describe(n).preprocessing["openood"] for n in NAMES}
    assert own["openood_cifar10"].std == (0.2470, 0.2435, 0.2616)
    assert own["openood_cifar100"].mean == (0.5071, 0.4867, 0.4408)
    assert own["openood_imagenet"].resize == 256


def test_a_set_without_images_is_absent_though_its_list_is_there(tmp_path, caplog):
    layouts.openood_cifar10(tmp_path)
    found = benchmarks.get("openood_cifar10", data_dir=tmp_path)
    assert list(found.ood) == ["cifar100", "tin", "mnist", "svhn", "textures"]
    assert list(found.absent) == ["places365"]
    assert "with" in found.absent["places365"]
    assert str(tmp_path / "images_classic/places365") in found.absent["places365"]
    assert found.groups == CIFAR10.groups
    assert found.class_names == CIFAR10.class_names
    assert [found.id_test[i]["label"] for i in range(3)] == [0, 2, 9]
    assert found.id_test[0]["image"].shape == (32, 32, 3)
    assert found.incomplete["id_test"] == "found 3 of 9,000"


def test_a_list_that_names_missing_images_says_how_many_and_which_first(tmp_path):
    layouts.openood_cifar10(tmp_path)
    for index in (1, 2):
        (tmp_path / f"images_classic/svhn/test/{index}.png").unlink()
    with pytest.raises(FileNotFoundError) as error:
        benchmarks.get("openood_cifar10", data_dir=tmp_path)
    assert "2 of the 3 files" in str(error.value)
    assert "test_svhn.txt" in str(error.value)
    assert "svhn/test/1.png, svhn/test/2.png." in str(error.value)
    finding = check.inspect_set(CIFAR10, "svhn", tmp_path)
    assert finding.state == check.BROKEN
    assert "2 of the 3 files" in finding.problem


def test_the_check_knows_the_roles_of_all_sets(tmp_path):
    layouts.openood_cifar10(tmp_path)
    found = {one.name: one for one in check.inspect(CIFAR10, tmp_path)}
    assert found["tin"].role == "OOD, near"
    assert found["mnist"].role == "OOD"
    assert found["id_validation"].role == "validation ID"
    assert found["ood_validation"].role == "validation OOD"
    assert found["ood_validation"].count == 3
    assert check.runs(list(found.values()))
    roles = [one.role for one in check.inspect(IMAGENET200, tmp_path)]
    assert roles.count("shifted ID") == 3
    # What only validates does not make a benchmark run.
    few = [one for one in found.values() if not one.role.startswith("OOD")]
    assert not check.runs(few)


def test_validation_sets_are_opened_apart(tmp_path):
    layouts.openood_cifar10(tmp_path)
    inside, outside = benchmarks.get_validation("openood_cifar10", data_dir=tmp_path)
    assert [inside[i]["label"] for i in range(3)] == [0, 2, 9]
    assert "label" not in outside[0]
    (tmp_path / "benchmark_imglist/cifar10/val_tin.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"(?s)validates on.*ood_validation"):
        benchmarks.get_validation("openood_cifar10", data_dir=tmp_path)
    with pytest.raises(ValueError, match="cifar10 has no validation sets"):
        benchmarks.get_validation("cifar10", data_dir=tmp_path)


@pytest.fixture
def large(tmp_path):
    """ImageNet-200 with two of its classes, and images that are 40 x 30."""

    def write(name, paths, labels=None):
        layouts.openood_list(tmp_path, name, paths, labels, "images_largescale")

    for split in ("train", "test"):
        paths = [f"imagenet_1k/{split}/{i}.JPEG" for i in range(2)]
        write(f"imagenet200/{split}_imagenet200", paths, [0, 199])
    write("imagenet200/test_imagenet200_c", ["imagenet_c/frost/2/0.png"], [7])
    write("imagenet200/test_imagenet200_r", ["imagenet_r/n01443537/art_0.png"], [0])
    # The list of ImageNet-1k serves where ImageNet-200 has no copy.
    write("imagenet/test_ninco", ["ninco/plant/0.png"])
    return tmp_path


def test_shifted_sets_are_labelled_and_imagenet_c_is_shown_whole(large):
    image = np.zeros((224, 224, 3), np.uint8)
    image[:8] = 255  # a crop would lose them
    layouts.Image.fromarray(image).save(
        large / "images_largescale/imagenet_c/frost/2/0.png"
    )
    found = benchmarks.get("openood_imagenet200", data_dir=large)
    assert list(found.shifted) == ["imagenet_c", "imagenet_r"]
    assert list(found.absent_shifted) == ["imagenet_v2"]
    assert list(found.ood) == ["ninco"]
    assert "imagenet_v2" not in found.absent
    shown = found.shifted["imagenet_c"][0]
    assert shown["label"] == 7
    np.testing.assert_array_equal(shown["image"], image)
    assert found.shifted["imagenet_r"][0]["image"].shape == (224, 224, 3)
    smaller = benchmarks.get("openood_imagenet200", data_dir=large, image_size=112)
    assert smaller.shifted["imagenet_c"][0]["image"].shape == (112, 112, 3)


def test_named_sets_alone_are_opened(large):
    found = benchmarks.get("openood_imagenet200", data_dir=large, ood=["ninco"])
    assert not found.shifted
    assert not found.absent_shifted
    named = ["ninco", "imagenet_r"]
    found = benchmarks.get("openood_imagenet200", data_dir=large, ood=named)
    assert (list(found.ood), list(found.shifted)) == (["ninco"], ["imagenet_r"])
    with pytest.raises(ValueError, match="near: imagenet_r"):
        benchmarks.get("openood_imagenet200", data_dir=large, ood=["imagenet_rr"])


def test_the_lists_are_found_below_the_prefixes_too(tmp_path):
    layouts.openood_cifar10(tmp_path / "ood_data")
    place = on_disk.find(CIFAR10.sets["mnist"], tmp_path)
    assert place is not None
    assert place.path.is_relative_to(tmp_path / "ood_data")
