"""Gaussians of the classes with one covariance: their statistics and the distance.

Pass 0 sums the class means μ_k, pass 1 the scatter of h - μ_y. The squared Mahalanobis
distance is then a Euclidean one after a projection: with a factor L L^T = Σ⁻¹,
d²_k = ‖(h - μ_k) L‖². Used by `jood.scores.mahalanobis` and `mahalanobis_ensemble`.
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
    """Squared distance to the nearest mean, min_k ‖(h - μ_k) L‖².

    Args:
      gaussian: one of those that `tied` fits.
      h: floating [B, D].

    Returns:
      float32 [B], >= 0.
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
    """Pass 0: {'count': int32 [K], 'mean': float32 [K, D]} by label.

    Args:
      measure: activations -> float [B, D].
      name: the method's, for warnings.
    """
    statistic = stats.class_means(measure)

    def finalize(state: Any) -> dict[str, np.ndarray]:
        stats.check_classes(state["count"], name, 1, "They are left out.")
        return {
            "count": np.asarray(state["count"], np.int32),
            "mean": np.asarray(state["mean"], np.float32),
        }

    return statistic._replace(finalize=finalize)


def tied(measure: Measure, classes: dict[str, Any], name: str) -> Statistic:
    """Pass 1: the class-conditional Gaussians, ready for `distance`.

    Args:
      measure: activations -> float [B, D].
      classes: the fitted value of `class_means`.
      name: the method's, for warnings.

    Returns:
      A statistic that finalizes to {'within': gaussian}; a gaussian is {'centre':
      [D], 'factor': [D, R], 'means': [K', R]}, float32, so that
      ‖(h - centre) factor - means_k‖² is the distance.
    """

    def finish(
        centre: np.ndarray, factor: np.ndarray, means: np.ndarray, share: np.ndarray
    ) -> dict[str, Any]:
        del share
        return {"within": _gaussian(centre, factor, means)}

    return _within_scatter(measure, classes, name, finish)


def tied_and_total(measure: Measure, classes: dict[str, Any], name: str) -> Statistic:
    """Pass 1: as `tied`, and the single Gaussian over all data, {..., 'total': ...}.

    After the projection Σ is the identity and the total covariance is I + M,
    M = Σ_k n_k/N m_k m_kᵀ. Both distances are equal but for the span of M, so only
    that is kept: what they share would cancel, and lose digits.
    """

    def finish(
        centre: np.ndarray, factor: np.ndarray, means: np.ndarray, share: np.ndarray
    ) -> dict[str, Any]:
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
    """The scatter of h - μ_y; finalized, (centre, factor, means, n_k / N) go on."""

    def residual(acts: Activations) -> jax.Array:
        mean = jnp.asarray(classes["mean"])[stats.by_label(acts)]  # [B, D]
        return measure(acts).astype(jnp.float32) - mean

    def finalize(state: Any) -> dict[str, Any]:
        seen = classes["count"] > 0
        count = classes["count"][seen].astype(np.float64)
        mean = classes["mean"][seen].astype(np.float64)  # [K', D]
        number = int(count.sum())
        centre = count @ mean / number
        scatter = moments.finalize(state)["scatter"]
        factor = _factor(scatter / number, number - len(mean))
        _warn_of_rank(name, number, factor, len(mean))
        means = (mean - centre[None]) @ factor  # [K', R]
        return finish(centre, factor, means, count / number)

    moments = stats.second_moments(residual)
    return moments._replace(finalize=finalize)


def _gaussian(
    centre: np.ndarray, factor: np.ndarray, means: np.ndarray
) -> dict[str, np.ndarray]:
    values = {"centre": centre, "factor": factor, "means": means}
    return {name: value.astype(np.float32) for name, value in values.items()}


def _factor(covariance: np.ndarray, rank: int) -> np.ndarray:
    """L [D, R] with L L^T the pseudo-inverse: V λ^(-1/2), of the λ that count.

    Args:
      covariance: float64 [D, D].
      rank: what it can have at most; further eigenvalues are rounding.
    """
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)  # ascending
    keep = values > max(CUT_OFF * values[-1], np.finfo(np.float32).tiny)
    keep[: max(len(values) - rank, 0)] = False
    scale = np.where(keep, 1 / np.sqrt(np.where(keep, values, 1.0)), 0.0)
    keep[-1] = True  # where nothing varies: a column of zeros, not an empty array
    return (vectors * scale[None])[:, keep]


def _warn_of_rank(name: str, number: int, factor: np.ndarray, classes: int) -> None:
    width, rank = factor.shape
    if number < width + classes:  # one example per class goes into its mean
        warnings.warn(
            f"{name} needs at least D + K = {width + classes} training examples for a "
            f"covariance of full rank (D = {width}, {classes} classes), got "
            f"N = {number}. It used a pseudo-inverse of rank {rank}: differences in "
            "all other directions count nothing.",
            stacklevel=2,
        )
