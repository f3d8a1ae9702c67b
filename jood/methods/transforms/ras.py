"""RAS: every image gets the same sorted activations; slot feature: `ras()|energy()`.

Only the order of an image's activations is its own; their sizes are the mean ones of
the training images. Nothing has to be chosen, and features may be negative.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jood.core import component
from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Component


@component.row("RAS", "ras()|energy()")
def ras() -> Component:
    """Ranked activation shift: the r-th smallest entry of h becomes c_r.

    c is the mean over the training images of their features sorted in ascending
    order. Among entries that tie, the lower index counts as smaller (the authors' sort
    leaves that open, which matters for zeros).

    Returns:
      A component of slot 'feature'. It fits c, float32 [D], in one pass.

    References:
      Guglielmo, Masana, RAS (Ranked Activation Shift), ECCV 2026, the shifted feature.
    """

    def apply(fitted: tuple[Any, ...], acts: Activations) -> Activations:
        order = jnp.argsort(acts.penultimate, axis=-1, stable=True)  # [B, D]
        rank = jnp.argsort(order, axis=-1)  # of each entry
        return acts.with_penultimate(jnp.asarray(fitted[0])[rank])

    def sorted_feature(acts: Activations) -> jax.Array:
        return jnp.sort(acts.penultimate, axis=-1)

    statistic = stats.mean(sorted_feature)
    return component.build(
        component.call_spec("ras"), "feature", apply, (lambda _: statistic,)
    )
