"""The embedded benchmark: sizes, disjointness, determinism, bad options."""

import chex
import numpy as np
import pytest

from jood.data import benchmarks
from jood.data import sources
from jood.data.benchmarks import painted_digits


@pytest.fixture(scope="module")
def tiny():
    return benchmarks.get("digits_tiny")


def test_benchmark_has_five_ood_sets_and_eight_classes(tiny):
    assert list(tiny.ood) == [
        "near",
        "background",
        "other_photo",
        "gaussian",
        "uniform",
    ]
    assert tiny.class_names == tuple("01234567")
    assert set(tiny.near) <= set(tiny.ood)
    assert sorted(np.unique(tiny.id_train.labels)) == list(range(8))
    assert {len(source) for source in tiny.ood.values()} == {64}


def test_images_are_uint8_rgb_and_ood_sets_carry_no_label(tiny):
    for source in (tiny.id_train, tiny.id_test, *tiny.ood.values()):
        image = source[0]["image"]
        chex.assert_shape(image, (32, 32, 3))
        assert image.dtype == np.uint8
    assert all("label" not in source[0] for source in tiny.ood.values())


def test_full_size_matches_the_documentation():
    glyphs, labels, *_ = painted_digits._load()
    train, test = painted_digits._split(labels, seed=0)
    assert len(glyphs) == 1797
    assert 6 * len(train) == 6060
    assert 3 * len(test) == 1299


def test_train_and_test_digits_are_disjoint_and_never_8_or_9():
    _, labels, *_ = painted_digits._load()
    train, test = painted_digits._split(labels, seed=3)
    assert not set(train) & set(test)
    assert labels[train].max() == labels[test].max() == 7


def test_train_and_test_backgrounds_come_from_disjoint_halves(monkeypatch):
    """With the halves painted in two colours, no crop shows the other's."""
    glyphs, labels, photo, other = painted_digits._load()
    marked = np.zeros_like(photo)
    marked[:, photo.shape[1] // 2 :] = 255
    monkeypatch.setattr(
        painted_digits, "_load", lambda: (0 * glyphs, labels, marked, other)
    )
    benchmark = benchmarks.get("digits_tiny")
    assert benchmark.id_train.images.max() == 0
    assert benchmark.id_test.images.min() == 255
    assert benchmark.ood["background"].images.min() == 255
    assert benchmark.ood["near"].images.min() == 255


def test_composites_hold_their_digit(tiny):
    """A nearest-neighbour look at brightness cannot do it, but pixels do change."""
    glyphs, _, photo, _ = painted_digits._load()
    rng = np.random.default_rng(0), np.random.default_rng(0)
    crop = painted_digits.random_crop(rng[0], photo, 32).astype(int)
    painted = painted_digits._composite(rng[1], glyphs[0], photo, 32).astype(int)
    changed = np.abs(crop - painted).max(-1) > 60
    assert 0.02 < changed.mean() < 0.6


@pytest.mark.slow
def test_same_seed_same_images_other_seed_others():
    first, again = (painted_digits.digits(train_copies=1, ood_size=4) for _ in range(2))
    other = painted_digits.digits(train_copies=1, ood_size=4, seed=1)
    np.testing.assert_array_equal(first.id_train.images, again.id_train.images)
    for name, source in first.ood.items():
        np.testing.assert_array_equal(source.images, again.ood[name].images)
        assert (source.images != other.ood[name].images).any()


def test_larger_canvas_is_painted_on_demand():
    benchmark = painted_digits.digits(image_size=96, ood_size=4)
    chex.assert_shape(benchmark.id_test[5]["image"], (96, 96, 3))
    assert isinstance(benchmark.id_test, painted_digits.PaintedSource)


def test_gaussian_noise_is_standard_normal_after_preprocessing(tiny):
    normalised = np.asarray(tiny.preprocessing(tiny.ood["gaussian"].images))
    clipped = np.clip(np.random.default_rng(0).standard_normal(100_000), -2, 2)
    np.testing.assert_allclose(normalised.mean(), 0, atol=0.02)
    np.testing.assert_allclose(normalised.std(), clipped.std(), atol=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 16}, "at least 32"),
        ({"seed": -1}, "seed must be >= 0"),
        ({"ood_size": 5000}, "ood_size is at most"),
        ({"train_copies": 0}, "at least 1"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        benchmarks.get("digits", **options)


def test_unknown_benchmark_lists_the_near_ones():
    with pytest.raises(ValueError, match="near: digits"):
        benchmarks.get("digit")


def test_array_source_refuses_other_dtypes_and_lengths():
    images = np.zeros((3, 4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="uint8"):
        sources.ArraySource(images.astype(np.float32))
    with pytest.raises(ValueError, match=r"labels \(2,\) for 3 images"):
        sources.ArraySource(images, np.zeros(2, int))
