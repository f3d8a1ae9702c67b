"""What the network looks at beside one view of the ID batch; see `Objective.images`."""

from typing import Any

import jax
import jax.numpy as jnp

from jood.training.objectives.objective import Augmented


def two_views(augmented: Augmented, batch: Any, key: jax.Array) -> tuple[Any, None]:
    """All of view 1, then all of view 2: [2B, H, W, C], for labels [y; y]."""
    del batch
    views = [augmented(each) for each in jax.random.split(key)]
    return jnp.concatenate(views), None


def with_outliers(augmented: Augmented, batch: Any, key: jax.Array) -> tuple[Any, None]:
    """The ID batch, then the outliers: [B + M, H, W, C].

    One pass, as in the published code: they share the statistics of BatchNorm.
    """
    first, second = jax.random.split(key)
    both = [augmented(first), augmented(second, batch.outliers)]
    return jnp.concatenate(both), None
