"""CombOOD and its Yeo-Johnson λ against SciPy and the slow reference."""

import jax
import numpy as np
import pytest
from reference import leading as reference
import scipy.stats

import jood
from jood.core.stats import yeo_johnson
from jood.methods.scores.combood import combood

RNG = np.random.default_rng(0)
KERNEL = np.ones((6, 2), "f")
TRAIN = (RNG.gamma(1.5, size=(80, 6)) - 0.4).astype("f")
TEST = RNG.normal(0.5, 1.0, (12, 6)).astype("f")


@pytest.fixture(scope="module")
def fitted():
    parts = [jood.Activations.of(p, KERNEL) for p in np.array_split(TRAIN, 2)]
    return jood.fit(combood(k=5), parts)


def test_combood_matches_reference(fitted):
    apply = jax.jit(combood(k=5).apply)
    got = apply(fitted, jood.Activations.of(TEST, KERNEL))
    expected = reference.combood(TRAIN, TEST, fitted[2].astype(float), 5)
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_each_lambda_is_that_of_maximum_likelihood(fitted):
    unit = TRAIN / np.linalg.norm(TRAIN, axis=-1, keepdims=True)
    standardised = (unit - unit.mean(0)) / unit.std(0)
    expected = [scipy.stats.yeojohnson_normmax(x) for x in standardised.T.astype(float)]
    np.testing.assert_allclose(fitted[2], expected, rtol=1e-3, atol=1e-3)


def test_the_transformation_is_scipys():
    x = np.linspace(-3, 3, 13).astype("f")
    lam = np.float32([-1.5, 0.0, 0.04, 1.0, 2.0, 3.5])
    got = yeo_johnson.transform(np.tile(x[:, None], (1, len(lam))), lam)
    for column, value in zip(np.asarray(got).T, lam, strict=True):
        expected = [reference.yeo_johnson(float(v), float(value)) for v in x]
        np.testing.assert_allclose(column, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("values", [{"k": 0}, {"capacity": 0}, {"k": 9, "capacity": 8}])
def test_combood_refuses_bad_values(values):
    with pytest.raises(ValueError, match="must be"):
        combood(**values)
