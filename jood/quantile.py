"""Quantiles of a stream of floats from a histogram over their bit patterns.

The bits of a float32, flipped so that they sort like the numbers, are an index into
a histogram whose bins are as fine, relative to the value, everywhere: no range has
to be known beforehand, and adding two histograms merges two streams exactly. With
MANTISSA_BITS = 11 a bin spans at most 2^-11 of its value and its middle is at most
2^-12 = 2.4e-4 off; interpolating by rank inside the bin does better still.

A count is a pair of uint32 (low word and carries), because one uint32 overflows at
1.28 M images x 2048 features x 2 passes.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood.activations import Activations
from jood.core import Statistic
from jood.stats import Measure

MANTISSA_BITS = 11
_SHIFT = 23 - MANTISSA_BITS
BINS = 1 << (32 - _SHIFT)


def quantile_sketch(measure: Measure) -> Statistic:
    """Histogram of all entries of `measure(acts)`; `finalize` returns the counts.

    Use `quantile(counts, q)` on the finalized counts. NaNs are not counted.

    Args:
      measure: activations -> float [B, ...], every entry of which is one sample.

    Returns:
      A statistic with state {'low': uint32 [BINS], 'high': uint32 [BINS]}; counts
      are finalized as uint64 [BINS].
    """

    def init(acts: Activations) -> dict[str, jax.Array]:
        del acts
        return {"low": jnp.zeros(BINS, jnp.uint32), "high": jnp.zeros(BINS, jnp.uint32)}

    def update(
        state: dict[str, jax.Array], acts: Activations, mask: jax.Array
    ) -> dict[str, jax.Array]:
        x = measure(acts).astype(jnp.float32)
        weight = jnp.broadcast_to(mask.reshape(-1, *[1] * (x.ndim - 1)) > 0, x.shape)
        weight = weight & ~jnp.isnan(x)
        counts = jnp.zeros(BINS, jnp.uint32)
        counts = counts.at[_bin(x).ravel()].add(weight.ravel().astype(jnp.uint32))
        return _add(state, {"low": counts, "high": jnp.zeros_like(counts)})

    def finalize(state: dict[str, Any]) -> np.ndarray:
        low = np.asarray(state["low"]).astype(np.uint64)
        return low + (np.asarray(state["high"]).astype(np.uint64) << np.uint64(32))

    return Statistic(init, update, _add, finalize)


def quantile(counts: np.ndarray, q: float) -> float:
    """Returns the q-quantile, as `numpy.quantile` defines it ('linear').

    Args:
      counts: finalized counts of a `quantile_sketch`, uint64 [BINS].
      q: a fraction in [0, 1].

    Returns:
      The quantile, within 2.5e-4 of its value (1e-3 is promised).

    Raises:
      ValueError: nothing was counted.
    """
    ends = np.cumsum(counts)
    total = int(ends[-1])
    if total == 0:
        raise ValueError("no finite value was seen, so there is no quantile.")
    position = q * (total - 1)
    lower, upper = int(np.floor(position)), int(np.ceil(position))

    def order_statistic(rank: int) -> float:
        index = int(np.searchsorted(ends, rank, side="right"))
        first = int(ends[index]) - int(counts[index])
        share = (rank - first + 0.5) / int(counts[index])
        low, high = _edges(index)
        return low + share * (high - low)

    below, above = order_statistic(lower), order_statistic(upper)
    return below + (above - below) * (position - lower)


def _bin(x: jax.Array) -> jax.Array:
    """Index of the bin of each float32: its top bits, flipped to sort like numbers."""
    zero = jnp.where(x == 0, 0.0, x)  # -0.0 and 0.0 share a bin
    bits = jax.lax.bitcast_convert_type(zero, jnp.uint32)
    negative = bits >> 31 == 1
    ordered = jnp.where(negative, ~bits, bits | jnp.uint32(1 << 31))
    return (ordered >> _SHIFT).astype(jnp.int32)


def _edges(index: int) -> tuple[float, float]:
    """The numbers at both ends of a bin; zero's own bin gives exact zeros."""
    edges = np.array([index << _SHIFT, ((index + 1) << _SHIFT) - 1], np.uint32)
    positive = edges >> 31 == 1
    bits = np.where(positive, edges & np.uint32(0x7FFFFFFF), ~edges).astype(np.uint32)
    low, high = bits.view(np.float32).astype(np.float64)
    tiny = np.finfo(np.float32).tiny
    if abs(low) < tiny and abs(high) < tiny:
        return 0.0, 0.0
    return float(low), float(high)


def _add(a: dict[str, jax.Array], b: dict[str, jax.Array]) -> dict[str, jax.Array]:
    low = a["low"] + b["low"]
    carry = (low < a["low"]).astype(jnp.uint32)  # uint32 addition wraps
    return {"low": low, "high": a["high"] + b["high"] + carry}
