"""The k largest entries of each row, exactly, by bisection over bit patterns.

Sorting rows of thousands of entries is slow on a CPU, and `lax.top_k` wants a static
k. Thirty-two counts of "how many are at least t" find the k-th largest entry
bit by bit instead, for any k, also a traced one.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_SIGN = np.uint32(1 << 31)


def kept_count(width: int, q: Any) -> Any:
    """Returns k = D - round(q D), at least 1; halves round to even. q may be traced."""
    if isinstance(q, jax.core.Tracer):
        return jnp.maximum(width - jnp.round(width * q).astype(jnp.int32), 1)
    return max(width - int(np.round(width * q)), 1)  # in float64


def mask(x: jax.Array, k: Any) -> jax.Array:
    """Marks the k largest entries of each row, bool [B, D]; ties keep the lower index.

    Args:
      x: floating [B, D].
      k: int in [1, D], static or traced.
    """
    keys = ordered_bits(x)
    least = kth_largest_bits(keys, k)  # [B, 1]
    above, equal = keys > least, keys == least
    missing = k - above.sum(-1, keepdims=True)  # of the equal ones: the first few
    return above | (equal & (jnp.cumsum(equal, axis=-1) <= missing))


def largest(x: jax.Array, q: Any) -> jax.Array:
    """Marks the `kept_count` largest entries of each row of [B, D]; see `mask`."""
    return mask(x, kept_count(x.shape[-1], q))


def ordered_bits(x: jax.Array) -> jax.Array:
    """Maps floats to uint32 of the same order; -0 and 0 are equal."""
    x = jnp.where(x == 0, 0.0, x.astype(jnp.float32))  # x + 0 would be x, -0 and all
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    return jnp.where(bits >= _SIGN, ~bits, bits | _SIGN)


def kth_largest_bits(keys: jax.Array, k: Any, axis: int = -1) -> jax.Array:
    """Returns the k-th largest entry of uint32 along an axis, which becomes 1."""

    def decide(step: Any, prefix: jax.Array) -> jax.Array:
        bit = jnp.uint32(1) << (31 - step).astype(jnp.uint32)
        enough = (keys >= (prefix | bit)).sum(axis, keepdims=True) >= k
        return jnp.where(enough, prefix | bit, prefix)

    start = jnp.zeros_like(jax.lax.slice_in_dim(keys, 0, 1, axis=axis))
    return jax.lax.fori_loop(0, 32, decide, start)


def median(x: jax.Array, axis: int) -> jax.Array:
    """Returns the median along an axis, as `jnp.median` does, which becomes 1.

    On a CPU several times faster than sorting: maps have few locations and thousands
    of channels, and the counts run over channels side by side.
    """
    keys = ordered_bits(x)
    size = x.shape[axis]
    middle = kth_largest_bits(keys, size // 2 + 1, axis)  # the lower middle entry
    lower = from_ordered_bits(middle)
    if size % 2:
        return lower
    above = jnp.where(keys > middle, x.astype(jnp.float32), jnp.inf)
    ties = (keys > middle).sum(axis, keepdims=True) < size // 2
    return (lower + jnp.where(ties, lower, above.min(axis, keepdims=True))) / 2


def from_ordered_bits(keys: jax.Array) -> jax.Array:
    """The inverse of `ordered_bits`, float32."""
    bits = jnp.where(keys >= _SIGN, keys ^ _SIGN, ~keys)
    return jax.lax.bitcast_convert_type(bits, jnp.float32)
