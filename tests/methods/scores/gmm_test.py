"""The GMM score, its EM, and the theory of Feature Sim under a mixture."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import maps as reference_maps

from jood import testing
from jood.methods.scores.feature_map import mean_absolute_deviation
from jood.methods.scores.feature_sim_theory import expected_feature_sim
from jood.methods.scores.feature_sim_theory import expected_feature_sim_slope
from jood.methods.scores.gmm import fit_mixture as eager_mixture
from jood.methods.scores.gmm import gmm
from jood.methods.scores.gmm import gmm_score as eager_score

fit_mixture = jax.jit(eager_mixture, static_argnums=1)
gmm_score = jax.jit(eager_score, static_argnums=1)


@functools.cache
def _maps():
    """ReLU maps with objects: many exact zeros, two levels in most channels."""
    rng = np.random.default_rng(0)
    maps = rng.normal(0.3, 0.5, (5, 6, 7, 12))
    maps[:, 2:4, 2:5] += rng.uniform(0.5, 4, (5, 1, 1, 12))
    return np.maximum(maps, 0).astype(np.float32)


def _values(*parts):
    """One channel of one image, [1, N, 1]."""
    return jnp.asarray(np.concatenate(parts), jnp.float32)[None, :, None]


@pytest.mark.parametrize("iterations", [1, 5, 20])
def test_the_mixture_equals_textbook_em(iterations):
    maps = _maps()
    got = fit_mixture(jnp.asarray(maps.reshape(5, 42, 12)), iterations)
    for array in got:
        chex.assert_shape(array, (5, 12))
        chex.assert_type(array, jnp.float32)
    got = np.stack(got)  # [5 values, B, C]
    for b in range(5):
        for c in range(12):
            expected = reference_maps.mixture(maps[b, ..., c].ravel(), iterations)
            np.testing.assert_allclose(got[:, b, c], expected, rtol=2e-3, atol=2e-3)


def test_the_score_equals_the_reference():
    np.testing.assert_allclose(
        gmm_score(_maps()), reference_maps.gmm(_maps()), rtol=1e-3
    )


def test_two_clusters_are_found():
    rng = np.random.default_rng(1)
    values = _values(rng.normal(1, 0.2, 3000), rng.normal(4, 0.5, 1000))
    w, mu1, mu2, sigma1, sigma2 = (float(v[0, 0]) for v in fit_mixture(values))
    assert w == pytest.approx(0.25, abs=0.01)
    assert (mu1, mu2) == pytest.approx((4, 1), abs=0.05)
    assert (sigma1, sigma2) == pytest.approx((0.5, 0.2), abs=0.03)


@pytest.mark.parametrize("iterations", [1, 3, 20])
def test_the_mixture_s_mean_is_the_channel_s(iterations):
    """Remark 7.1, Eq. 8: w μ1 + (1 - w) μ2 = μ, whatever the iteration."""
    z = jnp.asarray(_maps().reshape(5, 42, 12))
    w, mu1, mu2, *_ = fit_mixture(z, iterations)
    np.testing.assert_allclose(w * mu1 + (1 - w) * mu2, z.mean(1), rtol=1e-5, atol=1e-5)
    assert (mu1 >= mu2).all()


def test_em_is_stable_far_in_the_tails():
    """A tight background and one far outlier: both densities underflow somewhere."""
    values = _values(np.zeros(48), [1e4])
    w, mu1, mu2, *_ = (float(v[0, 0]) for v in fit_mixture(values))
    assert w == pytest.approx(1 / 49, rel=1e-3)
    assert mu1 == pytest.approx(1e4, rel=1e-3)
    assert mu2 == pytest.approx(0, abs=1)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1e4])
def test_a_constant_map_scores_zero(value):
    scores = gmm_score(jnp.full((2, 7, 7, 3), value))
    np.testing.assert_array_equal(scores, np.zeros(2))


def test_the_score_scales_with_the_map_and_ignores_a_shift():
    score = gmm_score(_maps())
    np.testing.assert_allclose(gmm_score(3 * _maps()), 3 * score, rtol=1e-3)
    np.testing.assert_allclose(gmm_score(_maps() + 2), score, rtol=1e-3)


@pytest.mark.parametrize("iterations", [0, -1, 2.5, True, "3"])
def test_bad_iterations_are_refused(iterations):
    with pytest.raises(ValueError, match="iterations must be an integer >= 1"):
        gmm(iterations=iterations)


@pytest.mark.slow
def test_tokens_and_stages_are_read():
    component = gmm(iterations=3, stage="C4")
    assert component.spec == "gmm(iterations=3, stage='C4')"
    acts = testing.toy_activations(component, testing.toy_images(3, 0)[0])
    np.testing.assert_allclose(
        jax.jit(component.apply)((), acts), gmm_score(acts.stages["C4"], 3)
    )
    tokens = _maps().reshape(5, 42, 12)
    np.testing.assert_allclose(eager_score(tokens), eager_score(_maps()), rtol=1e-6)


GRID = np.array(
    [
        (w, d, s1, s2)
        for w in (0.05, 0.3, 0.9)
        for d in (0.0, 0.5, 3.0)
        for s1 in (0.2, 1.5)
        for s2 in (0.4, 1.0)
    ]
).T


def test_eq_11_equals_eq_9_and_10():
    expected = [reference_maps.folded_normal_mixture(*column) for column in GRID.T]
    got = jax.jit(expected_feature_sim)(*np.float32(GRID))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("column", [0, 7, 14, 23, 35])
def test_eq_11_is_the_expected_feature_sim_of_a_map(column):
    """Monte Carlo, through the score itself: a map of independent draws."""
    w, d, sigma1, sigma2 = GRID[:, column]
    rng = np.random.default_rng(column)
    front = rng.random((1, 500, 500, 1)) < w
    values = np.where(
        front,
        rng.normal(d, sigma1, front.shape),
        rng.normal(0, sigma2, front.shape),
    )
    got = jax.jit(mean_absolute_deviation)(np.float32(values))
    expected = jax.jit(expected_feature_sim)(w, d, sigma1, sigma2)
    np.testing.assert_allclose(got[0], expected, rtol=0.01)


def test_eq_12_is_the_derivative_and_never_negative():
    columns = np.float32(GRID)
    slope = np.asarray(jax.jit(expected_feature_sim_slope)(*columns))
    gradients = jax.vmap(jax.grad(expected_feature_sim, argnums=1))
    gradient = jax.jit(gradients)(*columns)
    np.testing.assert_allclose(slope, gradient, rtol=1e-4, atol=1e-6)
    assert (slope >= 0).all()
    np.testing.assert_array_equal(slope == 0, GRID[1] == 0)


@pytest.mark.parametrize("w", [0.05, 0.3, 0.9])
def test_feature_sim_grows_with_the_distance(w):
    d = np.linspace(0, 5, 50, dtype=np.float32)
    s = jax.jit(expected_feature_sim)(
        np.float32(w), d, np.float32(0.7), np.float32(0.4)
    )
    chex.assert_shape(s, (50,))
    assert (np.diff(s) > 0).all()
