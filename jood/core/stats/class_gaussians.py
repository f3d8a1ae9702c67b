"""Gaussians of the classes with one covariance: their statistics and the distance.

Pass 0 sums the class means μ_k, pass 1 the scatter of h - μ_y. The squared Mahalanobis
distance is then a Euclidean one after a projection: with a factor L L^T = Σ⁻¹,
d²_k = ‖(h - μ_k) L‖².
"""

from collections.abc import Callable
from typing import Any
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Statistic
from jood.core.stats import Measure

# Eigenvalues of Σ below this share of the largest are float32 rounding of the sums.
CUT_OFF = 2e-7


def distance(gaussian: dict[str, Any], h: jax.Array) -> jax.Array:
    """Squared distance to the nearest mean, min_k ‖(h - μ_k) L‖², float32 [B].

    Args:
      gaussian: Gaussian that `tied` fits.
      h: floating [B, D].
    """
    centred = h.astype(jnp.float32) - gaussian["centre"][None]
    highest = jax.lax.Precision.HIGHEST
    a = jnp.matmul(centred, gaussian["factor"], precision=highest)  # [B, R]
    means = jnp.asarray(gaussian["means"])  # [K, R], projected
    cross = jnp.matmul(a, means.T, precision=highest)  # [B, K]
    # ‖a‖² is the same for every class. It is left out of the comparison, and the
    # distance is taken anew, as a sum of squares, so that nothing large cancels.
    nearest = jnp.argmin(jnp.square(means).sum(-1)[None] - 2 * cross, axis=-1)
    return jnp.square(a - means[nearest]).sum(-1)


def class_means(measure: Measure, name: str) -> Statistic:
    """Pass 0: {'count': int32 [K], 'mean': float32 [K, D]} by label; see `tied`."""

    def finalize(state: Any) -> dict[str, np.ndarray]:
        stats.check_classes(state["count"], name, 1, "They are left out.")
        return {
            "count": np.asarray(state["count"], np.int32),
            "mean": np.asarray(state["mean"], np.float32),
        }

    return stats.class_means(measure)._replace(finalize=finalize)


def tied(measure: Measure, classes: dict[str, Any], name: str) -> Statistic:
    """Pass 1: the class-conditional Gaussians, ready for `distance`.

    Args:
      measure: activations -> float [B, D].
      classes: the fitted value of `class_means`.
      name: the name of the method, for warnings.

    Returns:
      A statistic that finalizes to {'within': gaussian}; a gaussian is {'centre':
      [D], 'factor': [D, R], 'means': [K', R]}, float32, so that
      ‖(h - centre) factor - means_k‖² is the distance.
    """
    return _within_scatter(
        measure, classes, name, lambda *parts, share: {"within": _gaussian(*parts)}
    )


def tied_and_total(measure: Measure, classes: dict[str, Any], name: str) -> Statistic:
    """Pass 1: as `tied`, and the single Gaussian over all data, {..., 'total': ...}.

    After the projection Σ is the identity and the total covariance is I + M,
    M = Σ_k n_k/N m_k m_kᵀ. Both distances are equal except in the span of M, so only
    that is kept: what they share would cancel, and lose digits.
    """

    def finish(centre: Any, factor: Any, means: Any, share: Any) -> dict[str, Any]:
        weighted = np.sqrt(share)[:, None] * means
        _, singular, basis = np.linalg.svd(weighted, full_matrices=False)
        spanned = max(int((singular > 1e-7 * singular[0]).sum()), 1)
        basis = basis[:spanned].T  # [R, P]
        shrink = 1 / np.sqrt(1 + singular[:spanned] ** 2)  # [P]
        total = factor @ basis * shrink[None]
        return {
            "within": _gaussian(centre, factor @ basis, means @ basis),
            "total": _gaussian(centre, total, np.zeros((1, spanned))),
        }

    return _within_scatter(measure, classes, name, finish)


def _within_scatter(
    measure: Measure,
    classes: dict[str, Any],
    name: str,
    finish: Callable[..., dict[str, Any]],
) -> Statistic:
    """The scatter of h - μ_y; `finish` gets a Gaussian's values and n_k / N."""

    def residual(acts: Activations) -> jax.Array:
        mean = jnp.asarray(classes["mean"])[stats.by_label(acts)]  # [B, D]
        return measure(acts).astype(jnp.float32) - mean

    def finalize(state: Any) -> dict[str, Any]:
        present = classes["count"] > 0
        count = classes["count"][present].astype(np.float64)
        mean = classes["mean"][present].astype(np.float64)  # [K', D]
        number = int(count.sum())
        centre = count @ mean / number
        scatter = moments.finalize(state)["scatter"]
        factor = inverse_root(scatter / number, number - len(mean))
        width, rank = factor.shape
        if not factor.any():
            warnings.warn(
                f"{name}: the training features do not vary within the classes, so "
                "every image is at the distance 0 and gets the same score. Does the "
                "network give the same output for all images? Are its weights loaded?",
                stacklevel=2,
            )
        full = width + len(mean)  # one example per class goes into its mean
        if number < full:
            warnings.warn(
                f"{name} needs at least D + K = {full} training examples for a "
                f"covariance of full rank (D = {width}, {len(mean)} classes), got "
                f"N = {number}. It used a pseudo-inverse of rank {rank}: differences "
                "in all other directions count nothing.",
                stacklevel=2,
            )
        means = (mean - centre[None]) @ factor  # [K', R]
        return finish(centre, factor, means, share=count / number)

    moments = stats.second_moments(residual)
    return moments._replace(finalize=finalize)


def _gaussian(*values: np.ndarray) -> dict[str, np.ndarray]:
    names = ("centre", "factor", "means")
    return {k: v.astype(np.float32) for k, v in zip(names, values, strict=True)}


def inverse_root(covariance: np.ndarray, rank: int) -> np.ndarray:
    """L [D, R] = V λ^(-1/2), so that L L^T is the pseudo-inverse of that rank."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)  # ascending
    keep = values > max(CUT_OFF * values[-1], np.finfo(np.float32).tiny)
    keep[: max(len(values) - rank, 0)] = False  # further eigenvalues are rounding
    scale = np.where(keep, 1 / np.sqrt(np.where(keep, values, 1.0)), 0.0)
    keep[-1] = True  # where nothing varies: a column of zeros, not an empty array
    return (vectors * scale[None])[:, keep]
