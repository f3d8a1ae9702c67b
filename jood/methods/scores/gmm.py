"""The GMM score: foreground and background of a map as two Gaussians per channel.

The model behind Feature Sim, used as a score itself: the activations of a channel
over its locations are a mixture of a foreground f and a background g, fitted by EM
for each image. `feature_sim_theory` says what Feature Sim becomes under that model.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import component
from jood.core import norms
from jood.core.component import Component
from jood.methods.scores.feature_map import flat

# In units of a channel's variance. A ReLU map is exactly 0 at many locations: without
# a floor the background would become a point mass.
_FLOOR = 1e-3
_LEAST = 1e-3  # locations in a component, below which it counts as this many


def fit_mixture(z: jax.Array, iterations: int = 20) -> tuple[jax.Array, ...]:
    """Fits a mixture of two 1-D Gaussians to each channel, by EM (Eq. 17-18).

    It starts from the locations above and below the channel's mean, on standardised
    activations: the background's sums are what the foreground's leave of N, 0 and N.

    Args:
      z: floating [B, N, C], N locations.
      iterations: E and M steps, at least 1.

    Returns:
      (w, μ1, μ2, σ1, σ2), each float32 [B, C]: the foreground's weight in [0, 1],
      and means and standard deviations with μ1 >= μ2. w μ1 + (1 - w) μ2 is the
      channel's mean (Eq. 8). A constant channel has μ1 = μ2 and σ1 = σ2 = 0.
    """
    z = z.astype(jnp.float32)
    number = z.shape[1]
    mean = z.mean(axis=1, keepdims=True)  # [B, 1, C]
    centred = z - mean
    centred = centred - centred.mean(axis=1, keepdims=True)  # of float32 rounding
    scale = norms.l2(centred, axis=1, keepdims=True) / jnp.sqrt(number)
    # A spread below float32 rounding of the mean is not a spread.
    scale = jnp.where(scale > 1e-6 * jnp.abs(mean), scale, 0.0)
    x = jnp.where(scale > 0, centred / jnp.where(scale > 0, scale, 1.0), 0.0)

    def maximise(share: jax.Array) -> tuple[jax.Array, ...]:
        """M step, from the foreground's share γ [B, N, C] of each location."""
        first = share * x
        count, total, square = share.sum(1), first.sum(1), (first * x).sum(1)  # [B, C]
        one, two = jnp.maximum(count, _LEAST), jnp.maximum(number - count, _LEAST)
        mu1, mu2 = total / one, -total / two
        variance1 = jnp.maximum(square / one - jnp.square(mu1), _FLOOR)
        variance2 = jnp.maximum((number - square) / two - jnp.square(mu2), _FLOOR)
        return one / (one + two), mu1, mu2, variance1, variance2

    def step(_: Any, mixture: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        w, mu1, mu2, variance1, variance2 = mixture
        # log(w N(x; 1)) - log((1 - w) N(x; 2)) = a x² + b x + c: far from both means
        # the densities underflow, their logarithms do not.
        half1, half2 = 0.5 / variance1, 0.5 / variance2
        a = half2 - half1
        b = 2 * (mu1 * half1 - mu2 * half2)
        c = jnp.square(mu2) * half2 - jnp.square(mu1) * half1
        c += jnp.log(w) - jnp.log1p(-w) + 0.5 * jnp.log(variance2 / variance1)
        odds = (a[:, None] * x + b[:, None]) * x + c[:, None]  # [B, N, C]
        return maximise(jax.nn.sigmoid(odds))

    start = maximise((x > 0).astype(jnp.float32))
    w, mu1, mu2, variance1, variance2 = jax.lax.fori_loop(0, iterations, step, start)
    mean, scale = mean[:, 0], scale[:, 0]
    mu1, mu2 = mean + scale * mu1, mean + scale * mu2
    sigma1, sigma2 = scale * jnp.sqrt(variance1), scale * jnp.sqrt(variance2)
    swap = mu1 < mu2
    return (
        jnp.where(swap, 1 - w, w),
        jnp.maximum(mu1, mu2),
        jnp.minimum(mu1, mu2),
        jnp.where(swap, sigma2, sigma1),
        jnp.where(swap, sigma1, sigma2),
    )


def gmm_score(feature_map: jax.Array, iterations: int = 20) -> jax.Array:
    """mean_C (μ_f - μ_g) · w_f / w_g; [B, H, W, C] or [B, L, C] -> float32 [B]."""
    z = flat(feature_map)
    w, mu1, mu2, *_ = fit_mixture(z, iterations)
    # Less than one location is not a background; without this the ratio has no bound.
    background = jnp.maximum(1 - w, 1 / z.shape[1])
    return ((mu1 - mu2) * w / background).mean(-1)


@component.row("FS+TA (GMM)", "ta(k={k})|gmm()")
def gmm(iterations: int = 20, stage: str = "C5") -> Component:
    """GMM score: S = 1/C Σ_c (μ_f - μ_g) · w_f / w_g of the fitted mixtures.

    Args:
      iterations: Steps of EM, at least 1. The paper gives no number.
      stage: stage whose map is read; the paper's is C5.

    Returns:
      A score component, in units of the map, >= 0; 0 for a constant map. The
      background's weight w_g is at least one location, 1 / HW.

    Raises:
      ValueError: iterations is not an integer above 0, or stage is not a stage name.

    References:
      Feature Map Matters in Out-of-Distribution Detection, Sec. 7, Eq. 7-8,
      Eq. 17-18, Table 17.
    """
    arguments.check_count("iterations", iterations)
    component.check_stage(stage)
    spec = component.call_spec("gmm", iterations=iterations, stage=stage)
    return component.score(
        spec, lambda acts: gmm_score(acts.stage(stage), iterations), (stage,)
    )
