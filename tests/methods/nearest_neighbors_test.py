"""The k best inner products."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jood.methods import nearest_neighbors


def rows(count, width, seed=0, scale=1.0):
    random = np.random.default_rng(seed).normal(size=(count, width))
    return (scale * random).astype("f")


def sorted_products(queries, bank, k):
    products = np.asarray(queries, np.float64) @ np.asarray(bank, np.float64).T
    return -np.sort(-products, axis=1)[:, :k]


@pytest.mark.parametrize(
    ("count", "k"),
    [
        (1, 1),
        (7, 7),
        (300, 1),
        (300, 2),
        (2000, 10),
        (2005, 15),
        (2005, 16),
        (500, 500),
    ],
)
def test_best_are_the_k_largest_products(count, k):
    bank, queries = rows(count, 8), rows(5, 8, seed=1)
    values, indices = jax.jit(nearest_neighbors.best, static_argnums=2)(
        queries, bank, k
    )
    chex.assert_shape((values, indices), (5, k))
    np.testing.assert_allclose(values, sorted_products(queries, bank, k), atol=1e-5)
    found = np.einsum("bd,bkd->bk", queries, bank[np.asarray(indices)])
    np.testing.assert_allclose(values, found, atol=1e-5)
    assert all(len(set(row)) == k for row in np.asarray(indices).tolist())


@pytest.mark.parametrize("k", [1, 5, 14])
def test_best_are_exact_with_many_ties(k):
    # Small integers: products are exact, and only a few values are taken.
    rng = np.random.default_rng(0)
    bank = rng.integers(-1, 2, (2000, 3)).astype("f")
    queries = rng.integers(-1, 2, (40, 3)).astype("f")
    values, indices = nearest_neighbors.best(queries, bank, k)
    np.testing.assert_array_equal(values, sorted_products(queries, bank, k))
    found = np.einsum("bd,bkd->bk", queries, bank[np.asarray(indices)])
    np.testing.assert_array_equal(found, values)
    assert all(len(set(row)) == k for row in np.asarray(indices).tolist())


def test_best_of_one_crowded_group():
    # All the best rows lie in one group of 16, j, j + G, j + 2G, ...
    bank = np.zeros((1600, 1), "f")
    bank[7::100, 0] = np.arange(1, 17)
    values, indices = nearest_neighbors.best(jnp.ones((2, 1)), bank, 10)
    np.testing.assert_array_equal(values, np.tile(np.arange(16, 6, -1), (2, 1)))
    np.testing.assert_array_equal(
        np.asarray(indices)[0], 7 + 100 * np.arange(15, 5, -1)
    )


def test_best_in_rows_that_fill_no_group():
    bank = np.zeros((1607, 1), "f")
    bank[1600:, 0] = np.arange(1, 8)
    _, indices = nearest_neighbors.best(jnp.ones((1, 1)), bank, 7)
    np.testing.assert_array_equal(indices, [np.arange(1606, 1599, -1)])


@pytest.mark.parametrize(("count", "k"), [(1, 1), (300, 2), (2005, 16), (2005, 700)])
@pytest.mark.parametrize("kind", [rows, lambda *shape: np.round(rows(*shape))])
def test_kth_is_the_last_of_the_best(count, k, kind):
    bank, queries = kind(count, 3), rows(9, 3, 1)
    index = jax.jit(nearest_neighbors.kth, static_argnums=2)(queries, bank, k)
    chex.assert_shape(index, (9,))
    found = np.einsum("bd,bd->b", queries, bank[np.asarray(index)])
    expected = sorted_products(queries, bank, k)[:, -1]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_kth_splits_queries_too(monkeypatch):
    bank, queries = rows(2000, 8), rows(64, 8, seed=1)
    expected = nearest_neighbors.kth(queries, bank, 900)
    monkeypatch.setattr(nearest_neighbors, "_PRODUCTS", 10 * 2000)
    np.testing.assert_array_equal(nearest_neighbors.kth(queries, bank, 900), expected)


@pytest.mark.parametrize("count", [1, 7, 64])
def test_best_splits_queries_to_bound_the_memory(monkeypatch, count):
    bank, queries = rows(2000, 8), rows(count, 8, seed=1)
    expected = nearest_neighbors.best(queries, bank, 4)
    monkeypatch.setattr(nearest_neighbors, "_PRODUCTS", 10 * 2000)
    split = nearest_neighbors.best(queries, bank, 4)
    np.testing.assert_allclose(split[0], expected[0], atol=1e-6)
    np.testing.assert_array_equal(split[1], expected[1])


def test_memory_of_a_large_search_is_bounded():
    queries = jax.ShapeDtypeStruct((4096, 16), jnp.float32)
    bank = jax.ShapeDtypeStruct((50_000, 16), jnp.float32)
    compiled = jax.jit(nearest_neighbors.best, static_argnums=2).lower(
        queries, bank, 50
    )
    assert compiled.compile().memory_analysis().temp_size_in_bytes < 300e6


@pytest.mark.parametrize(
    ("width", "k", "message"),
    [(8, 11, "k = 11 neighbours.*10 row"), (9, 1, "rows have 8 entries.*features 9")],
)
def test_best_refuses_what_the_bank_does_not_have(width, k, message):
    with pytest.raises(ValueError, match=message):
        nearest_neighbors.best(rows(2, width), rows(10, 8), k)
