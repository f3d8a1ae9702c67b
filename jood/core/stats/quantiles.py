"""Quantiles of a stream of floats from a histogram over their bit patterns.

A float32's sign, exponent and top mantissa bits, in the order of the numbers, index
a histogram. No range has to be known beforehand, and adding two histograms merges
two streams exactly. Where features live, 2^-8 to 2^8, 15 mantissa bits make a bin
2^-15 of its value wide; elsewhere 10 bits do (2^-10, 1e-3 off at most). Interpolating
by rank inside the bin does better where a bin's values are spread. Numbers below
float32's smallest normal one, 1.2e-38, count as 0.

A count is a pair of uint32 (low word and carries), because one uint32 overflows at
1.28 M images x 2048 features x 2 passes.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core.activations import Activations
from jood.core.component import Statistic
from jood.core.stats import Measure
from jood.core.stats import State

_FINE_EXPONENTS = range(127 - 8, 127 + 8)  # biased: 2^-8 <= |x| < 2^8
_MANTISSA_BITS = np.array([15 if e in _FINE_EXPONENTS else 10 for e in range(256)])
_SHIFT = (23 - _MANTISSA_BITS).astype(np.uint32)  # [256], by exponent
_WIDTHS = 1 << _MANTISSA_BITS  # bins of each exponent
_START = (np.cumsum(_WIDTHS) - _WIDTHS).astype(np.uint32)  # first bin of each exponent
_HALF = int(_WIDTHS.sum())  # bins of the positive numbers
BINS = 2 * _HALF  # negative numbers first, mirrored


def quantile_sketch(measure: Measure) -> Statistic:
    """Histogram of all entries of `measure(acts)`; `quantile` reads the counts.

    NaNs are not counted.

    Args:
      measure: activations -> float [B, ...], every entry of which is one sample.

    Returns:
      A statistic with state {'low': uint32 [BINS], 'high': uint32 [BINS]}; counts
      are finalized as uint64 [BINS].
    """

    def empty() -> jax.Array:
        return jnp.zeros(BINS, jnp.uint32)

    def update(state: State, acts: Activations, mask: jax.Array) -> State:
        x = measure(acts).astype(jnp.float32)
        weight = (mask.reshape(-1, *[1] * (x.ndim - 1)) > 0) & ~jnp.isnan(x)
        counts = empty().at[bin_of(x).ravel()].add(weight.ravel().astype(jnp.uint32))
        return _add(state, {"low": counts, "high": empty()})

    def finalize(state: State) -> np.ndarray:
        low, high = (np.asarray(state[k]).astype(np.uint64) for k in ("low", "high"))
        return low + (high << np.uint64(32))

    return Statistic(
        lambda acts: {"low": empty(), "high": empty()}, update, _add, finalize
    )


def quantile(counts: np.ndarray, q: float) -> float:
    """Returns the q-quantile, as `numpy.quantile` defines it ('linear').

    It is that of samples of which each is off by at most 2^-10 (9.8e-4) of its value,
    and by 2^-15 (3.1e-5) between 2^-8 and 2^8. So is the result, unless it lies between
    two samples of different sign, the larger of which then bounds the error.

    Args:
      counts: finalized counts of a `quantile_sketch`, uint64 [BINS].
      q: a fraction in [0, 1].

    Raises:
      ValueError: q is not a fraction in [0, 1], counts are not those of a sketch, or
        nothing was counted.
    """
    arguments.check_within("q", q, 0.0, 1.0, "a fraction in [0, 1], not a percentage")
    counts = np.asarray(counts)
    if counts.shape != (BINS,) or counts.dtype.kind not in "iu":
        raise ValueError(
            f"counts must be the finalized counts of a quantile_sketch, integers "
            f"[{BINS}], got {counts.dtype} {counts.shape}."
        )
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
        return low if low == high else low + share * (high - low)  # also of infinity

    below, above = order_statistic(lower), order_statistic(upper)
    if below == above:  # also where both are infinite
        return below
    return below + (above - below) * (position - lower)


def bin_of(x: jax.Array) -> jax.Array:
    """Index of the bin of each float32, int32 of the same shape."""
    bits = jax.lax.bitcast_convert_type(jnp.abs(x), jnp.uint32)
    exponent = bits >> 23
    mantissa = bits & jnp.uint32((1 << 23) - 1)
    offset = jnp.asarray(_START)[exponent] + (mantissa >> jnp.asarray(_SHIFT)[exponent])
    offset = offset.astype(jnp.int32)
    return jnp.where(x < 0, _HALF - 1 - offset, _HALF + offset)


def bit_patterns(index: int) -> tuple[int, int]:
    """The first bit pattern of a bin, of |x|, and how many it has."""
    offset = index - _HALF if index >= _HALF else _HALF - 1 - index
    exponent = int(np.searchsorted(_START, offset, side="right")) - 1
    step = 1 << int(_SHIFT[exponent])
    first = (exponent << 23) + (offset - int(_START[exponent])) * step
    # Infinity is one pattern; what follows it in bits is NaN.
    return first, 1 if exponent == 255 else step


def _edges(index: int) -> tuple[float, float]:
    """The numbers at both ends of a bin; zero's own bin gives exact zeros."""
    first, count = bit_patterns(index)
    ends = np.array([first, first + count - 1], np.uint32).view(np.float32)
    near, far = ends.tolist()
    if far < np.finfo(np.float32).tiny:
        return 0.0, 0.0
    return (near, far) if index >= _HALF else (-far, -near)


def _add(a: State, b: State) -> State:
    low = a["low"] + b["low"]
    carry = (low < a["low"]).astype(jnp.uint32)  # uint32 addition wraps
    return {"low": low, "high": a["high"] + b["high"] + carry}
