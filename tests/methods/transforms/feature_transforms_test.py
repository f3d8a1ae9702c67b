"""BATS, SCALE and VRA against literals, the slow reference."""

from helpers import compiled
import jax
import numpy as np
import pytest
from reference import papers as reference
from reference import scores as reference_scores

import jood
from jood.core.assumptions import AssumptionWarning
from jood.methods.transforms import ash
from jood.methods.transforms.bats import bats
from jood.methods.transforms.scale import scale
from jood.methods.transforms.vra import rectify
from jood.methods.transforms.vra import vra


def features(rows, seed, width=20):
    """Sparse and non-negative, as pooled ReLU features are."""
    rng = np.random.default_rng(seed)
    return np.maximum(rng.normal(0.3, 1.0, (rows, width)), 0.0).astype(np.float32)


def record(penultimate):
    kernel = np.random.default_rng(1).normal(size=(penultimate.shape[1], 3))
    return jood.Activations.of(penultimate, kernel.astype(np.float32), [0.1, 0.2, -1.0])


TRAIN, TEST = features(60, 0), features(6, 1)


def transformed(component, train=TRAIN, test=TEST):
    parts = np.array_split(train, 3)
    fitted = jood.fit(component, [record(part) for part in parts])
    out = compiled.apply(component, fitted, record(test))
    logits = reference.logits(out.penultimate, out.kernel, out.bias)
    np.testing.assert_allclose(out.logits, logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(out.prediction, record(test).prediction)
    return np.asarray(out.penultimate)


@pytest.mark.parametrize("lam", [0.3, 1.05, 3.25])
def test_bats_matches_reference(lam):
    expected = reference_scores.bats(TRAIN, TEST, lam)
    np.testing.assert_allclose(
        transformed(bats(lam=lam)), expected, rtol=1e-4, atol=1e-6
    )


def test_bats_worked_out_by_hand():
    # Means 2 and 5; standard deviations over N - 1 = 2: 1 and 0.
    train = np.float32([[1, 5], [2, 5], [3, 5]])
    test = np.float32([[9, 9], [2.2, 4], [-9, 5]])
    got = transformed(bats(lam=0.5), train, test)
    np.testing.assert_allclose(got, [[2.5, 5], [2.2, 5], [1.5, 5]], rtol=1e-6)


def test_bats_of_a_single_example_is_that_example():
    got = compiled.apply(bats(), jood.fit(bats(), [record(TRAIN[:1])]), record(TEST))
    np.testing.assert_allclose(got.penultimate, np.tile(TRAIN[:1], (len(TEST), 1)))


def test_bats_takes_a_traced_width():
    fitted = jood.fit(bats(), [record(TRAIN)])
    apply = jax.jit(lambda lam: bats(lam=lam).apply(fitted, record(TEST)).penultimate)
    expected = reference_scores.bats(TRAIN, TEST, 0.7)
    np.testing.assert_allclose(apply(0.7), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("lam", [0, -1.0, float("inf"), float("nan"), "1", True])
def test_bats_width_is_checked(lam):
    with pytest.raises(ValueError, match="lam must be a finite number above 0"):
        bats(lam=lam)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.85])
def test_scale_matches_reference(q):
    expected = reference_scores.scale(TEST, q)
    np.testing.assert_allclose(transformed(scale(q=q)), expected, rtol=1e-5)


def test_scale_worked_out_by_hand():
    # q = 0.6 keeps 2 of 5 entries: s1 = 10, s2 = 7.
    row = np.float32([[3.0, 1.0, 4.0, 0.0, 2.0]])
    got = transformed(scale(q=0.6), test=row)
    np.testing.assert_allclose(got, row * np.exp(10 / 7), rtol=1e-6)


def test_ash_s_is_scale_after_pruning():
    got = ash.scale(TEST, 0.85)
    kept = np.asarray(ash.prune(TEST, 0.85)) > 0
    np.testing.assert_allclose(got, transformed(scale()) * kept, rtol=1e-6)


def test_scale_leaves_a_zero_feature_zero():
    zeros = np.zeros((2, 20), np.float32)
    np.testing.assert_array_equal(transformed(scale(), test=zeros), zeros)


@pytest.mark.parametrize(("low", "high"), [(0.1, 0.9), (0.6, 0.95), (0.5, 0.51)])
def test_vra_matches_reference(low, high):
    expected = reference_scores.vra(TRAIN, TEST, low, high)
    got = transformed(vra(low=low, high=high))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_vra_worked_out_by_hand():
    row = np.float32([0.0, 0.99, 1.0, 1.5, 2.0, 2.01, 9.0])
    expected = np.float32([0, 0, 1, 1.5, 2, 2, 2])
    np.testing.assert_array_equal(rectify(row, 1.0, 2.0), expected)


def test_vra_with_a_threshold_of_zero_is_react():
    train = record(np.float32([[0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5]]))
    test = record(np.float32([[0, 0.1, 1, 2, 3, 4, 4.5, 5, 6, 7, 8]]))
    both, one = vra(low=0.3, high=0.8), jood.parse("react(q=0.8)")
    got = compiled.apply(both, jood.fit(both, [train]), test).penultimate
    expected = compiled.apply(one, jood.fit(one, [train]), test).penultimate
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("value", [0, 1, 10, -0.1, float("nan"), "0.5", True])
@pytest.mark.parametrize(
    ("method", "name"), [(scale, "q"), (vra, "low"), (vra, "high")]
)
def test_quantiles_are_checked(method, name, value):
    with pytest.raises(ValueError, match=rf"{name} must be a fraction in \(0, 1\)"):
        method(**{name: value})


@pytest.mark.parametrize(("low", "high"), [(0.9, 0.1), (0.5, 0.5)])
def test_vras_order_is_checked(low, high):
    with pytest.raises(ValueError, match="low must be below high"):
        vra(low=low, high=high)


@pytest.mark.parametrize("component", [scale(), vra()])
def test_negative_features_are_warned_of(component):
    fitted = jood.fit(component, [record(TRAIN)])
    with pytest.warns(
        AssumptionWarning,
        match=r"negative values; the paper.*normalise\(\)\|mahalanobis\(\)",
    ):
        component.apply(fitted, record(TEST - 1.0))
