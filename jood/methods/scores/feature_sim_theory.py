"""Why Feature Sim works: its value under a two-Gaussian model of a channel.

Let the activations of a channel be a mixture, foreground N(μ1, σ1²) with weight w and
background N(μ2, σ2²), as `gmm.fit_mixture` fits. The Feature Sim of the channel,
E|ĥ - μ|, then grows with the distance d = μ1 - μ2, on which ID and OOD images differ.
"""

import jax
import jax.numpy as jnp

_cdf = jax.scipy.stats.norm.cdf
_pdf = jax.scipy.stats.norm.pdf


def expected_feature_sim(
    w: jax.Array, d: jax.Array, sigma1: jax.Array, sigma2: jax.Array
) -> jax.Array:
    """E|ĥ - μ| of a two-Gaussian mixture.

    s = 2w(w-1) d Φ((w-1)d/σ1) + 2w(1-w) d Φ(wd/σ2)
        + 2w σ1 φ((1-w)d/σ1) + 2(1-w) σ2 φ(wd/σ2)

    Args:
      w: the foreground's weight in [0, 1]; floating, any shape (as are the others).
      d: μ1 - μ2, >= 0, in units of the map.
      sigma1: the foreground's standard deviation, above 0.
      sigma2: the background's, above 0.

    Returns:
      Floating, of the arguments' common shape, in units of the map.

    References:
      Feature Map Matters in Out-of-Distribution Detection, Eq. 11, App. D.3.
    """
    w, d, sigma1, sigma2 = jnp.broadcast_arrays(w, d, sigma1, sigma2)
    one, two = (1 - w) * d / sigma1, w * d / sigma2
    between = 2 * w * (1 - w) * d * (_cdf(two) - _cdf(-one))
    return between + 2 * w * sigma1 * _pdf(one) + 2 * (1 - w) * sigma2 * _pdf(two)


def expected_feature_sim_slope(
    w: jax.Array, d: jax.Array, sigma1: jax.Array, sigma2: jax.Array
) -> jax.Array:
    """∂s/∂d = 2w(1-w) (Φ(wd/σ2) - Φ((w-1)d/σ1)), in [0, 1/2].

    Arguments and shape are those of `expected_feature_sim`.

    References:
      Feature Map Matters in Out-of-Distribution Detection, Eq. 12, Remark 7.2.
    """
    w, d, sigma1, sigma2 = jnp.broadcast_arrays(w, d, sigma1, sigma2)
    return 2 * w * (1 - w) * (_cdf(w * d / sigma2) - _cdf((w - 1) * d / sigma1))
