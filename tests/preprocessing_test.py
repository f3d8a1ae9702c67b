"""Preprocessing: (x / 255 - mean) / std, and what it refuses."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood

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
