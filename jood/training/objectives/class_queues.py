"""The newest features of each class: first in, first out, of static size.

They are a collection of the state, {'rows': [K, n, D], 'count': [K], 'next': [K]}. In a
full queue the oldest row is at `next`, where the following feature goes; so a step
writes B rows and moves none.
"""

from collections.abc import Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp

COLLECTION = "class_queues"
Queues = Mapping[str, Any]


def empty(classes: int, length: int, width: int) -> dict[str, jax.Array]:
    """Returns queues that hold nothing: K of n rows, float32 [K, n, D]."""
    return {
        "rows": jnp.zeros([classes, length, width]),
        "count": jnp.zeros(classes, jnp.int32),
        "next": jnp.zeros(classes, jnp.int32),
    }


def are_full(queues: Queues) -> jax.Array:
    """Whether every class has n features, bool []."""
    return (queues["count"] == queues["rows"].shape[1]).all()


def filled(queues: Queues) -> jax.Array:
    """Returns the share that is filled of the emptiest queue, float32 []."""
    return queues["count"].min().astype(jnp.float32) / queues["rows"].shape[1]


def pushed(queues: Queues, features: jax.Array, labels: jax.Array) -> dict[str, Any]:
    """Puts features in, in the order of the batch.

    While any class lacks some, those of a class that is full are ignored; from then on
    they drive out the oldest of their class, as in the published code of VOS.

    Args:
      queues: The queues before.
      features: float32 [N, D]; they carry no gradient.
      labels: y, int32 [N].
    """
    classes, length, _ = queues["rows"].shape
    chex.assert_rank([features, labels], [2, 1])
    features = jax.lax.stop_gradient(features)
    order = jnp.argsort(labels, stable=True)
    y = labels[order]
    added = jnp.zeros(classes, jnp.int32).at[labels].add(1)  # [K]
    before = jnp.cumsum(added) - added  # rows of smaller classes
    rank = jnp.arange(len(y)) - before[y]  # of each in its class's part of the batch
    full = are_full(queues)
    # Of more than n new ones the last n stay; what is out of bounds is dropped.
    turning = (queues["next"][y] + rank) % length
    turning = jnp.where(rank < added[y] - length, length, turning)
    filling = queues["count"][y] + rank
    where = jnp.where(full, turning, filling)
    rows = queues["rows"].at[y, where].set(features[order], mode="drop")
    return {
        "rows": rows,
        "count": jnp.minimum(queues["count"] + added, length),
        "next": jnp.where(full, (queues["next"] + added) % length, 0),
    }


def in_order(queues: Queues) -> jax.Array:
    """Returns the features of full queues, the oldest first, float32 [K, n, D]."""
    length = queues["rows"].shape[1]
    where = (queues["next"][:, None] + jnp.arange(length)[None]) % length  # [K, n]
    return jnp.take_along_axis(queues["rows"], where[..., None], axis=1)


def advice(values: Mapping[str, float], epochs: int) -> str:
    """Warns of queues that will not be full in the first half of a run; else ''.

    Args:
      values: Metrics of the first epoch's last step; 'queue_filled' is that of
        `filled`.
      epochs: Epochs of the whole run.
    """
    share = values["queue_filled"]
    if share == 1 or share * epochs >= 2:
        return ""
    return (
        f"the emptiest class's queue is {share:.0%} full after the first of {epochs} "
        "epochs. Outliers begin only when the queues of all classes are full: choose a "
        "shorter queue, train longer, and see whether a class lacks images."
    )
