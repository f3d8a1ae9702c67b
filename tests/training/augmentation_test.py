"""Augmentation: what it changes, on what it depends, and torchvision's arithmetic."""

import chex
import jax
import jax.numpy as jnp
from matplotlib import colors
import numpy as np
from PIL import Image
from PIL import ImageEnhance
import pytest

from jood.training import augmentation

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (16, 32, 32, 3)).astype(np.uint8)


def apply(names, images=IMAGES, key=KEY, size=32, **options):
    augment = augmentation.build(names, size, **options)
    return np.asarray(jax.jit(augment)(key, images))


@pytest.mark.parametrize("names", [(), ("crop",), ("crop", "flip", "jitter")])
def test_images_keep_their_shape_and_type(names):
    out = apply(names)
    chex.assert_shape(out, IMAGES.shape)
    assert out.dtype == np.uint8
    assert (out != IMAGES).any() == bool(names)


def test_a_crop_is_a_window_of_the_padded_image():
    padded = np.pad(IMAGES, ((0, 0), (4, 4), (4, 4), (0, 0)))
    places = set()
    for image, wide in zip(apply(("crop",)), padded, strict=True):
        found = [
            (top, left)
            for top, left in np.ndindex(9, 9)
            if (wide[top : top + 32, left : left + 32] == image).all()
        ]
        assert len(found) == 1
        places.update(found)
    assert len(places) > 8


def test_a_crop_of_a_larger_image_is_a_window_without_padding():
    large = RNG.integers(1, 256, (8, 40, 40, 3)).astype(np.uint8)
    out = apply(("crop",), large)
    chex.assert_shape(out, (8, 32, 32, 3))
    for image, whole in zip(out, large, strict=True):
        assert any(
            (whole[t : t + 32, left : left + 32] == image).all()
            for t, left in np.ndindex(9, 9)
        )


def test_half_of_the_images_are_mirrored():
    many = np.tile(IMAGES, (16, 1, 1, 1))
    mirrored = [
        (out == image[:, ::-1]).all()
        for out, image in zip(apply(("flip",), many), many, strict=True)
    ]
    assert 0.35 < np.mean(mirrored) < 0.65
    kept = [(a == b).all() for a, b in zip(apply(("flip",), many), many, strict=True)]
    np.testing.assert_array_equal(kept, ~np.array(mirrored))


@pytest.mark.slow
def test_rows_depend_on_the_key_and_their_place_alone():
    names = ("crop", "flip", "jitter")
    whole = apply(names)
    np.testing.assert_array_equal(apply(names), whole)
    assert (apply(names, key=jax.random.key(1)) != whole).any()
    other = IMAGES.copy()
    other[1:] = 0
    np.testing.assert_array_equal(apply(names, other)[0], whole[0])


@pytest.mark.slow
def test_two_devices_draw_what_one_draws():
    names = ("crop", "flip", "jitter")
    mesh = jax.make_mesh(
        (2,), ("data",), (jax.sharding.AxisType.Auto,), devices=jax.devices()[:2]
    )
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    np.testing.assert_array_equal(
        apply(names, jax.device_put(IMAGES, rows)), apply(names)
    )


@pytest.mark.parametrize("factor", [0.6, 0.9, 1.3])
def test_blends_are_pillows(factor):
    """Pillow works on bytes and rounds; ours differ by a level or two."""
    image = IMAGES[0]
    pil, x = Image.fromarray(image), jnp.asarray(image / 255.0, jnp.float32)
    grey = augmentation.grey(x)
    ours = {
        ImageEnhance.Brightness: augmentation.blend(x, jnp.zeros_like(x), factor),
        ImageEnhance.Contrast: augmentation.blend(
            x, jnp.full_like(x, grey.mean()), factor
        ),
        ImageEnhance.Color: augmentation.blend(
            x, jnp.broadcast_to(grey, x.shape), factor
        ),
    }
    for enhance, found in ours.items():
        expected = np.asarray(enhance(pil).enhance(factor), np.float32)
        np.testing.assert_allclose(255 * found, expected, atol=2)


@pytest.mark.slow
def test_a_turn_of_the_hue_keeps_value_and_saturation():
    x = jnp.asarray(IMAGES[0] / 255.0, jnp.float32)
    turned = augmentation.shift_hue(x, 0.3)
    np.testing.assert_allclose(turned.max(-1), x.max(-1), atol=1e-5)
    np.testing.assert_allclose(turned.min(-1), x.min(-1), atol=1e-5)
    np.testing.assert_allclose(augmentation.shift_hue(turned, 0.7), x, atol=1e-4)
    red = jnp.zeros((1, 1, 3)).at[..., 0].set(1.0)
    np.testing.assert_allclose(
        augmentation.shift_hue(red, 1 / 3)[0, 0], [0, 1, 0], atol=1e-5
    )


@pytest.mark.parametrize("only", ["brightness", "contrast", "saturation", "hue"])
def test_each_part_of_the_jitter_varies_within_its_strength(only):
    usual = augmentation.Jitter()
    none = augmentation.Jitter(0.0, 0.0, 0.0, 0.0)
    strength = getattr(usual, only)
    jitter = none._replace(**{only: strength})
    image = np.full((8, 8, 3), (110, 90, 70), np.uint8)
    image[:4] = (130, 100, 80)
    many = np.tile(image, (200, 1, 1, 1))
    out = apply(("jitter",), many, size=8, jitter=jitter) / 255.0
    plain = colors.rgb_to_hsv(image / 255.0)
    hsv = colors.rgb_to_hsv(out)
    grey = np.asarray(augmentation.grey(jnp.asarray(image / 255.0)))
    greys = np.array([np.asarray(augmentation.grey(jnp.asarray(x))) for x in out])
    found = {
        "brightness": out.mean((1, 2, 3)) / (image / 255.0).mean(),
        "contrast": greys.std((1, 2, 3)) / grey.std(),
        "saturation": (out - greys)[:, 0, 0, 0] / (image / 255.0 - grey)[0, 0, 0],
        "hue": 0.5 + (0.5 + (hsv - plain)[:, 0, 0, 0]) % 1.0,
    }[only]
    assert found.min() >= 1 - 1.1 * strength
    assert found.max() <= 1 + 1.1 * strength
    assert found.min() < 1 - 0.8 * strength
    assert found.max() > 1 + 0.8 * strength


def test_images_that_are_too_small_to_crop_are_refused():
    with pytest.raises(ValueError, match=r"\(28, 28\) pixels cannot be cropped to 32"):
        apply(("crop",), np.zeros((2, 28, 28, 3), np.uint8))


def test_bad_names_and_sizes_are_refused():
    with pytest.raises(ValueError, match="unknown augmentation 'crob'; near: crop"):
        augmentation.build(("crob",), 32)
    with pytest.raises(ValueError, match="size must be"):
        augmentation.build(("crop",), 0)


@pytest.mark.slow
def test_so_many_images_are_jittered_and_so_strongly():
    many = np.tile(IMAGES, (16, 1, 1, 1))

    def jittered(**values):
        return apply(("jitter",), many, jitter=augmentation.Jitter(**values))

    some = jittered(probability=0.3)
    changed = (some != many).any((1, 2, 3))
    assert 0.2 < changed.mean() < 0.4
    # Those that are changed are changed as all are.
    np.testing.assert_array_equal(some[changed], apply(("jitter",), many)[changed])
    none = jittered(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)
    assert np.abs(none.astype(int) - many).max() <= 1
    dark = jittered(brightness=0.9, contrast=0.0, saturation=0.0, hue=0.0)
    ratio = dark.mean((1, 2, 3)) / many.mean((1, 2, 3))
    assert ratio.min() < 0.3


def test_gray_images_have_no_colours_to_jitter():
    gray = np.zeros((2, 32, 32, 1), np.uint8)
    with pytest.raises(ValueError, match=r"'jitter' changes colours.*1 channel"):
        jax.eval_shape(augmentation.build(("jitter",), 32), KEY, gray)
    shape = jax.eval_shape(augmentation.build(("crop", "flip"), 32), KEY, gray).shape
    assert shape == gray.shape


def test_a_resized_crop_shows_a_part_at_the_networks_size():
    ramp = np.arange(32, dtype=np.uint8)[:, None, None] * 8
    images = np.broadcast_to(ramp, (6, 32, 32, 3)).copy()
    augment = jax.jit(augmentation.build(("resized_crop",), 16))
    found = np.asarray(augment(jax.random.key(0), images)).astype(int)
    assert found.shape == (6, 16, 16, 3)
    rises = found[:, -1, 0, 0] - found[:, 0, 0, 0]
    assert len(set(rises)) > 1  # of another share of the image each
    assert (rises > 0.3 * 248).all()
    assert (rises <= 248).all()
    assert (found == found[:, :, :1]).all()  # constant along a row


@pytest.mark.slow
def test_a_fifth_of_the_images_lose_their_colours():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (200, 2, 2, 3)).astype(np.uint8)
    augment = jax.jit(augmentation.build(("grey",), 2))
    found = np.asarray(augment(jax.random.key(1), images))
    changed = (found != images).any((1, 2, 3))
    assert 20 < changed.sum() < 60
    np.testing.assert_array_equal(found[changed], found[changed][..., :1].repeat(3, -1))
    one = images[..., :1]
    np.testing.assert_array_equal(augment(jax.random.key(1), one), one)
