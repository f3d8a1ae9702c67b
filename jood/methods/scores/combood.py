"""CombOOD: a nearest neighbour and a Gaussian, each good at what the other misses.

The distance to a neighbour makes no assumption and finds near OOD; the distance to the
centre of transformed values assumes Gaussians and finds far OOD.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood.core import component
from jood.core import norms
from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.component import Statistic
from jood.core.stats import reservoir
from jood.core.stats import yeo_johnson
from jood.methods import nearest_neighbors

_NEAREST = 1e-12  # smallest squared distance, so that its logarithm is finite


@component.row("CombOOD", "combood(k={knn})")
def combood(k: int = 50, capacity: int = reservoir.CAPACITY) -> Component:
    """Log distance to a neighbour and to the centre: S = -√D log d²_(k) - m².

    d²_(k) = ‖ĥ - ĥ_(k)‖² is the squared distance to the k-th nearest training feature,
    ĥ = h / ‖h‖₂, and m² = tᵀ (C + I)⁻¹ t. t is ĥ, standardised, made Gaussian by
    Yeo-Johnson's transformation of its own λ_d, and standardised again, and C the
    covariance of t over the training images. The authors also take, in place of ĥ,
    the extremes of what enters each ReLU, which no record here holds.

    Args:
      k: rank of the neighbour, counted from 1; a bank that keeps a part of the training
        features takes that part of k, as in `knn`.
      capacity: number of training features that are kept, at least k, a uniform sample.

    Returns:
      A score component. It fits mean and scale of ĥ, λ, float32 [D], the whitening of
      t, float32 [D, D], and a bank of unit features, float32 [min(N, capacity), D], in
      five passes.

    Raises:
      ValueError: see `nearest_neighbors.bank`.

    References:
      Rajasekaran, Sajol, Berglind, Mukhopadhyay, Das, COMBOOD, SDM 2024, the
      semi-parametric score; Yeo, Johnson, A New Family of Power Transformations,
      Biometrika 2000.
    """
    bank = nearest_neighbors.proportional_bank(_unit, k, capacity)

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        query, rows = _unit(acts), jnp.asarray(fitted[4]["rows"])
        index = nearest_neighbors.kth(query, rows, k, fitted[4]["k"])
        nearest = jnp.square(query - rows[index]).sum(-1)
        root = float(np.sqrt(query.shape[-1]))
        m2 = centre_distance(fitted, values(acts))
        return -root * jnp.log(jnp.maximum(nearest, _NEAREST)) - m2

    passes = (
        lambda _: _scaling(),
        lambda fitted: yeo_johnson.brackets(_standardised(fitted)),
        lambda fitted: yeo_johnson.best(_standardised(fitted), fitted[1]),
        lambda fitted: _whitening(fitted),
        lambda _: bank,
    )
    spec = component.call_spec("combood", k=k, capacity=capacity)
    return component.build(spec, "score", apply, passes, reads=("feature",))


def values(acts: Activations) -> jax.Array:
    """What is made Gaussian, float32 [B, D]: the unit feature."""
    return _unit(acts)


def centre_distance(fitted: tuple[Any, ...], v: jax.Array) -> jax.Array:
    """m² of values [B, V] as `combood` has fitted them; float32 [B]."""
    t = yeo_johnson.transform(_scaled(fitted[0], v), jnp.asarray(fitted[2]))
    whitening = fitted[3]
    centred = _scaled(whitening, t)
    white = jnp.matmul(centred, jnp.asarray(whitening["factor"]), precision="highest")
    return jnp.square(white).sum(-1)


def _unit(acts: Activations) -> jax.Array:
    return norms.unit(acts.penultimate)


def _scaled(scaling: dict[str, Any], v: jax.Array) -> jax.Array:
    mean, scale = (jnp.asarray(scaling[key])[None] for key in ("mean", "scale"))
    return (v - mean) * scale


def _standardised(fitted: tuple[Any, ...]) -> stats.Measure:
    return lambda acts: _scaled(fitted[0], values(acts))


def _scaling() -> Statistic:
    """Pass 0: mean, and 1 / standard deviation, of the values, float32 [V]."""
    moments = stats.moments(lambda acts: values(acts))

    def finalize(state: Any) -> dict[str, np.ndarray]:
        return _mean_and_scale(state["mean"], stats.variance(state))

    return moments._replace(finalize=finalize)


def _whitening(fitted: tuple[Any, ...]) -> Statistic:
    """Pass 3: mean and scale of t, and L with L Lᵀ = (C + I)⁻¹, float32 [V, V]."""
    standardised, lam = _standardised(fitted), jnp.asarray(fitted[2])
    moments = stats.second_moments(
        lambda acts: yeo_johnson.transform(standardised(acts), lam)
    )

    def finalize(state: Any) -> dict[str, np.ndarray]:
        state = moments.finalize(state)
        count, scatter = max(int(state["count"]), 2), state["scatter"]
        scaling = _mean_and_scale(state["mean"], np.diag(scatter) / count)
        scale = scaling["scale"].astype(np.float64)
        covariance = scatter * np.outer(scale, scale) / (count - 1)
        eigenvalues, vectors = np.linalg.eigh(covariance + np.eye(len(covariance)))
        factor = vectors / np.sqrt(eigenvalues)[None]
        return {**scaling, "factor": factor.astype(np.float32)}

    return moments._replace(finalize=finalize)


def _mean_and_scale(mean: Any, variance: Any) -> dict[str, np.ndarray]:
    """A value that does not vary is not scaled."""
    deviation = np.sqrt(np.asarray(variance, np.float64))
    varies = deviation > 1e-7 * np.maximum(np.abs(mean), 1e-30)
    scale = 1 / np.where(varies, deviation, 1.0)
    return {"mean": np.asarray(mean, np.float32), "scale": scale.astype(np.float32)}
