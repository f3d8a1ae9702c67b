"""Mahalanobis distance to the nearest class, plain and relative to all of the data.

Class-conditional Gaussians with one covariance for all classes are fitted to the
penultimate feature (`jood.core.stats.class_gaussians`).
"""

from collections.abc import Callable
from typing import Any

import jax

from jood.core import component
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.component import Statistic
from jood.core.stats import class_gaussians


@component.row("Mahalanobis")
def mahalanobis() -> Component:
    """Distance to the nearest class: S = -min_k (h - μ_k)^T Σ⁻¹ (h - μ_k).

    μ_k is the mean training feature of label k, Σ the covariance of h - μ_y over all
    N training examples (divided by N), Σ⁻¹ its pseudo-inverse. Later work compares
    with this detector; `mahalanobis_ensemble` is the whole of the paper's.

    Returns:
      A score component, <= 0. It fits the class means and the tied covariance, in two
      passes, and needs labels. Classes without training examples are left out, with a
      warning.

    Raises:
      ValueError: while fitting, if there are no labels.

    References:
      Lee, Lee, Lee, Shin, Mahalanobis, NeurIPS 2018, Eq. 1-2.
    """

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        return -class_gaussians.distance(fitted[1]["within"], acts.penultimate)

    return _build("mahalanobis", apply, class_gaussians.tied)


@component.row("Relative Mahalanobis")
def relative_mahalanobis() -> Component:
    """Relative distance: S = -min_k (d²_k - d²_0).

    d²_k is the distance of `mahalanobis` and d²_0 that to a single Gaussian with the
    mean and covariance of all training features. Both are taken in the directions in
    which Σ has a rank; those in which the class means do not differ cancel.

    Returns:
      A score component. It fits the class means, the tied and the total covariance, in
      two passes; else as `mahalanobis`.

    References:
      Ren, Fort, Liu, Roy, Padhy, Lakshminarayanan, Relative Mahalanobis, ICML UDL
      2021, Sec. 2.
    """

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        h = acts.penultimate
        single = class_gaussians.distance(fitted[1]["total"], h)
        return single - class_gaussians.distance(fitted[1]["within"], h)

    return _build("relative_mahalanobis", apply, class_gaussians.tied_and_total)


def _build(
    name: str, apply: Callable[..., jax.Array], covariances: Callable[..., Statistic]
) -> Component:
    """Returns a score that reads the fitted Gaussians of the penultimate feature."""
    spec = component.call_spec(name)

    def feature(acts: Activations) -> jax.Array:
        return acts.penultimate

    passes = (
        lambda _: class_gaussians.class_means(feature, spec),
        lambda fitted: covariances(feature, fitted[0], spec),
    )
    return component.build(
        spec, "score", apply, passes, reads=("feature",), needs_labels=True
    )
