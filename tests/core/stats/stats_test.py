"""Streaming statistics and quantiles against NumPy in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jood import stats
from jood.core import activations
from jood.core.stats import quantiles

K, D = 3, 4


def _batch(features, labels=None):
    return activations.Activations.of(
        features.astype(np.float32), np.ones((D, K), np.float32), labels=labels
    )


def _data(rows=70, seed=0, loc=0.0):
    rng = np.random.default_rng(seed)
    features = rng.normal(loc, [1.0, 0.5, 2.0, 1.0], (rows, D)).astype(np.float32)
    return features, rng.integers(0, K, rows).astype(np.int32)


def _penultimate(acts):
    return acts.penultimate


def _states(statistic, features, labels, sizes):
    """One state per part of the data, each with two padded rows or more behind it."""
    update = jax.jit(
        lambda acts, mask: statistic.update(statistic.init(acts), acts, mask)
    )
    ends = np.cumsum(sizes)
    parts = list(zip(np.split(features, ends), np.split(labels, ends), strict=True))
    longest = max(len(part) for part, _ in parts)
    states = []
    for part, label in parts:
        padding = (0, longest + 2 - len(part))
        acts = _batch(np.pad(part, (padding, (0, 0)), constant_values=1e3))
        acts = acts.replace(labels=np.pad(label, padding))
        states.append(update(acts, np.pad(np.ones(len(part), np.float32), padding)))
    return states


def _fold(statistic, states):
    return statistic.finalize(functools.reduce(jax.jit(statistic.merge), states))


def _scatter(x):
    return (x - x.mean(0)).T @ (x - x.mean(0))


STATISTICS = {
    "sums": (
        stats.sums(
            lambda acts, mask: {"total": (mask @ acts.penultimate), "n": mask.sum()}
        ),
        lambda x, y: {"total": x.sum(0), "n": len(x)},
    ),
    "moments": (
        stats.moments(_penultimate),
        lambda x, y: {
            "count": len(x),
            "mean": x.mean(0),
            "m2": np.square(x - x.mean(0)).sum(0),
        },
    ),
    "second_moments": (
        stats.second_moments(_penultimate),
        lambda x, y: {"count": len(x), "mean": x.mean(0), "scatter": _scatter(x)},
    ),
    "class_means": (
        stats.class_means(_penultimate),
        lambda x, y: {
            "count": np.bincount(y, minlength=K),
            "mean": np.stack([x[y == k].mean(0) for k in range(K)]),
        },
    ),
}


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("sizes", [(), (10, 1, 30), (35,)])
def test_equals_numpy_however_split_and_padded(name, sizes):
    statistic, reference = STATISTICS[name]
    features, labels = _data()
    actual = _fold(statistic, _states(statistic, features, labels, sizes))
    expected = reference(features.astype(np.float64), labels)
    assert actual.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(
            actual[key], value, rtol=1e-5, atol=1e-4, err_msg=key
        )
        assert actual[key].dtype in (np.float64, np.int32)


@pytest.mark.parametrize("name", STATISTICS)
def test_merges_in_any_order_and_grouping(name):
    statistic, _ = STATISTICS[name]
    features, labels = _data()
    a, b, c, d = _states(statistic, features, labels, (10, 1, 30))
    merge = jax.jit(statistic.merge)
    expected = statistic.finalize(merge(merge(merge(a, b), c), d))
    for other in (merge(merge(d, b), merge(a, c)), merge(c, merge(d, merge(b, a)))):
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-4),
            statistic.finalize(other),
            expected,
        )


@pytest.mark.parametrize("name", STATISTICS)
def test_empty_states_and_batches_of_padding_change_nothing(name):
    statistic, _ = STATISTICS[name]
    features, labels = _data()
    (state,) = _states(statistic, features, labels, ())
    padding = _batch(np.full((3, D), 7.0), np.zeros(3, np.int32))
    empty = jax.jit(statistic.init)(padding)
    merge = jax.jit(statistic.merge)
    for same in (
        merge(state, empty),
        merge(empty, state),
        jax.jit(statistic.update)(state, padding, np.zeros(3, np.float32)),
    ):
        jax.tree.map(np.testing.assert_array_equal, same, state)


@pytest.mark.parametrize("name", ["moments", "second_moments", "class_means"])
def test_padded_rows_may_hold_nan(name):
    """`fit` lets padded rows hold anything, so a NaN there must not spread."""
    statistic, _ = STATISTICS[name]
    features, labels = _data()
    acts = _batch(features, labels)
    holed, mask = features.copy(), np.ones(len(features), np.float32)
    holed[3], mask[3] = np.nan, 0
    broken = acts.replace(penultimate=holed)
    update = jax.jit(lambda acts: statistic.update(statistic.init(acts), acts, mask))
    expected, actual = update(acts), update(broken)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_small_variance_survives_a_large_mean():
    """In float32 the mean square less the squared mean would be off by 10."""
    features, labels = _data(4000, seed=1, loc=1e4)
    exact = features.astype(np.float64)
    sizes = [500] * 7
    moments = STATISTICS["moments"][0]
    state = _fold(moments, _states(moments, features, labels, sizes))
    np.testing.assert_allclose(state["mean"], exact.mean(0), rtol=1e-6)
    np.testing.assert_allclose(stats.variance(state), exact.var(0), rtol=1e-3)

    second = STATISTICS["second_moments"][0]
    state = _fold(second, _states(second, features, labels, sizes))
    covariance = state["scatter"] / state["count"]
    np.testing.assert_allclose(covariance, np.cov(exact.T, ddof=0), atol=3e-3)

    means = STATISTICS["class_means"][0]
    state = _fold(means, _states(means, features, labels, sizes))
    expected = [exact[labels == k].mean(0) for k in range(K)]
    np.testing.assert_allclose(state["mean"], expected, rtol=1e-6)


def test_classes_without_examples_count_zero():
    features, _ = _data(6)
    statistic = stats.class_means(_penultimate)
    acts = _batch(features, np.array([0, 0, 2, 2, 0, 2]))
    state = statistic.update(statistic.init(acts), acts, jnp.ones(6))
    np.testing.assert_array_equal(state["count"], [3, 0, 3])
    np.testing.assert_array_equal(state["mean"][1], np.zeros(D))


def test_class_means_need_labels():
    with pytest.raises(ValueError, match="needs labels"):
        stats.class_means(_penultimate).init(_batch(_data()[0]))


# Quantiles.

SKETCH = quantiles.quantile_sketch(_penultimate)
QS = (0.0, 0.001, 0.1, 0.5, 0.65, 0.9, 0.999, 1.0)


def _counts(values, parts=1):
    """Finalized counts of a stream of values, in `parts` batches with rows of D."""
    update = jax.jit(SKETCH.update)
    state = SKETCH.init(_batch(np.zeros((1, D))))
    for part in np.split(np.asarray(values, np.float32).reshape(-1, D), parts):
        acts = _batch(np.zeros(part.shape)).replace(penultimate=jnp.asarray(part))
        state = update(state, acts, jnp.ones(len(part)))
    return SKETCH.finalize(jax.device_get(state))


def _samples(name):
    rng = np.random.default_rng(0)
    n = 40_000
    return {
        "relu": np.maximum(rng.normal(-0.5, 1, n), 0),
        "normal": rng.normal(0.3, 2, n),
        "negative": -rng.exponential(5, n),
        "lognormal": 10 ** rng.uniform(-6, 6, n) * rng.lognormal(0, 1, n),
        "constant": np.full(n, 3.3),
        "zeros": np.where(rng.random(n) < 0.5, -0.0, 0.0),
        "two": np.repeat([1.0, -4.0], n // 2),
        "few": np.array([3.0, -1.0, 2.0, 8.0]),
    }[name].astype(np.float32)


@pytest.mark.parametrize(
    "name",
    ["relu", "normal", "negative", "lognormal", "constant", "zeros", "two", "few"],
)
def test_quantiles_equal_numpy_within_a_thousandth(name):
    values = _samples(name)
    counts = _counts(values, parts=1 if name == "few" else 4)
    assert counts.sum() == values.size
    for q in QS:
        expected = np.quantile(values.astype(np.float64), q)
        np.testing.assert_allclose(
            quantiles.quantile(counts, q), expected, rtol=1e-3, err_msg=f"{q=}"
        )


def test_minus_zero_is_zero():
    counts = _counts([-0.0, 0.0, -0.0, 0.0])
    assert np.count_nonzero(counts) == 1
    assert quantiles.quantile(counts, 0.5) == 0.0


def test_sketch_ignores_nan_and_masked_rows():
    features = np.array([[1, 2, 3, 4], [9, 9, 9, 9], [5, 6, 7, np.nan]], np.float32)
    acts = _batch(np.zeros((3, D))).replace(penultimate=jnp.asarray(features))
    state = SKETCH.update(SKETCH.init(acts), acts, jnp.array([1.0, 0.0, 1.0]))
    counts = SKETCH.finalize(state)
    assert counts.sum() == 7
    np.testing.assert_allclose(quantiles.quantile(counts, 1.0), 7.0, rtol=1e-3)


def test_quantile_of_nothing_raises():
    with pytest.raises(ValueError, match="no finite value"):
        quantiles.quantile(_counts(np.full(D, np.nan)), 0.5)


def test_counts_do_not_overflow_32_bits():
    first = _counts(np.full(D, 1.0)).nonzero()[0][0]
    second = _counts(np.full(D, 2.0)).nonzero()[0][0]
    acts = _batch(np.zeros((1, D))).replace(penultimate=jnp.full((1, D), 2.0))
    state = SKETCH.init(acts)
    full = {**state, "low": state["low"].at[jnp.array([first, second])].set(2**32 - 1)}
    merged = jax.jit(SKETCH.merge)(SKETCH.merge(full, full), full)
    merged = jax.jit(SKETCH.update)(merged, acts, jnp.ones(1))
    counts = SKETCH.finalize(jax.device_get(merged))
    assert counts.dtype == np.uint64
    assert int(counts[first]) == 3 * (2**32 - 1)
    assert int(counts[second]) == 3 * (2**32 - 1) + D
    assert counts.sum() == 6 * (2**32 - 1) + D
    np.testing.assert_allclose(quantiles.quantile(counts, 0.49), 1.0, rtol=1e-3)
    np.testing.assert_allclose(quantiles.quantile(counts, 0.51), 2.0, rtol=1e-3)


def test_sketches_merge_to_the_sketch_of_both():
    values = _samples("normal")
    halves = np.split(values, 2)
    merged = _counts(halves[1]) + _counts(halves[0])
    np.testing.assert_array_equal(merged, _counts(values))
    np.testing.assert_array_equal(merged, _counts(values[::-1], parts=5))


def test_wide_maps_count_every_entry():
    sketch = quantiles.quantile_sketch(lambda acts: acts.stages["C5"])
    stages = {"C5": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)}
    acts = activations.Activations.of(
        np.zeros((2, D), np.float32), np.ones((D, K), np.float32), stages=stages
    )
    state = sketch.update(sketch.init(acts), acts, jnp.array([0.0, 1.0]))
    counts = sketch.finalize(state)
    assert counts.sum() == 12
    np.testing.assert_allclose(quantiles.quantile(counts, 0.0), 12.0, rtol=1e-3)


@pytest.mark.parametrize("q", [1.1, -0.1, 90, np.nan, "0.5", None])
def test_a_quantile_is_asked_by_a_fraction(q):
    with pytest.raises(ValueError, match=r"q must be a fraction in \[0, 1\]"):
        quantiles.quantile(np.ones(quantiles.BINS, np.uint64), q)


@pytest.mark.parametrize("counts", [np.ones(3, np.uint64), np.ones(quantiles.BINS)])
def test_a_quantile_is_of_a_sketch(counts):
    with pytest.raises(ValueError, match="counts of a quantile_sketch, integers"):
        quantiles.quantile(counts, 0.5)


def test_a_repeated_value_keeps_the_promise_at_every_quantile():
    """All samples at one end of a bin: interpolation inside it errs the most."""
    for value, bound in ((1e-5, 2**-10), (-3.4e38, 2**-10), (1.0, 2**-15)):
        counts = _counts(np.full(400, value))
        for q in (0.0, 0.5, 1.0):
            found = quantiles.quantile(counts, q)
            assert abs(found / np.float32(value) - 1) <= bound


def test_what_is_smaller_than_a_normal_number_counts_as_zero():
    counts = _counts([1e-40, -1e-40, 1e-45, 0.0])
    assert quantiles.quantile(counts, 1.0) == quantiles.quantile(counts, 0.0) == 0.0


def test_infinite_samples_stay_infinite():
    counts = _counts([np.inf, np.inf, 1.0, -np.inf])
    assert quantiles.quantile(counts, 1.0) == np.inf
    assert quantiles.quantile(counts, 0.9) == np.inf
    assert quantiles.quantile(counts, 0.0) == -np.inf
