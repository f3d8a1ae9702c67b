"""Sources in memory, in archives, of other libraries; skipping; fingerprints."""

import pickle

import numpy as np
from PIL import Image
import pytest

import jood
from jood.data import sources
from jood.data.sources import decoding
from jood.data.sources import subset
from jood.data.sources.hugging_face import HuggingFaceSource

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
LABELS = np.arange(6)


class Broken:
    """Six examples, some of which cannot be read."""

    def __init__(self, *bad, labels=LABELS, error=None):
        self.bad, self.labels = bad, labels
        self.error = error or decoding.ImageError("cut.png", "it is cut")

    def __len__(self):
        return 6

    def __getitem__(self, index):
        if index in self.bad:
            raise self.error
        example = {"image": IMAGES[index], "name": f"{index}.png"}
        if self.labels is not None:
            example["label"] = np.int32(self.labels[index])
        return example

    def fingerprint(self):
        return "six"


# Arrays


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[0], None, r"uint8 \[N, H, W, C\], got uint8 \(4, 5, 3\)"),
        (IMAGES.astype(np.float32), None, r"got float32"),
        (IMAGES, LABELS[:5], r"one label per image, got labels \(5,\) for 6"),
        (IMAGES, LABELS[:, None], r"one label per image, got labels \(6, 1\)"),
        (IMAGES, LABELS + 0.5, "labels must be integers, got float64"),
    ],
)
def test_bad_arrays_are_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        sources.ArraySource(images, labels)


@pytest.mark.parametrize("labels", [None, "y"])
def test_npz_archives(tmp_path, labels):
    np.savez(tmp_path / "a.npz", x=IMAGES, y=LABELS, z=np.array("a text"))
    source = sources.npz(tmp_path / "a.npz", "x", labels)
    np.testing.assert_array_equal(source.images, IMAGES)
    assert ("label" in source[0]) == (labels == "y")
    expected = sources.ArraySource(IMAGES, LABELS if labels else None)
    assert source.fingerprint() == expected.fingerprint()


def test_a_real_archive(data_dir):
    source = sources.npz(data_dir / "ood32/gtsrb.npz")
    assert source.images.shape == (1000, 32, 32, 3)
    assert source.labels is None


def test_bad_archives_are_named(tmp_path):
    path = tmp_path / "a.npz"

    def refused(message, **arrays):
        if arrays:
            np.savez(path, **arrays)
        with pytest.raises(ValueError, match=rf"from .*a\.npz: .*{message}"):
            sources.npz(path, labels="labels")

    refused(r"no \['labels'\], only \['images', 'x'\]", images=IMAGES, x=LABELS)
    refused("allow_pickle", images=IMAGES, labels=np.array([{}] * 6, object))
    refused("got float32", images=IMAGES.astype(np.float32), labels=LABELS)
    refused("one label per image", images=IMAGES, labels=LABELS[:2])
    blob = path.read_bytes()
    path.write_bytes(blob[: len(blob) // 2])
    refused("not a whole archive")
    path.write_bytes(blob.replace(blob[200:220], bytes(20)))
    refused("CRC")
    with path.open("wb") as file:
        np.save(file, IMAGES)
    refused("not a whole archive")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        sources.npz(tmp_path / "nowhere.npz")


# Skipping


@pytest.mark.parametrize("labels", [LABELS, None], ids=["labelled", "unlabelled"])
def test_an_unreadable_image_keeps_its_place(labels):
    source = sources.Skipping(Broken(0, 3, labels=labels))
    assert len(source) == 6
    np.testing.assert_array_equal(source[1]["image"], IMAGES[1])
    assert "skipped" not in source[1]
    for index in (0, 3):
        example = source[index]
        assert example["skipped"] == "cut.png: it is cut"
        assert example["image"].dtype == np.uint8
        np.testing.assert_array_equal(example["image"], np.zeros((4, 5, 3)))
        assert ("label" in example) == (labels is not None)


def test_only_unreadable_images_are_skipped():
    for error in (ValueError("a wrong label"), FileNotFoundError("gone")):
        with pytest.raises(type(error), match=str(error)):
            sources.Skipping(Broken(2, error=error))[2]


def test_nothing_readable_is_an_error():
    with pytest.raises(ValueError, match=r"none of the 6 .*first is cut\.png: it is"):
        sources.Skipping(Broken(*range(6)))[2]


def test_materialise_reads_all_and_refuses_what_has_no_place_in_an_array():
    source = sources.materialise(Broken())
    np.testing.assert_array_equal(source.images, IMAGES)
    np.testing.assert_array_equal(source.labels, LABELS)
    assert sources.materialise(Broken(labels=None)).labels is None
    with pytest.raises(ValueError, match=r"1 image\(s\) cannot be read.*cut\.png"):
        sources.materialise(sources.Skipping(Broken(2)))


# Fingerprints


def test_fingerprints_tell_sources_and_subsets_apart():
    source = Broken()
    kept, held = subset.hold_out(source, every=3)
    texts = [
        source.fingerprint(),
        sources.Skipping(source).fingerprint(),
        kept.fingerprint(),
        held.fingerprint(),
        subset.Subset(sources.ArraySource(IMAGES), kept.indices).fingerprint(),
    ]
    assert len(set(texts)) == len(texts)
    assert kept.fingerprint() == subset.hold_out(Broken(), every=3)[0].fingerprint()


@pytest.mark.parametrize("wrap", [subset.Subset, lambda s, _: sources.Skipping(s)])
def test_a_source_without_a_fingerprint_is_named(wrap):
    with pytest.raises(ValueError, match=r"a list, has no method fingerprint\(\)"):
        wrap([{"image": IMAGES[0]}], np.array([0])).fingerprint()


# Hugging Face


@pytest.fixture
def hugging_face():
    return pytest.importorskip("datasets")


def dataset(datasets, **columns):
    images = [Image.fromarray(image) for image in IMAGES]
    features = {
        "img": datasets.Image(),
        "label": datasets.ClassLabel(names=list("abcdef")),
        "text": datasets.Value("string"),
    }
    content = {"img": images, "label": LABELS, "text": list("uvwxyz")} | columns
    return datasets.Dataset.from_dict(content, datasets.Features(features))


def test_hugging_face_datasets(hugging_face):
    whole = dataset(hugging_face)
    source = HuggingFaceSource(whole, "img")
    assert len(source) == 6
    example = source[np.int64(4)]
    np.testing.assert_array_equal(example["image"], IMAGES[4])
    assert example["label"] == 4
    assert source.class_names == tuple("abcdef")
    assert set(HuggingFaceSource(whole, "img", None)[0]) == {"image"}
    fit = jood.Preprocessing((0.5,) * 3, (0.5,) * 3, crop=3)
    fitted = HuggingFaceSource(whole, "img", preprocessing=fit)
    np.testing.assert_array_equal(fitted[1]["image"], fit.fit_image(IMAGES[1]))
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy[5]["image"], IMAGES[5])
    fingerprints = {source.fingerprint(), fitted.fingerprint()}
    fingerprints.add(HuggingFaceSource(whole.select([1, 2]), "img").fingerprint())
    assert len(fingerprints) == 3
    assert copy.fingerprint() in fingerprints


def test_hugging_face_images_that_cannot_be_read_are_skipped(hugging_face):
    images = [{"bytes": b"junk", "path": "a.png"}, None]
    images += [Image.fromarray(image) for image in IMAGES[2:]]
    source = sources.Skipping(
        HuggingFaceSource(dataset(hugging_face, img=images), "img")
    )
    assert source[0]["skipped"].startswith("a.png: its content is of none")
    assert source[1]["skipped"] == "number 1 of the data set: it is None"
    np.testing.assert_array_equal(source[2]["image"], IMAGES[2])


def test_bad_hugging_face_columns_are_named(hugging_face):
    whole = dataset(hugging_face)
    with pytest.raises(ValueError, match=r"column 'image' must hold images.*'img'"):
        HuggingFaceSource(whole)
    with pytest.raises(ValueError, match="column 'text' must hold images"):
        HuggingFaceSource(whole, "text")
    for label in ("text", "gone"):
        with pytest.raises(ValueError, match=f"column '{label}' must hold integers"):
            HuggingFaceSource(whole, "img", label)
    with pytest.raises(ValueError, match=r"not streamed, got IterableDataset"):
        HuggingFaceSource(whole.to_iterable_dataset())
    with pytest.raises(ValueError, match="got list"):
        HuggingFaceSource([1, 2])


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(ImportError, match="pip install datasets"):
        HuggingFaceSource([])
