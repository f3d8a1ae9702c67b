"""The k largest entries, found by bisection, are those of an obvious sort."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jood.methods import top_k


def obvious(row, k):
    chosen = sorted(range(len(row)), key=lambda i: (-row[i], i))[:k]
    return np.isin(np.arange(len(row)), chosen)


ROWS = {
    "normal": np.random.default_rng(0).normal(size=(20, 33)),
    "ties": np.random.default_rng(1).integers(-3, 4, (20, 33)),
    "sparse": np.maximum(np.random.default_rng(2).normal(size=(20, 33)) - 1, 0),
    "constant": np.ones((2, 33)),
    "zeros of both signs": np.array([[0.0, -0.0] * 16 + [0.0]]),
    "scales": np.random.default_rng(3).normal(size=(5, 33))
    * 10.0 ** np.arange(33)[None],
    "tiny": np.random.default_rng(4).normal(size=(5, 33)) * 1e-34,
    "infinite": np.array([[np.inf, -np.inf, 1.0] * 11]),
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("k", [1, 2, 16, 32, 33])
def test_mask_marks_the_k_largest_and_breaks_ties_by_index(name, k):
    rows = ROWS[name].astype(np.float32)
    mask = jax.jit(top_k.mask)(rows, k)
    chex.assert_shape(mask, rows.shape)
    expected = np.stack([obvious(row + 0.0, k) for row in rows])
    np.testing.assert_array_equal(mask, expected)


def test_bfloat16_rows_are_compared_as_they_are():
    rows = jnp.asarray(ROWS["normal"], jnp.bfloat16)
    expected = np.stack([obvious(row, 5) for row in np.asarray(rows, np.float32)])
    np.testing.assert_array_equal(top_k.mask(rows, 5), expected)


@pytest.mark.parametrize("width", [10, 64, 2048])
@pytest.mark.parametrize("q", [0.05, 0.25, 0.35, 0.65, 0.85, 0.9, 0.999])
def test_kept_count_rounds_as_numpy_does_also_traced(width, q):
    kept = top_k.kept_count(width, q)
    assert kept == max(width - int(np.round(width * q)), 1)
    traced = jax.jit(lambda q: top_k.kept_count(width, q))(q)
    assert abs(int(traced) - kept) <= (abs(width * q % 1 - 0.5) < 1e-3)


@pytest.mark.parametrize("size", [1, 2, 4, 9, 16, 49])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("kind", ["normal", "ties", "sparse"])
def test_median_is_numpy_s(size, axis, kind):
    shape = [2, 3, 5]
    shape[axis] = size
    rng = np.random.default_rng(size)
    x = rng.normal(size=shape).astype(np.float32)
    if kind == "ties":
        x = np.round(x)
    elif kind == "sparse":
        x = np.maximum(x - 0.5, 0)
    expected = np.median(x, axis=axis, keepdims=True)
    found = jax.jit(top_k.median, static_argnums=1)(x, axis)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=0)
