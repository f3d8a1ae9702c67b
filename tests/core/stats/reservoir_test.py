"""The bounded memory: order-free, mergeable, a uniform sample."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood.core.stats import reservoir

row_hash = jax.jit(reservoir.row_hash)


def record(rows):
    return jood.Activations.of(rows, np.ones((np.shape(rows)[1], 2), "f"))


def random_rows(count, width=4, seed=0):
    return np.random.default_rng(seed).normal(size=(count, width)).astype("f")


def statistic(capacity):
    return reservoir.bank(lambda acts: acts.penultimate, capacity)


@functools.cache
def compiled(capacity):
    """The functions of `statistic` that run in a program."""
    stat = statistic(capacity)
    return jax.jit(stat.init), jax.jit(stat.update), jax.jit(stat.merge)


def stream(rows, capacity, size=16, masks=None):
    """The state after all rows, in batches."""
    init, update, _ = compiled(capacity)
    state = init(record(rows[:size]))
    for i in range(0, len(rows), size):
        part = rows[i : i + size]
        mask = np.ones(len(part), "f") if masks is None else masks[i : i + size]
        state = update(state, record(part), mask)
    return state


def kept(rows, capacity, **options):
    return statistic(capacity).finalize(stream(rows, capacity, **options))


def as_set(rows):
    return sorted(map(tuple, np.asarray(rows).tolist()))


@pytest.mark.parametrize(
    ("count", "capacity"), [(10, 40), (40, 40), (200, 40), (200, 1)]
)
@pytest.mark.parametrize("size", [1, 16, 64])
def test_keeps_the_rows_with_the_smallest_hashes(count, capacity, size):
    rows = random_rows(count)
    out = kept(rows, capacity, size=size)
    chex.assert_shape(out, (min(count, capacity), 4))
    chex.assert_type(out, np.float32)
    order = np.argsort(np.asarray(row_hash(rows)), kind="stable")
    np.testing.assert_array_equal(out, rows[order[:capacity]])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_order_and_batching_do_not_matter(seed):
    rows = random_rows(300)
    order = np.random.default_rng(seed).permutation(300)
    expected = kept(rows, 50, size=16)
    np.testing.assert_array_equal(kept(rows[order], 50, size=7 * seed), expected)


@pytest.mark.parametrize("reverse", [False, True])
def test_merging_parts_is_one_stream(reverse):
    rows = random_rows(300)
    stat = statistic(50)
    parts = [stream(rows[i : i + 60], 50) for i in range(0, 300, 60)]
    init, _, merge = compiled(50)
    parts.append(init(record(rows)))
    state = functools.reduce(merge, parts[::-1] if reverse else parts)
    np.testing.assert_array_equal(stat.finalize(state), kept(rows, 50))


def test_masked_rows_are_not_kept():
    rows = random_rows(100)
    mask = np.random.default_rng(1).integers(0, 2, 100).astype("f")
    padded = np.where(mask[:, None] > 0, rows, 777.0).astype("f")
    out = kept(padded, 80, masks=mask)
    assert as_set(out) == as_set(kept(rows[mask > 0], 80))
    assert len(out) == mask.sum()
    assert len(kept(padded, 80, masks=np.zeros(100, "f"))) == 0


def test_equal_rows_are_all_kept_while_there_is_room():
    rows = np.repeat(random_rows(5), 4, axis=0)
    assert as_set(kept(rows, 30)) == as_set(rows)
    assert len(kept(rows, 7)) == 7


def test_the_state_does_not_grow():
    few, many = stream(random_rows(10), 20), stream(random_rows(200), 20)
    chex.assert_trees_all_equal_shapes_and_dtypes(few, many)
    assert few["rows"].shape == (20, 4)


# A uniform sample, whatever the rows are like.


def gaussian(count):
    return random_rows(count, 3)


def sparse(count):
    rows = np.maximum(random_rows(count, 40) - 1.5, 0)
    return np.concatenate([rows, np.arange(count, dtype="f")[:, None]], axis=1)


def counting(count):
    return np.stack([np.arange(count) % 256, np.arange(count) // 256], 1).astype("f")


def one_hot_times(count):
    rows = np.zeros((count, 8), "f")
    rows[np.arange(count), np.arange(count) % 8] = 1 + np.arange(count) // 8 / 64
    return rows


@pytest.mark.parametrize("make", [gaussian, counting, one_hot_times, sparse])
def test_hashes_are_uniform(make):
    rows = make(512 if make is one_hot_times else 4096)
    hashes = np.asarray(row_hash(rows))
    # Rows that bfloat16 cannot tell apart share a hash; few others may.
    rounded = np.unique(np.asarray(jnp.asarray(rows, jnp.bfloat16).astype("f")), axis=0)
    unique = np.unique(hashes)
    assert len(unique) >= len(rounded) - 2
    for shift in (28, 14, 0):  # high, middle and low bits
        counts = np.bincount((unique >> shift) & 15, minlength=16)
        expected = len(unique) / 16
        chi_squared = ((counts - expected) ** 2 / expected).sum()
        assert chi_squared < 45  # 15 degrees of freedom: p = 8e-5


def test_sample_is_unbiased():
    rows = random_rows(20_000, 2)
    out = kept(rows, 2000, size=5000)
    # 5 deviations of a mean of 2000, and of a variance
    assert np.abs(out.mean(0)).max() < 5 / np.sqrt(2000)
    assert np.abs(out.var(0) - 1).max() < 5 * np.sqrt(2 / 2000)
    norms = np.linalg.norm(rows, axis=1)
    share = (np.linalg.norm(out, axis=1) > np.median(norms)).mean()
    assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(2000)


def test_hash_depends_on_places_and_not_on_rounding_or_the_sign_of_zero():
    row = jnp.array([[1.0, 2.0, 0.0]])
    changed = {
        "order": [[2.0, 1.0, 0.0]],
        "sign": [[-1.0, 2.0, 0.0]],
        "value": [[1.0, 2.0, 0.5]],
    }
    one = int(row_hash(row)[0])
    for what, other in changed.items():
        assert int(row_hash(jnp.array(other))[0]) != one, what
    for same in ([[1.0 + 1e-6, 2.0 - 1e-6, 0.0]], [[1.0, 2.0, -0.0]]):
        for hashed in (reservoir.row_hash, row_hash):
            assert int(hashed(jnp.array(same))[0]) == one, same
