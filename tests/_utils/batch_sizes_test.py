"""Padding of batches to a few sizes."""

import jax.numpy as jnp
import numpy as np
import pytest

from jood._utils import batch_sizes


def test_the_sizes_are_few_and_near():
    sizes = [batch_sizes.padded_size(count) for count in range(1, 1025)]
    assert sorted(set(sizes)) == [
        1, 2, 4, 8, 16, 32, 64, 80, 96, 112, 128, 160, 192, 224, 256,
        320, 384, 448, 512, 640, 768, 896, 1024,
    ]  # fmt: skip
    assert sizes == sorted(sizes)
    for count, size in enumerate(sizes, start=1):
        assert count <= size < 2 * count
        assert size <= 1.25 * count or count <= 64


@pytest.mark.parametrize(("count", "size"), [(1, 1), (3, 4), (65, 80)])
def test_real_images_are_added_and_those_on_the_device_are_kept(count, size):
    images = np.random.default_rng(0).normal(size=(count, 2, 2, 1))
    padded = batch_sizes.padded(images)
    assert padded.shape == (size, 2, 2, 1)
    np.testing.assert_array_equal(padded[:count], images)
    np.testing.assert_array_equal(padded[count:], images[[0] * (size - count)])
    on_device = jnp.asarray(images)
    assert batch_sizes.padded(on_device) is on_device
