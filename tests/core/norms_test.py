"""Lengths, directions and cosines against float64, at any scale."""

import jax
import numpy as np
import pytest

from jood.core import norms

X = np.random.default_rng(0).normal(size=(5, 7)).astype("f")
JITTED = jax.jit(norms.l2), jax.jit(norms.unit)


@pytest.mark.parametrize("scale", [1e-36, 1e-25, 1.0, 1e19, 1e30, 3e37])
def test_lengths_and_directions_are_those_of_float64(scale):
    x = (X.astype(np.float64) * scale).astype("f")
    exact = np.linalg.norm(x.astype(np.float64), axis=-1)
    for length in (JITTED[0](x), norms.l2(x, xp=np)):
        np.testing.assert_allclose(length, exact, rtol=1e-6)
    for direction in (JITTED[1](x), norms.unit(x, xp=np)):
        expected = x / exact[:, None]
        np.testing.assert_allclose(direction, expected, rtol=1e-6, atol=1e-7)


def test_zeros_have_no_direction_and_nan_stays():
    np.testing.assert_array_equal(norms.l2(np.zeros((2, 3), "f")), [0, 0])
    np.testing.assert_array_equal(norms.unit(np.zeros((2, 3), "f")), np.zeros((2, 3)))
    np.testing.assert_array_equal(norms.cosine(X[:1], 0 * X[:1]), [0])
    holed = np.array([[np.nan, 1], [np.inf, 1]], "f")
    assert not np.isfinite(norms.l2(holed)).any()


def test_axes_are_kept_or_dropped():
    assert norms.l2(X, axis=0).shape == (7,)
    assert norms.l2(X, axis=0, keepdims=True).shape == (1, 7)
    assert norms.power_of_two(X).shape == (1, 1)
