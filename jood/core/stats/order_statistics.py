"""Exact quantiles of a stream of floats, in two passes.

`quantiles.quantile_sketch` says in which bin of bit patterns each order statistic lies
that a quantile needs, and how many numbers are below that bin. A second pass counts the
bit patterns inside these few bins. Then the numbers themselves are known.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core.activations import Activations
from jood.core.component import Statistic
from jood.core.stats import Measure
from jood.core.stats import quantiles as sketch

_INSIDE = 1 << 13  # bit patterns of the widest bin


def brackets(measure: Measure, qs: Sequence[float]) -> Statistic:
    """Pass 0: the bins of the order statistics around the quantiles.

    Args:
      measure: activations -> float [B, ...], every entry of which is one sample.
      qs: fractions in [0, 1].

    Returns:
      A statistic that finalizes to {'bins': int32 [2 Q], 'ranks': int64 [2 Q]}, the
      lower and the upper neighbour of each quantile: its bin, and how many numbers of
      that bin are smaller; and {'shares': float64 [Q]}, how far to go from one to the
      other.

    Raises:
      ValueError: while fitting, if no number was seen.
    """
    for q in qs:
        arguments.check_within("q", q, 0.0, 1.0, "a fraction in [0, 1]")
    counts = sketch.quantile_sketch(measure)

    def finalize(state: Any) -> dict[str, np.ndarray]:
        ends = np.cumsum(counts.finalize(state))
        total = int(ends[-1])
        if total == 0:
            raise ValueError("no finite value was seen, so there is no quantile.")
        positions = np.asarray(qs, np.float64) * (total - 1)
        ranks = np.stack([np.floor(positions), np.ceil(positions)], -1).ravel()
        bins = np.searchsorted(ends, ranks, side="right")
        below = np.where(bins > 0, ends[np.maximum(bins, 1) - 1], 0)
        return {
            "bins": bins.astype(np.int32),
            "ranks": ranks.astype(np.int64) - below.astype(np.int64),
            "shares": positions - np.floor(positions),
        }

    return counts._replace(finalize=finalize)


def within(measure: Measure, bracket: dict[str, Any]) -> Statistic:
    """Pass 1: the quantiles, as `numpy.quantile` defines them ('linear').

    Args:
      measure: the one of `brackets`.
      bracket: values that `brackets` fitted.

    Returns:
      A statistic that finalizes to float64 [Q].
    """
    bins = np.unique(bracket["bins"])

    def empty() -> jax.Array:
        return jnp.zeros((len(bins), _INSIDE), jnp.uint32)

    def update(state: jax.Array, acts: Activations, mask: jax.Array) -> jax.Array:
        x = measure(acts).astype(jnp.float32)
        counts = (mask.reshape(-1, *[1] * (x.ndim - 1)) > 0) & ~jnp.isnan(x)
        index = sketch.bin_of(x)
        bits = jax.lax.bitcast_convert_type(jnp.abs(x), jnp.uint32)
        for row, chosen in enumerate(bins):
            first, width = sketch.bit_patterns(int(chosen))
            inside = (counts & (index == chosen)).astype(jnp.uint32)
            place = jnp.minimum(bits - jnp.uint32(first), jnp.uint32(width - 1))
            state = state.at[row, place.ravel()].add(inside.ravel())
        return state

    def finalize(state: Any) -> np.ndarray:
        table = dict(zip(bins.tolist(), np.asarray(state, np.uint64), strict=True))
        pairs = zip(bracket["bins"].tolist(), bracket["ranks"].tolist(), strict=True)
        values = np.array([_number(b, rank, table[b]) for b, rank in pairs])
        low, high = values.reshape(-1, 2).T
        with np.errstate(invalid="ignore"):
            between = low + (high - low) * bracket["shares"]
        return np.where(low == high, low, between)  # also where both are infinite

    return Statistic(lambda acts: empty(), update, jnp.add, finalize)


def _number(index: int, rank: int, counts: np.ndarray) -> float:
    """The number of a rank inside a bin, from how often each bit pattern occurs."""
    first, _ = sketch.bit_patterns(index)
    negative = index < sketch.BINS // 2
    ordered = counts[::-1] if negative else counts  # larger patterns are smaller
    place = int(np.searchsorted(np.cumsum(ordered), rank, side="right"))
    place = len(counts) - 1 - place if negative else place
    size = float(np.array(first + place, np.uint32).view(np.float32))
    return 0.0 if size < np.finfo(np.float32).tiny else -size if negative else size
