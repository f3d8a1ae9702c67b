"""Preprocessing: resizing and cropping, (x / 255 - mean) / std, what it refuses."""

import dataclasses
import functools

import chex
from helpers import torch_oracle
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

import jood
from jood import testing
from jood.core.preprocessing import Magnified

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def test_it_normalises_per_channel():
    images = np.array([[[[0, 51, 255]]]], np.uint8)
    out = jood.Preprocessing((0.5, 0.2, 0.0), (0.25, 0.5, 2.0))(images)
    chex.assert_type(out, jnp.float32)
    np.testing.assert_allclose(out, [[[[-2.0, 0.0, 0.5]]]], atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_it_matches_numpy_with_and_without_jit(channels):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 5, 4, channels), dtype=np.uint8)
    mean, std = rng.uniform(0, 1, channels), rng.uniform(0.1, 1, channels)
    preprocessing = jood.Preprocessing(mean, std)
    expected = (images.astype(np.float64) / 255 - mean) / std
    for call in (preprocessing, jax.jit(preprocessing)):
        np.testing.assert_allclose(call(images), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("resize", "twice"), [(None, (16, 32)), ((6, 10), (12, 20)), (12, (24, 48))]
)
def test_magnifying_shows_the_middle_of_an_image_twice_as_large(resize, twice):
    image = np.random.default_rng(0).integers(0, 256, (8, 16, 3), np.uint8)
    large = jood.Preprocessing(MEAN, STD, resize=twice).fit_image(image)
    height, width = (side // 4 for side in twice)
    middle = large[height : 3 * height, width : 3 * width]
    magnified = Magnified(MEAN, STD, resize=resize, zoom=2)
    np.testing.assert_allclose(
        magnified.fit_image(image).astype(int), middle.astype(int), atol=1
    )
    assert not magnified.leaves(8, 16)
    assert "zoom=2.0" in magnified.fitting


def test_zoom_1_is_no_zoom_bit_for_bit():
    image = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    plain = jood.Preprocessing(MEAN, STD, resize=8)
    one = Magnified(MEAN, STD, resize=8)
    np.testing.assert_array_equal(plain.fit_image(image), one.fit_image(image))
    assert plain.fitting == one.fitting


@pytest.mark.parametrize(
    "zoom", [0.9, 0.0, -1.0, float("nan"), float("inf"), "2", None]
)
def test_a_bad_zoom_is_refused(zoom):
    with pytest.raises(ValueError, match="zoom must be a finite number >= 1"):
        Magnified(MEAN, STD, zoom=zoom)


def test_files_of_a_jood_that_zoomed_on_the_device_are_read_or_refused():
    plain = jood.Preprocessing(MEAN, STD, crop=4)
    written = dataclasses.asdict(plain)
    assert jood.Preprocessing.of_json(written) == plain
    assert jood.Preprocessing.of_json({**written, "zoom": 1.0}) == plain
    with pytest.raises(ValueError, match="enlarges images"):
        jood.Preprocessing.of_json({**written, "zoom": 1.5})


def test_equal_numbers_make_equal_hashable_records_whatever_held_them():
    a = jood.Preprocessing(MEAN, STD)
    b = jood.Preprocessing(list(MEAN), np.array(STD))
    assert a == b
    assert hash(a) == hash(b)
    assert a != jood.Preprocessing(STD, MEAN)
    assert all(type(value) is float for value in (*b.mean, *b.std))


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((0.5, 0.5), (0.5,), "one number per channel each"),
        ((), (), "one number per channel each"),
        ((0.5,), (0.0,), "std must be above 0"),
        ((0.5, 0.5), (0.5, -1.0), "std must be above 0"),
        ((float("nan"),), (0.5,), "mean"),
        ((0.5,), (float("nan"),), "std"),
        ((0.5,), (float("inf"),), "std"),
    ],
)
def test_a_bad_mean_or_std_is_refused(mean, std, message):
    with pytest.raises(ValueError, match=message):
        jood.Preprocessing(mean, std)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((8, 8, 3), np.uint8, r"\[B, H, W, 3\], got shape \(8, 8, 3\)"),
        ((2, 8, 8, 1), np.uint8, r"\[B, H, W, 3\], got shape \(2, 8, 8, 1\)"),
        ((2, 3, 8, 8), np.uint8, r"\[B, H, W, 3\], got shape \(2, 3, 8, 8\)"),
        ((2, 8, 8, 3), np.float32, "must be uint8 in 0..255.*got float32"),
        ((2, 8, 8, 3), np.int32, "must be uint8 in 0..255.*got int32"),
    ],
)
def test_bad_images_are_refused(shape, dtype, message):
    with pytest.raises(ValueError, match=message):
        jood.Preprocessing(MEAN, STD)(np.zeros(shape, dtype))


# Resizing and cropping, on the host


def photo(height, width, channels=3, seed=0):
    """Smooth and rough places, of odd sizes."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
    image[: height // 2] = np.linspace(0, 255, width)[:, None].astype(np.uint8)
    return image


def fitter(**options):
    return jood.Preprocessing(MEAN, STD, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"resize": 32, "crop": 28},
        {"resize": 33, "crop": 28, "interpolation": "bicubic"},
        {"resize": 40, "interpolation": "nearest"},
        {"resize": (30, 41), "crop": 29, "interpolation": "lanczos"},
        {"resize": (17, 20)},
        {"crop": 28},
        {"crop": 61},  # larger than all of them: padded with zeros
        {"resize": 20, "crop": 25},  # larger than the shorter side only
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "size", [(37, 53), (53, 37), (48, 48), (33, 32), (28, 60), (59, 20)], ids=str
)
def test_fitting_equals_torchvision_on_pillow_images(options, size):
    torch_oracle.library("torchvision")
    from torchvision import transforms

    mode = transforms.InterpolationMode(options.get("interpolation", "bilinear"))
    steps = []
    if "resize" in options:
        steps.append(transforms.Resize(options["resize"], mode))
    if "crop" in options:
        steps.append(transforms.CenterCrop(options["crop"]))
    image = photo(*size)
    expected = np.asarray(transforms.Compose(steps)(Image.fromarray(image)))
    fitted = fitter(**options).fit_image(image)
    np.testing.assert_array_equal(fitted, expected)
    assert fitted.shape[:2] == fitter(**options).output_size(*size)


def test_fitting_is_within_one_level_of_torchvision_on_tensors():
    torch = torch_oracle.torch_or_skip()
    torch_oracle.library("torchvision")
    from torchvision.transforms import functional

    image = photo(75, 61)
    tensor = torch.from_numpy(image.transpose(2, 0, 1).copy())
    expected = functional.resize(tensor, 40, antialias=True).numpy()
    fitted = fitter(resize=40).fit_image(image).transpose(2, 0, 1)
    np.testing.assert_allclose(fitted.astype(int), expected.astype(int), atol=1)


def triangle(length, wanted):
    """[wanted, length]: the weights of antialiased linear interpolation."""
    scale = length / wanted
    centres = (np.arange(wanted) + 0.5) * scale
    distance = np.abs(np.arange(length)[None] + 0.5 - centres[:, None])
    weights = np.maximum(0, 1 - distance / max(scale, 1))
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize("size", [(37, 53), (20, 31)])
def test_bilinear_resizing_is_a_triangle_filter(size):
    image = photo(*size)
    fitted = fitter(resize=(24, 36)).fit_image(image)
    expected = np.einsum(
        "hH,wW,HWc->hwc", triangle(size[0], 24), triangle(size[1], 36), image
    )
    np.testing.assert_allclose(fitted, expected, atol=1.01)


def test_without_resize_and_crop_an_image_stays_the_same_object():
    image = photo(9, 7)
    assert fitter().fit_image(image) is image
    assert fitter(interpolation="bicubic").output_size(9, 7) == (9, 7)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_each_channel_is_fitted_as_one_of_three_is(channels):
    options = {"resize": 20, "crop": 18}
    image = photo(40, 31, channels)
    of = (0.5,) * channels
    fitted = jood.Preprocessing(of, of, **options).fit_image(image)
    for channel in range(channels):
        alone = np.repeat(image[..., channel : channel + 1], 3, axis=-1)
        expected = fitter(**options).fit_image(alone)[..., 0]
        np.testing.assert_array_equal(fitted[..., channel], expected)


def test_the_size_is_fixed_by_a_crop_or_by_height_and_width():
    assert fitter(resize=8, crop=6).fixed_size == (6, 6)
    assert fitter(resize=(8, 9)).fixed_size == (8, 9)
    assert fitter(resize=8).fixed_size is None
    assert fitter().fixed_size is None


def test_images_that_were_not_fitted_are_refused_on_the_device():
    with pytest.raises(ValueError, match=r"must be \(6, 6\) pixels.*got \(8, 6\)"):
        fitter(resize=8, crop=6)(np.zeros((1, 8, 6, 3), np.uint8))
    assert fitter(resize=8)(np.zeros((1, 8, 9, 3), np.uint8)).shape == (1, 8, 9, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resize": 0}, "resize must be an integer >= 1, got resize=0"),
        ({"resize": True}, "resize must be an integer >= 1"),
        ({"resize": 256.0}, "resize must be an integer >= 1"),
        ({"resize": "256"}, "resize must be an integer >= 1"),
        ({"resize": (256,)}, r"shorter side in pixels or \(height, width\)"),
        ({"resize": (256, -1)}, "resize must be an integer >= 1, got resize=-1"),
        ({"crop": 0}, "crop must be an integer >= 1"),
        ({"crop": (224, 224)}, "crop must be an integer >= 1"),
        ({"interpolation": "bilinaer"}, "unknown interpolation.*near: bilinear"),
        ({"interpolation": 2}, "unknown interpolation 2"),
    ],
)
def test_a_bad_size_or_interpolation_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fitter(**options)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8), np.uint8), r"must be uint8 \[H, W, C\], got uint8 \(8, 8\)"),
        (np.zeros((8, 8, 3), np.float32), "must be uint8.*got float32"),
        (np.zeros((0, 8, 3), np.uint8), r"got uint8 \(0, 8, 3\)"),
        (np.zeros((1, 4000, 3), np.uint8), "1 x 4000 pixels would become"),
    ],
)
def test_an_image_that_cannot_be_fitted_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        fitter(resize=256, crop=224).fit_image(image)


# The detector's images


def toy_detector(**options):
    of = (0.5,) * testing.WIDTH
    preprocessing = jood.Preprocessing(of, of, **options)
    variables = testing.toy_variables()
    return jood.Detector(
        "energy()", testing.ToyNet(), variables, preprocessing=preprocessing
    )


def test_a_detector_takes_a_list_of_images_of_any_size():
    detector = toy_detector(resize=5, crop=4)
    sizes = [(9, 7), (5, 8), (4, 4)]
    images = [photo(*size, testing.WIDTH, seed=i) for i, size in enumerate(sizes)]
    fitted = np.stack([detector.preprocessing.fit_image(image) for image in images])
    expected = detector(fitted)
    np.testing.assert_array_equal(detector(images), expected)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-6)
    close(detector(images[:2]), expected[:2])  # no pair (images, labels)
    close(detector(tuple(images[:1])), expected[:1])
    labelled = (images, np.zeros(3, np.int32))
    np.testing.assert_array_equal(detector(labelled), expected)
    np.testing.assert_array_equal(detector({"image": images}), expected)


def test_a_detector_fits_arrays_of_another_size_and_leaves_those_of_the_right_one():
    detector = toy_detector(resize=5, crop=4)
    large = np.stack([photo(9, 7, testing.WIDTH, seed=i) for i in range(2)])
    fitted = np.stack([detector.preprocessing.fit_image(image) for image in large])
    again = np.stack([detector.preprocessing.fit_image(image) for image in fitted])
    assert (again != fitted).any()  # so the next line shows that it is not done twice
    np.testing.assert_array_equal(detector.read_batch(fitted).image, fitted)
    for images in (large, jax.numpy.asarray(large)):
        np.testing.assert_array_equal(detector.read_batch(images).image, fitted)


def test_a_detector_refuses_lists_that_cannot_become_one_batch():
    images = [photo(*size, testing.WIDTH) for size in ((9, 7), (5, 8), (4, 4))]
    with pytest.raises(ValueError, match=r"one shape.*\(4, 4, .*\(9, 7, .*among 3"):
        toy_detector()(images)
    with pytest.raises(ValueError, match="one shape"):
        toy_detector(crop=4)([image.astype(np.float32) for image in images])


def test_a_saved_detector_keeps_resize_crop_and_interpolation(tmp_path):
    for name, resize in (("one", 5), ("two", (5, 6))):
        detector = toy_detector(resize=resize, crop=4, interpolation="bicubic")
        detector.save(tmp_path / name)
        loaded = jood.Detector.load(tmp_path / name, testing.ToyNet())
        assert loaded.preprocessing == detector.preprocessing
        hash(loaded.preprocessing)
        images = [photo(9, 7, testing.WIDTH), photo(5, 8, testing.WIDTH)]
        np.testing.assert_array_equal(loaded(images), detector(images))


@pytest.mark.parametrize(
    ("resize", "crop", "words"),
    [
        (None, None, "left at their size"),
        ((32, 24), None, "resized to 32 x 24 pixels (bilinear)"),
        (
            256,
            224,
            "resized to 256 pixels on the shorter side (bilinear) and cropped to the "
            "central 224 x 224",
        ),
    ],
)
def test_what_becomes_of_the_size_is_said_in_words(resize, crop, words):
    made = jood.Preprocessing((0.5,), (0.5,), resize=resize, crop=crop)
    assert made.sizing == words
