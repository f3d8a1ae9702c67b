"""OptFS against the slow reference."""

from helpers import compiled
import numpy as np
import pytest
from reference import leading as reference

import jood
from jood.methods.transforms.optfs import optfs

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(12, 4)).astype("f")
BIAS = RNG.normal(size=4).astype("f")
TRAIN, TEST = np.maximum(RNG.normal(0.3, 1.0, (2, 60, 12)), 0).astype("f")


def shaped(component):
    parts = [jood.Activations.of(p, KERNEL, BIAS) for p in np.array_split(TRAIN, 3)]
    acts = jood.Activations.of(TEST, KERNEL, BIAS)
    return compiled.apply(component, jood.fit(component, parts), acts).penultimate


@pytest.mark.parametrize(("bins", "low", "high"), [(1, 0.01, 0.99), (7, 0.5, 0.95)])
def test_optfs_matches_reference(bins, low, high):
    got = shaped(optfs(bins=bins, low=low, high=high))
    expected = reference.optfs(TRAIN, KERNEL, BIAS, TEST, bins, low, high)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-3)


def test_features_without_a_spread_have_no_bins():
    acts = jood.Activations.of(np.ones((4, 12), "f"), KERNEL, BIAS)
    with pytest.raises(ValueError, match=r"optfs.*both quantiles.*are 1"):
        jood.fit(optfs(), [acts])


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"bins": 0}, "bins must be an integer >= 1"),
        ({"low": 0.0}, r"low must be a fraction in \(0, 1\)"),
        ({"low": 0.9, "high": 0.1}, "low must be below high"),
    ],
)
def test_optfs_refuses_bad_values(values, match):
    with pytest.raises(ValueError, match=match):
        optfs(**values)
