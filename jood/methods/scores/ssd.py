"""SSD: Mahalanobis distance of features of length 1, one Gaussian or one per class.

The features are those of the encoder, before any projection; SSD+ is the same score on
a network that was trained with SupCon.
"""

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jood.core import component
from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.component import Statistic
from jood.core.stats import class_gaussians
from jood.methods import nearest_neighbors

Clusters = Literal["one", "classes"]


def nearest(gaussians: dict[str, Any], h: jax.Array) -> jax.Array:
    """min_c ‖(h - μ_c) L_c‖₂², float32 [B], one Gaussian at a time.

    Args:
      gaussians: 'means' μ [C, D] and 'factors' L [C, D, D], L Lᵀ = Σ⁻¹.
      h: float32 [B, D].
    """

    def distance(gaussian: tuple[jax.Array, jax.Array]) -> jax.Array:
        mean, factor = gaussian
        highest = jax.lax.Precision.HIGHEST
        moved = jnp.matmul(h - mean[None], factor, precision=highest)
        return jnp.square(moved).sum(-1)

    pairs = tuple(jnp.asarray(gaussians[name]) for name in ("means", "factors"))
    return jax.lax.map(distance, pairs).min(0)


@component.row("SSD")
def ssd(clusters: Clusters = "one") -> Component:
    """Distance of unit features: S = -min_c (ĥ - μ_c)ᵀ Σ_c⁻¹ (ĥ - μ_c), ĥ = h / ‖h‖₂.

    Σ_c is the covariance (divided by the number) of a cluster's own features, Σ_c⁻¹ its
    pseudo-inverse. The authors' code first divides by each dimension's standard
    deviation, which changes nothing where Σ has full rank.

    Args:
      clusters: 'one' Gaussian of all training features (SSD, SSD+), or one of each of
        the 'classes', which needs labels and more than D examples of each.

    Returns:
      A score component, <= 0. It fits means [C, D] and factors [C, D, D]: in one pass
      for 'one', in two for 'classes'.

    Raises:
      ValueError: clusters is neither; while fitting, if there are no labels.

    References:
      Sehwag, Chiang, Mittal, SSD, ICLR 2021, Eq. 2; its released code for the norm.
    """
    if clusters not in get_args(Clusters):
        known = " or ".join(map(repr, get_args(Clusters)))
        raise ValueError(f"clusters must be {known}, got {clusters!r}.")

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        return -nearest(fitted[-1], _unit(acts))

    spec = component.call_spec("ssd", clusters=clusters)
    passes: Any = (lambda _: _one(),)
    if clusters == "classes":
        passes = (
            lambda _: class_gaussians.class_means(_unit, spec),
            lambda fitted: _classes(fitted[0]),
        )
    return component.build(
        spec,
        "score",
        apply,
        passes,
        reads=("feature",),
        needs_labels=clusters == "classes",
    )


def _unit(acts: Activations) -> jax.Array:
    return nearest_neighbors.normalised(acts.penultimate)


def _gaussians(
    means: np.ndarray, scatters: np.ndarray, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """Means and square factors, float32; columns beyond the rank are 0."""
    width = means.shape[-1]
    factors = np.zeros((len(means), width, width), np.float32)
    for one, scatter, count in zip(factors, scatters, counts, strict=True):
        root = class_gaussians.inverse_root(scatter / count, int(count) - 1)
        one[:, : root.shape[1]] = root
    return {"means": means.astype(np.float32), "factors": factors}


def _one() -> Statistic:
    """The mean and covariance of all features."""
    moments = stats.second_moments(_unit)

    def finalize(state: Any) -> dict[str, np.ndarray]:
        whole = moments.finalize(state)
        count = np.array([max(int(whole["count"]), 1)])
        return _gaussians(whole["mean"][None], whole["scatter"][None], count)

    return moments._replace(finalize=finalize)


def _classes(classes: dict[str, Any]) -> Statistic:
    """The scatter of each class about its own mean, float32 [K, D, D]."""
    means = jnp.asarray(classes["mean"])  # [K, D]

    def init(acts: Activations) -> jax.Array:
        return jnp.zeros((len(means), means.shape[1], means.shape[1]))

    def update(state: jax.Array, acts: Activations, mask: jax.Array) -> jax.Array:
        label = stats.by_label(acts)
        residual = (_unit(acts) - means[label]) * mask[:, None]  # [B, D]
        residual = jnp.where(mask[:, None] > 0, residual, 0.0)

        def add(state: jax.Array, row: tuple[jax.Array, jax.Array]) -> Any:
            label, residual = row
            return state.at[label].add(jnp.outer(residual, residual)), None

        # One example at a time: all outer products are B x D x D.
        return jax.lax.scan(add, state, (label, residual))[0]

    def finalize(state: Any) -> dict[str, np.ndarray]:
        there = classes["count"] > 0
        parts = classes["mean"], np.asarray(state, np.float64), classes["count"]
        return _gaussians(*(np.asarray(part)[there] for part in parts))

    return Statistic(init, update, lambda a, b: a + b, finalize)
