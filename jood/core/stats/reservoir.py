"""A bounded memory of training examples: the rows with the smallest hashes.

Nearest-neighbour methods keep features themselves. A bank keeps the rows, up to its
capacity, whose hashes are smallest: a uniform sample without replacement, whatever the
order, batching or number of merges. The hash is of the row rounded to bfloat16, so
that float32 rounding of another batch size rarely changes it.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jood.core.activations import Activations
from jood.core.component import Statistic
from jood.core.stats import Measure
from jood.core.stats import State

CAPACITY = 50_000  # rows
_EMPTY = np.uint32(0xFFFFFFFF)


def row_hash(x: jax.Array) -> jax.Array:
    """Hashes each row of float [B, D] to uint32 [B], below that of an empty slot."""
    rounded = jax.lax.reduce_precision(x.astype(jnp.float32), 8, 7)
    rounded = jnp.where(rounded == 0, 0.0, rounded)  # no -0
    bits = jax.lax.bitcast_convert_type(rounded, jnp.uint32)
    position = jnp.arange(x.shape[-1], dtype=jnp.uint32)
    # Sum of mixed (entry, position) pairs: wraps, and needs no sequential loop.
    mixed = _mix(bits ^ _mix(position * jnp.uint32(0x9E3779B9) + 1)[None])
    return jnp.minimum(_mix(mixed.sum(-1, dtype=jnp.uint32)), _EMPTY - 1)


def bank(
    measure: Measure, capacity: int = CAPACITY, hashed: Measure | None = None
) -> Statistic:
    """Keeps up to `capacity` rows of `measure(acts)`.

    The state is {'rows': float32 [M, D], 'hash': uint32 [M]}; finalized, it is
    float32 [min(M, N), D], ordered by hash.

    Args:
      measure: activations -> float [B, D].
      capacity: M, at least 1.
      hashed: activations -> float [B, D'], what is hashed in place of the rows: short
        rows of different examples may be equal, and would be kept or lost together.
    """
    hashed = hashed or measure

    def init(acts: Activations) -> State:
        rows = jnp.zeros((capacity, jax.eval_shape(measure, acts).shape[-1]))
        return {"rows": rows, "hash": jnp.full(capacity, _EMPTY)}

    def update(state: State, acts: Activations, mask: jax.Array) -> State:
        rows = measure(acts).astype(jnp.float32)  # [B, D]
        return _insert(state, rows, jnp.where(mask > 0, row_hash(hashed(acts)), _EMPTY))

    def merge(a: State, b: State) -> State:
        return _insert(a, b["rows"], b["hash"])

    def finalize(state: State) -> np.ndarray:
        hashes = np.asarray(state["hash"])
        order = np.argsort(hashes, kind="stable")[: int((hashes != _EMPTY).sum())]
        return np.asarray(state["rows"], np.float32)[order]

    return Statistic(init, update, merge, finalize)


def _insert(state: State, rows: jax.Array, hashes: jax.Array) -> State:
    """The smallest new hash replaces the largest old one, and so on while smaller."""
    number = min(rows.shape[0], state["hash"].shape[0])
    slots = jnp.argsort(state["hash"])[::-1][:number]  # largest hash first
    order = jnp.argsort(hashes)[:number]  # smallest first
    old, new = state["hash"][slots], hashes[order]
    enters = new < old
    kept = jnp.where(enters[:, None], rows[order], state["rows"][slots])
    return {
        "rows": state["rows"].at[slots].set(kept, unique_indices=True),
        "hash": state["hash"].at[slots].set(jnp.where(enters, new, old)),
    }


def _mix(x: jax.Array) -> jax.Array:
    """Scrambles uint32s: each input bit changes about half of the output's."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
