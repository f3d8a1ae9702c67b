"""Feature Sim on the Gram matrix: how much locations of a map differ in direction.

An ID object gives its locations features of another direction than the background's;
the cosines between locations then spread.
"""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from jood.core import component
from jood.core import norms
from jood.core.component import Component
from jood.methods.scores.feature_map import flat
from jood.methods.scores.feature_map import sum_over_locations

GramStatistic = Literal["mad", "std", "mean"]


def gram_statistic(feature_map: jax.Array, statistic: str) -> jax.Array:
    """Mean, standard deviation or mean absolute deviation of ẑ ẑᵀ; float32 [B].

    Args:
      feature_map: floating [B, H, W, C] or tokens [B, L, C]; ẑ is it with the feature
        of each location L2-normalised (a zero feature stays zero).
      statistic: 'mean', 'std' or 'mad', over all (HW)² entries.
    """
    z = flat(feature_map)
    unit = norms.unit(z)
    batch, locations, _ = unit.shape
    # The mean of G needs no G: it is |mean of ẑ|².
    mean = jnp.square(unit.mean(axis=1)).sum(-1)  # [B]
    if statistic == "mean":
        return mean

    def total(rows: jax.Array) -> jax.Array:
        """Sum over a block of G's rows, [B, R, C] -> [B]."""
        g = jnp.einsum("brc,bnc->brn", rows, unit, precision="highest")
        deviation = g - mean[:, None, None]
        entries = jnp.square(deviation) if statistic == "std" else jnp.abs(deviation)
        return entries.sum(axis=(1, 2))

    average = sum_over_locations(total, unit, batch * locations) / locations**2
    return jnp.sqrt(average) if statistic == "std" else average


@component.row("FS+TA (Gram mean)", "ta(k={k})|gram(statistic='mean')")
@component.row("FS+TA (Gram MAD)", "ta(k={k})|gram(statistic='mad')")
@component.row("FS+TA (Gram std)", "ta(k={k})|gram(statistic='std')")
def gram(statistic: GramStatistic = "mad", stage: str = "C5") -> Component:
    """A statistic of G = ẑ ẑᵀ [HW, HW], the cosines between the map's locations.

    Args:
      statistic: over all entries of G: 'mad' (mean absolute deviation from their
        mean), 'std' (standard deviation), or 'mean', a counterexample of the paper:
        with TA and Energy its AUROC is 40 %; the cosine drops the activation's
        strength. On the embedded benchmark, whose last map has 4 x 4 locations, the
        mean is at 66 % on noise, but std and MAD at 26-37 % on far images.
      stage: stage whose map is read; the paper's is C5.

    Returns:
      A score component, in [0, 1] for activated maps; 0 for a constant one.

    Raises:
      ValueError: another statistic, or stage is not a stage name.

    References:
      Feature Map Matters in Out-of-Distribution Detection, App. B.10, Table 16.
    """
    component.check_stage(stage)
    if statistic not in get_args(GramStatistic):
        raise ValueError(
            f"expected statistic 'mad', 'std' or 'mean', got {statistic=}."
        )
    spec = component.call_spec("gram", statistic=statistic, stage=stage)
    return component.score(
        spec, lambda acts: gram_statistic(acts.stage(stage), statistic), (stage,)
    )
