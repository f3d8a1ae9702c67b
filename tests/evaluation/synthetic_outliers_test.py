"""Images that are made of ID images: what stays of them, and what does not."""

import numpy as np
import pytest

from jood.core.batch import Batch
from jood.evaluation import synthetic_outliers
from jood.evaluation.synthetic_outliers import Outliers

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 16, 18, 3), np.uint8)
MASK = np.array([1, 1, 0, 1, 1, 0], np.float32)


def made(kind, images=IMAGES, mask=None, seed=0):
    mask = np.ones(len(images), np.float32) if mask is None else mask
    batch = Batch(images, np.arange(len(images)), mask)
    (found,) = Outliers(kind, [batch], seed)
    return found.image


@pytest.mark.parametrize("kind", synthetic_outliers.MAKERS)
def test_shape_and_dtype_stay_and_the_images_do_not(kind):
    for images in (IMAGES, IMAGES.astype(np.float32) / 255):
        found = made(kind, images)
        assert (found.shape, found.dtype) == (images.shape, images.dtype)
        changed = np.abs(found.astype(float) - images).mean(axis=(1, 2, 3))
        assert (changed > 0.05 * images.max()).all()


@pytest.mark.parametrize("kind", synthetic_outliers.MAKERS)
def test_padding_is_left_alone_and_mixes_with_nothing(kind):
    images = IMAGES.copy()
    found = made(kind, images, MASK)
    images[MASK == 0] = 255 - images[MASK == 0]
    again = made(kind, images, MASK)
    np.testing.assert_array_equal(found[MASK > 0], again[MASK > 0])
    np.testing.assert_array_equal(again[MASK == 0], images[MASK == 0])


def test_every_iteration_gives_the_same_images_and_another_seed_others():
    for kind in synthetic_outliers.KINDS:
        source = Outliers(kind, [Batch(IMAGES, None, np.ones(6, np.float32))], 0)
        first, again = (next(iter(source)).image for _ in range(2))
        np.testing.assert_array_equal(first, again)
    for kind in ("noise", "pixels", "jigsaw"):
        assert (np.asarray(made(kind)) != np.asarray(made(kind, seed=1))).any()


def test_shuffled_pixels_are_whole_pixels_of_the_same_image():
    for one, other in zip(IMAGES, made("pixels"), strict=True):
        whole = [sorted(map(tuple, x.reshape(-1, 3).tolist())) for x in (one, other)]
        assert whole[0] == whole[1]


def test_a_puzzle_keeps_its_pieces_and_what_lies_beyond_them():
    high, wide = 4, 4  # of a 16 x 18 image; two columns are left over

    def pieces(image):
        return sorted(
            image[y : y + high, x : x + wide].tobytes()
            for y in range(0, 16, high)
            for x in range(0, 16, wide)
        )

    found = made("jigsaw")
    for one, other in zip(IMAGES, found, strict=True):
        assert pieces(one) == pieces(other)
    np.testing.assert_array_equal(found[:, :, 16:], IMAGES[:, :, 16:])


def test_mixed_images_are_means_of_neighbours_and_blurred_ones_are_smooth():
    images = IMAGES.astype(np.float32)
    expected = (images + images[[5, 0, 1, 2, 3, 4]]) / 2
    np.testing.assert_allclose(made("mixed", images), expected)
    np.testing.assert_allclose(made("mixed").astype(float), expected, atol=0.51)
    blurred = made("blur", images)
    np.testing.assert_allclose(blurred.mean((1, 2)), images.mean((1, 2)), rtol=0.1)
    assert blurred.std((1, 2)).max() < 0.5 * images.std((1, 2)).min()


def test_noise_is_standard_normal_in_the_networks_own_units():
    noise = np.asarray(made("noise", np.zeros((64, 16, 16, 3), np.uint8)))
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01


def test_bad_kinds_are_refused():
    with pytest.raises(ValueError, match=r"unknown kind .*'blurr'; near: blur"):
        synthetic_outliers.check(["blurr"])
    for wrong in ([], "noise"):
        with pytest.raises(ValueError, match="must be a list of noise, blur"):
            synthetic_outliers.check(wrong)
    with pytest.raises(ValueError, match="named once"):
        synthetic_outliers.check(["noise", "noise"])
    with pytest.raises(ValueError, match="3 x 9 pixels"):
        made("jigsaw", np.zeros((2, 3, 9, 3), np.uint8))
