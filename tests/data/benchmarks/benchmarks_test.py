"""The papers' benchmarks: what they consist of, and opening what is present."""

import dataclasses
import hashlib

from helpers import layouts
import numpy as np
import pytest

import jood
from jood.core.preprocessing import Magnified
from jood.data import benchmarks
from jood.data.benchmarks import choose_preprocessing
from jood.data.benchmarks import on_disk
from jood.data.benchmarks import opening
from jood.data.benchmarks import set_spec
from jood.data.benchmarks import small_sets
from jood.data.sources import decoding
from jood.data.sources import svhn
from jood.methods import preset_values

PAPERS = [name for name in benchmarks.names() if not benchmarks.is_embedded(name)]
OWN = jood.Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
IDS = [f"n{number:08}" for number in range(100)]  # stand for WordNet ids

# Sizes as the papers and the sets' publishers give them.
SIZES = {
    "cifar10": {"id_train": 50_000, "id_test": 10_000, "svhn": 10_000,
                "lsun_c": 10_000, "lsun_r": 10_000, "isun": 8_925, "textures": 5_640,
                "places365": 10_000},
    "cifar10_near": {"id_test": 10_000, "cifar100_test": 10_000},
    "imagenet": {"id_train": 1_281_167, "id_test": 50_000, "inaturalist": 10_000,
                 "sun": 10_000, "places": 10_000, "textures": 5_640},
    "imagenet_near": {"ssb_hard": 49_000},
    "imagenet_hard": {"imagenet_o": 2_000, "openimage_o": 17_632, "ssb_hard": 49_000,
                      "ninco": 5_879},
    "imagenet100": {"id_train": None, "id_test": 5_000},
    "waterbirds": {"id_train": 4_795, "id_test": 5_794, "spurious_places": None},
    "coco_detection": {"id_train": 118_287, "id_test": 5_000, "sun": 10_000},
    "ade20k_segmentation": {"id_train": 20_210, "id_test": 2_000},
}  # fmt: skip


@pytest.mark.parametrize("name", benchmarks.names())
def test_every_benchmark_says_what_it_is(name):
    spec = benchmarks.describe(name)
    assert spec.name == name
    assert spec.title
    assert spec.paper
    assert spec.protocol
    for one in spec.sets.values():
        assert one.title
        assert one.url.startswith("http")
        assert one.licence
        assert one.places or benchmarks.is_embedded(name)
        assert not one.name.startswith("id_")
    ood = [one.name for one in (*spec.ood, *spec.extra)]
    assert len(set(ood)) == len(ood)
    assert set(spec.near) <= set(ood)
    first = next(iter(spec.preprocessing.values()))
    assert first.fixed_size in (None, (spec.image_size, spec.image_size))
    assert preset_values.values(name)["k"]


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_the_published_ones(name):
    sets = benchmarks.describe(name).sets
    assert {key: sets[key].size for key in SIZES[name]} == SIZES[name]


def test_the_papers_sets_come_first_and_further_ones_after():
    spec = benchmarks.describe("cifar100")
    assert [one.name for one in spec.ood] == [
        "svhn", "lsun_c", "lsun_r", "isun", "textures", "places365",
    ]  # fmt: skip
    assert [one.name for one in spec.extra] == [
        "cifar10_test", "tin_resize", "tin_crop", "dtd10", "gtsrb", "chars74k",
        "scene15_gray", "mnist",
    ]  # fmt: skip
    assert spec.near == ("cifar10_test",)


def test_embedded_benchmarks_are_what_they_are_described_as():
    spec, made = benchmarks.describe("digits_tiny"), benchmarks.get("digits_tiny")
    sources = {"id_train": made.id_train, "id_test": made.id_test, **made.ood}
    assert {name: len(source) for name, source in sources.items()} == {
        name: one.size for name, one in spec.sets.items()
    }
    assert list(sources) == list(spec.sets)
    assert (made.class_names, made.near) == (spec.class_names, spec.near)
    assert made.preprocessing == spec.preprocessing["digits"]
    assert not made.absent
    assert not made.incomplete


def test_an_embedded_benchmark_takes_sets_and_a_networks_preprocessing():
    own = dataclasses.replace(OWN, resize=40, crop=36)
    made = benchmarks.get("digits_tiny", ood=["uniform", "near"], preprocessing=own)
    assert list(made.ood) == ["uniform", "near"]
    assert made.image_size == 36
    assert made.preprocessing(made.ood["near"][0]["image"][None]).shape[1] == 36
    plain = benchmarks.get("digits_tiny", preprocessing=OWN, ood=["near"])
    assert (plain.image_size, plain.preprocessing) == (32, OWN)
    with pytest.raises(ValueError, match="near: near"):
        benchmarks.get("digits_tiny", ood=["neat"])


def test_real_cifar10_opens_with_what_is_there(data_dir):
    found = benchmarks.get("cifar10", data_dir=data_dir)
    assert (len(found.id_train), len(found.id_test)) == (25_000, 10_000)
    assert list(found.ood) == [
        "cifar100_test", "tin_resize", "tin_crop", "dtd10", "gtsrb", "chars74k",
        "scene15_gray", "mnist",
    ]  # fmt: skip
    assert list(found.absent) == list(found.paper)
    assert str(data_dir / "svhn") in found.absent["svhn"]
    assert "test_32x32.mat" in found.absent["svhn"]
    assert found.incomplete == {
        "id_train": "found 25,000 of 50,000",
        "cifar100_test": "found 5,000 of 10,000",
    }
    labels = (data_dir / "tfds/cifar10/3.0.2/label.labels.txt").read_text().split()
    assert found.class_names == tuple(labels)
    for source in found.ood.values():
        assert set(source[0]) == {"image"}
        assert source[0]["image"].shape == (32, 32, 3)
    assert 0 <= found.id_test[7]["label"] < 10


def test_without_training_images_a_benchmark_opens_until_they_are_read(data_dir):
    spec = benchmarks.describe("cifar10")
    nowhere = dataclasses.replace(spec.id_train, places=())
    lacking = dataclasses.replace(spec, id_train=nowhere)
    found = opening.open_benchmark(lacking, data_dir=data_dir, ood=["mnist"])
    assert found.class_names == spec.class_names
    assert len(found.id_test) == 10_000
    assert len(found.id_train) == 0
    with pytest.raises(FileNotFoundError, match=r"(?s)lacks its ID set.*id_train"):
        found.id_train[0]


def test_only_ood_images_are_magnified(data_dir):
    plain, larger = (
        benchmarks.get("cifar10", data_dir=data_dir, ood=["mnist"], ood_zoom=zoom)
        for zoom in (1, 2)
    )
    assert larger.preprocessing == plain.preprocessing
    np.testing.assert_array_equal(larger.id_test[0]["image"], plain.id_test[0]["image"])
    image = plain.ood["mnist"][0]["image"]
    expected = Magnified.of(plain.preprocessing, 2).fit_image(image)
    assert not np.array_equal(expected, image)
    np.testing.assert_array_equal(larger.ood["mnist"][0]["image"], expected)
    digits = benchmarks.get("digits_tiny", ood=["near"], ood_zoom=2)
    shown = Magnified.of(digits.preprocessing, 2).fit_image(
        benchmarks.get("digits_tiny").ood["near"][0]["image"]
    )
    np.testing.assert_array_equal(digits.ood["near"][0]["image"], shown)


def test_real_cifar100_and_its_class_names(data_dir, monkeypatch):
    monkeypatch.setenv(on_disk.ENVIRONMENT, str(data_dir))
    found = benchmarks.get("cifar100")
    assert (len(found.id_train), len(found.id_test)) == (5_000, 5_000)
    assert len(found.ood["cifar10_test"]) == 10_000
    labels = (data_dir / "tfds/cifar100/3.0.2/label.labels.txt").read_text().split()
    assert found.class_names == tuple(labels)
    assert "cifar10_test" not in found.incomplete


def test_real_images_at_another_size(data_dir):
    names = ["cifar100_test", "mnist"]
    for options in ({"preprocessing": "ssod"}, {"image_size": 224}):
        found = benchmarks.get("cifar10", data_dir=data_dir, ood=names, **options)
        assert list(found.ood) == names
        assert found.image_size == 224
        for source in (found.id_train, found.id_test, *found.ood.values()):
            assert source[0]["image"].shape == (224, 224, 3)
        small = benchmarks.get("cifar10", data_dir=data_dir, ood=names)
        for key in names:
            large = found.ood[key]
            assert large.fingerprint() != small.ood[key].fingerprint()


def test_a_networks_own_statistics_keep_the_benchmarks_geometry():
    spec = benchmarks.describe("imagenet")
    chosen = choose_preprocessing.for_files(spec, OWN, None)
    assert chosen == dataclasses.replace(OWN, resize=256, crop=224)
    own = dataclasses.replace(OWN, resize=(64, 64))
    assert choose_preprocessing.for_files(spec, own, 64) == own
    assert choose_preprocessing.for_files(spec, "himplos", None).resize == (256, 256)
    # Another size shows the network the same part of the image.
    assert choose_preprocessing.for_files(spec, None, 112).resize == 128
    half = choose_preprocessing.for_files(spec, "himplos", 112)
    assert (half.resize, half.crop) == ((128, 128), 112)
    assert choose_preprocessing.for_files(spec, "feature_sim", 96).fixed_size == (
        96,
        96,
    )


@pytest.mark.parametrize(
    ("preprocessing", "image_size", "message"),
    [
        (dataclasses.replace(OWN, resize=(64, 64)), 32, "makes images of 64"),
        (dataclasses.replace(OWN, resize=(64, 32)), None, "squares of one size"),
        (dataclasses.replace(OWN, resize=64), None, "squares of one size"),
        ("himplo", None, "near: himplos"),
    ],
)
def test_a_preprocessing_that_does_not_fit_is_refused(
    preprocessing, image_size, message
):
    with pytest.raises(ValueError, match=message):
        choose_preprocessing.for_files(
            benchmarks.describe("imagenet"), preprocessing, image_size
        )


def test_folders_as_the_repositories_lay_them_out(tmp_path, caplog):
    layouts.waterbirds(tmp_path)
    layouts.svhn(tmp_path, [1, 2, 10])
    layouts.ood_folder(tmp_path, "lsun_r", prefix="ood_datasets")
    layouts.ood_folder(tmp_path, "spurious_places", 3)
    with caplog.at_level("WARNING"):
        found = benchmarks.get("waterbirds", data_dir=tmp_path)
    assert [int(found.id_train[i]["label"]) for i in range(2)] == [0, 1]
    assert [int(found.id_test[i]["label"]) for i in range(3)] == [1, 0, 0]
    assert found.class_names == ("landbird", "waterbird")
    assert {name: len(source) for name, source in found.ood.items()} == {
        "svhn": 3,
        "lsun_r": 2,
        "spurious_places": 3,
    }
    for source in (found.id_test, *found.ood.values()):
        assert source[0]["image"].shape == (224, 224, 3)
        assert ("label" in source[0]) == (source is found.id_test)
    assert list(found.absent) == ["isun"]
    assert found.incomplete["id_test"] == "found 3 of 5,794"
    assert "spurious_places" not in found.incomplete  # no size is published
    assert "ABSENT: isun" in caplog.text
    assert "id_test is INCOMPLETE" in caplog.text
    assert len(found.id_test.fingerprint()) > 64


def test_unreadable_images_raise_or_are_skipped(tmp_path):
    folder = layouts.waterbirds(tmp_path)
    layouts.ood_folder(tmp_path, "isun")
    (folder / "003.Bird/3.png").write_bytes(b"no image")  # the first of id_test
    found = benchmarks.get("waterbirds", data_dir=tmp_path)
    with pytest.raises(decoding.ImageError, match=r"3\.png"):
        found.id_test[0]
    found = benchmarks.get("waterbirds", data_dir=tmp_path, skip_corrupt=True)
    assert "3.png" in found.id_test[0]["skipped"]


@pytest.mark.parametrize(
    ("break_it", "error", "message"),
    [
        (lambda f: (f / "metadata.csv").write_text("a,b\n"), ValueError, "lacks the"),
        (
            lambda f: (f / "metadata.csv").write_text("img_filename,y,split\n"),
            ValueError,
            "got 0 images",
        ),
        (lambda f: (f / "000.Bird/0.png").unlink(), FileNotFoundError, "missing"),
    ],
)
def test_a_broken_list_of_waterbirds_is_named(tmp_path, break_it, error, message):
    break_it(layouts.waterbirds(tmp_path))
    layouts.ood_folder(tmp_path, "isun")
    with pytest.raises(error, match=message):
        benchmarks.get("waterbirds", data_dir=tmp_path)


def test_missing_sets_say_what_to_put_where(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError) as error:
        benchmarks.get("cifar10", data_dir=tmp_path)
    assert str(tmp_path / "tfds/cifar10") in str(error.value)
    assert "--benchmark=cifar10 --check" in str(error.value)
    layouts.waterbirds(tmp_path)
    with pytest.raises(FileNotFoundError, match="none of its OOD sets") as error:
        benchmarks.get("waterbirds", data_dir=tmp_path)
    assert str(tmp_path / "iSUN") in str(error.value)
    monkeypatch.delenv(on_disk.ENVIRONMENT, raising=False)
    with pytest.raises(FileNotFoundError, match="JOOD_DATA_DIR"):
        benchmarks.get("imagenet")
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        benchmarks.get("imagenet", data_dir=tmp_path / "nowhere")


def test_unknown_sets_and_options_are_refused(tmp_path):
    with pytest.raises(ValueError, match="near: textures"):
        benchmarks.get("imagenet", data_dir=tmp_path, ood=["texture"])
    with pytest.raises(ValueError, match="at least one"):
        benchmarks.get("imagenet", data_dir=tmp_path, ood=[])
    with pytest.raises(ValueError, match="takes no options"):
        benchmarks.get("imagenet", data_dir=tmp_path, seed=3)


@pytest.fixture
def imagenet(tmp_path):
    """101 classes of ImageNet, of which a list names the last 100, unordered."""
    for split in ("train", "val"):
        layouts.class_folders(tmp_path / "imagenet" / split, ["a_class", *IDS])
    layouts.ood_folder(tmp_path, "textures")
    (tmp_path / "ImageNet100").mkdir()
    lines = [f"{name} a remark\n" for name in reversed(IDS)]
    (tmp_path / "ImageNet100/class_list.txt").write_text("".join(lines))
    return tmp_path


def test_imagenet100_reads_the_classes_of_its_list(imagenet):
    found = benchmarks.get("imagenet100", data_dir=imagenet)
    assert (len(found.id_train), len(found.id_test)) == (100, 100)
    assert found.class_names == tuple(IDS)  # sorted, as networks are trained
    example = found.id_test[5]
    assert example["label"] == 5
    assert round(example["image"].mean()) == 6  # a_class is left out
    assert "NOT those of the published imagenet100" in found.protocol
    spec = benchmarks.describe("imagenet100")
    digest = hashlib.sha256("\n".join(IDS).encode()).hexdigest()
    spec = dataclasses.replace(spec, classes_sha256=digest)
    assert opening.class_names(spec, tuple(IDS), imagenet) == (tuple(IDS), "")


def test_class_names_come_from_the_list_of_synsets(imagenet):
    mapping = "".join(f"{name} class {name[-2:]}, other\n" for name in IDS[1:])
    (imagenet / "imagenet/LOC_synset_mapping.txt").write_text(mapping)
    found = benchmarks.get("imagenet100", data_dir=imagenet)
    assert found.class_names[:3] == (IDS[0], "class 01", "class 02")


def test_wrong_classes_are_refused(imagenet):
    with pytest.raises(ValueError, match="has 1000 classes, found 101"):
        benchmarks.get("imagenet", data_dir=imagenet, ood=["textures"])
    (imagenet / "ImageNet100/class_list.txt").write_text(f"{IDS[0]}\n{IDS[0]}\n")
    with pytest.raises(ValueError, match="each class once"):
        benchmarks.get("imagenet100", data_dir=imagenet)
    spec = benchmarks.describe("cifar10")
    with pytest.raises(ValueError, match="are called"):
        opening.class_names(spec, ("cat", "dog"), imagenet)


def test_detectors_backbones_have_no_labels(tmp_path):
    for split in ("train2017", "val2017"):
        layouts.image(tmp_path / "coco" / split / "1.png")
    layouts.ood_folder(tmp_path, "inaturalist")
    found = benchmarks.get("coco_detection", data_dir=tmp_path)
    assert found.class_names == ()
    assert "label" not in found.id_train[0]
    assert list(found.absent) == ["sun", "places", "textures"]


def test_svhn_takes_the_first_images_of_each_digit(tmp_path, monkeypatch):
    monkeypatch.setattr(svhn, "PER_DIGIT", 2)
    layouts.svhn(tmp_path, [1, 10, 1, 1, 10, 3, 10])
    images = svhn.read(tmp_path / "svhn").images
    np.testing.assert_array_equal(images[:, 5, 7, 2], [0, 1, 2, 4, 5])
    layouts.svhn(tmp_path, [3], "selected_test_32x32.mat")
    assert len(svhn.read(tmp_path / "svhn")) == 1
    (tmp_path / "svhn/selected_test_32x32.mat").write_bytes(b"no matrix")
    with pytest.raises(ValueError, match="cannot read SVHN"):
        svhn.read(tmp_path / "svhn")
    with pytest.raises(FileNotFoundError, match=r"test_32x32\.mat"):
        svhn.read(tmp_path)


def test_the_newest_finished_version_is_read(tmp_path):
    for version in ("3.9.1", "3.10.0", "incomplete.AB_4.0.0"):
        folder = tmp_path / "tfds/cifar10" / version
        folder.mkdir(parents=True)
        (folder / "dataset_info.json").touch()
    (tmp_path / "tfds/cifar10/5.0.0").mkdir()  # without a description
    found = on_disk.find(small_sets.CIFAR10_TEST, tmp_path)
    assert found.path.name == "3.10.0"


def test_an_empty_folder_is_no_set(tmp_path):
    (tmp_path / "LSUN").mkdir()
    assert on_disk.find(small_sets.LSUN_C, tmp_path) is None


def test_records_refuse_what_makes_no_sense():
    with pytest.raises(ValueError, match="kind must be one of"):
        set_spec.Place("zip", "x")
    with pytest.raises(ValueError, match="64 or 'md5:' and 32"):
        set_spec.Archive("http://x", "md5:abc")
    spec = benchmarks.describe("cifar10")
    with pytest.raises(ValueError, match="10 class names, expected 100"):
        dataclasses.replace(spec, num_classes=100)
    with pytest.raises(ValueError, match=r"near sets that cifar10 lacks: \['ninco"):
        dataclasses.replace(spec, near=("ninco",))


def test_a_benchmark_from_outside_is_known_by_name_and_to_the_presets(monkeypatch):
    for module, table in ((benchmarks, "_SPECS"), (preset_values, "BENCHMARKS")):
        monkeypatch.setattr(module, table, dict(getattr(module, table)))
    spec = dataclasses.replace(
        benchmarks.describe("digits_tiny"),
        name="mine",
        open=opening.made_by(
            lambda **options: benchmarks.get("digits_tiny", **options)
        ),
    )
    benchmarks.register(spec)
    assert benchmarks.names()[-1] == "mine"
    assert benchmarks.describe("mine") is spec
    opened = benchmarks.get("mine", ood=["near"])
    assert (opened.name, list(opened.ood)) == ("mine", ["near"])
    assert not benchmarks.get_id_sets("mine").ood
    assert "k=0.2" in jood.presets.preset("fs_ta", "mine")
    assert "scale" in jood.presets.preset("fs_ta_msp", "mine")
    with pytest.raises(ValueError, match="a benchmark 'mine' already"):
        benchmarks.register(spec)
    own = preset_values.PresetValues({"k": "0.4"}, "net", {"other": {"k": "0.5"}})
    benchmarks.register(dataclasses.replace(spec, name="own", presets=own))
    assert jood.presets.preset("fs_ta", "own").startswith("ta(k=0.4)")
    assert jood.presets.preset("fs_ta", "own", "other9").startswith("ta(k=0.5)")


def test_a_benchmark_of_files_from_outside_is_opened_below_the_data_root(
    tmp_path, monkeypatch
):
    for module, table in ((benchmarks, "_SPECS"), (preset_values, "BENCHMARKS")):
        monkeypatch.setattr(module, table, dict(getattr(module, table)))
    for split in ("train", "test"):
        layouts.class_folders(tmp_path / "cats" / split, ["lion", "tiger"])
    layouts.ood_folder(tmp_path, "isun")

    def part(split):
        places = [set_spec.Place("folder", f"cats/{split}")]
        return set_spec.SetSpec(f"cats_{split}", "cats", 2, places, "http://x", "mine")

    spec = dataclasses.replace(
        benchmarks.describe("cifar10"),
        name="cats",
        id_train=part("train"),
        id_test=part("test"),
        class_names=("lion", "tiger"),
        num_classes=2,
        near=(),
        extra=(),
    )
    benchmarks.register(spec)
    found = benchmarks.get("cats", data_dir=tmp_path)
    assert (len(found.id_train), list(found.ood)) == (2, ["isun"])
    assert found.id_test[1]["label"] == 1
    assert not found.incomplete.keys() & {"id_train", "id_test"}
