"""SSOD's patch sampler: labels of an ID image's locations, for the OOD head.

Masks of static shape throughout: nothing here depends on how many patches are found.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp


class Patches(NamedTuple):
    """The labels of all locations; those in neither are ignored.

    Attributes:
      inside: bool [B, HW], label 1 (ID): the true class is found there.
      outside: bool [B, HW], label 0 (OOD): background.
    """

    inside: jax.Array
    outside: jax.Array


def sample_patches(probability: jax.Array, gamma: float) -> Patches:
    """Labels 0 where p_j(y) < 1 - γ, 1 where p_j(y) >= γ, none between (Eq. 12).

    Args:
      probability: p_j(y), float32 [B, HW].
      gamma: γ in (0.5, 1).
    """
    return Patches(inside=probability >= gamma, outside=probability < 1 - gamma)


def resample(patches: Patches, key: jax.Array) -> Patches:
    """Draws min(n_ID, n_OOD) patches of either kind within each image (scheme DR)."""
    chex.assert_rank(list(patches), 2)
    count = jnp.minimum(patches.inside.sum(-1), patches.outside.sum(-1))  # [B]

    def draw(mask: jax.Array, key: jax.Array) -> jax.Array:
        lot = jnp.where(mask, jax.random.uniform(key, mask.shape), 2.0)  # [B, HW]
        rank = jnp.argsort(jnp.argsort(lot, axis=-1), axis=-1)  # 0 is drawn first
        return rank < count[:, None]

    first, second = jax.random.split(key)
    return Patches(draw(patches.inside, first), draw(patches.outside, second))
