"""The cosine of the feature and the nearest class mean, plain and as a softmax.

Lengths do not count, only directions: the nearest of all classes, not the predicted
one (`prototype_cosine`).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jood.core import component
from jood.core import norms
from jood.core.activations import Activations
from jood.core.component import Component
from jood.methods.transforms import prototype


@component.row("MaxCosine")
def max_cosine() -> Component:
    """Cosine to the nearest class mean: S = max_k cos(h, μ_k).

    μ_k is the mean training feature of label k. Classes without training examples are
    left out, and `fit` warns of them.

    Returns:
      A score component, in [-1, 1]. It fits the directions of the class means,
      float32 [K, D], in one pass.

    Raises:
      ValueError: while fitting, if the training data carry no labels.

    References:
      Techapanurak, Suganuma, Okatani, Hyperparameter-Free OOD Detection Using Cosine
      Similarity, ACCV 2020; here on a network that was trained as usual.
    """
    return _of_cosines("max_cosine", lambda cosines: cosines.max(-1))


@component.row("Relative cosine")
def relative_cosine() -> Component:
    """Largest softmax of the cosines to the class means: S = max_k softmax(cos)_k.

    It asks how much nearer the nearest class is than the others; else as
    `max_cosine`.

    Returns:
      A score component, in (0, 1]. It fits the directions of the class means,
      float32 [K, D], in one pass.

    References:
      Bitterwolf, Mueller, Hein, In or Out? Fixing ImageNet Out-of-Distribution
      Detection Evaluation, ICML 2023, the detector RCos.
    """
    return _of_cosines(
        "relative_cosine", lambda cosines: jax.nn.softmax(cosines).max(-1)
    )


def _of_cosines(name: str, score: Callable[[jax.Array], jax.Array]) -> Component:
    """Returns a score of the cosines [B, K], -inf for classes without a mean."""

    def feature(acts: Activations) -> jax.Array:
        return acts.penultimate

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        means, known = (jnp.asarray(fitted[0][key]) for key in ("unit", "known"))
        unit = norms.unit(acts.penultimate)  # [B, D]
        cosines = jnp.matmul(unit, means.T, precision="highest")  # [B, K]
        return score(jnp.where(known[None], cosines, -jnp.inf))

    spec = component.call_spec(name)
    means = prototype.prototypes(feature, spec, "They are left out.")
    return component.build(
        spec, "score", apply, (lambda _: means,), reads=("feature",), needs_labels=True
    )
