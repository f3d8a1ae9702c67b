"""Lengths, directions and cosines of vectors of any size, from 1e-38 to 1e38.

Squares of float32 overflow from 1.9e19 on and vanish below 1e-22, so that a length
would be infinite, or 0, and a direction no direction. Here each vector is first divided
by a power of two near its largest entry, which is exact: a vector of ordinary size has
the length that it would have without it.
"""

from typing import Any

import jax
import jax.numpy as jnp


def l2(x: Any, axis: int = -1, keepdims: bool = False, xp: Any = jnp) -> Any:
    """Returns ‖x‖₂ along an axis, float32; infinite only where float32 cannot hold it.

    Args:
      x: floating, any shape.
      axis: along which the squares are summed.
      keepdims: whether the axis stays, with length 1.
      xp: `jax.numpy` or `numpy`.
    """
    scaled, power = _scaled(x, axis, xp)
    length = power * xp.sqrt(xp.square(scaled).sum(axis, keepdims=True))
    return length if keepdims else xp.squeeze(length, axis)


def unit(x: Any, axis: int = -1, xp: Any = jnp) -> Any:
    """Returns x / ‖x‖₂ along an axis, float32; zeros stay zero. Args as for `l2`."""
    scaled, _ = _scaled(x, axis, xp)
    length = xp.sqrt(xp.square(scaled).sum(axis, keepdims=True))
    return scaled / xp.where(length == 0, 1.0, length)


def cosine(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns the cosine of two vectors, float32 [...] of [..., D]; 0 of a zero one."""
    return (unit(a) * unit(b)).sum(-1)


def power_of_two(x: Any, axis: Any = None, xp: Any = jnp) -> Any:
    """Returns the power of two just below max |x|, with the axes kept; 1 for zeros."""
    largest = xp.abs(x).max(axis, keepdims=True, initial=0.0)
    exponent = largest.view(xp.int32) & 0x7F800000  # the sign and the mantissa off
    exponent = xp.where(exponent == 0, 0x3F800000, exponent)  # zeros and subnormals
    return exponent.view(xp.float32)


def _scaled(x: Any, axis: int, xp: Any) -> tuple[Any, Any]:
    x = xp.asarray(x, xp.float32)
    power = power_of_two(x, axis, xp)
    return x / power, power
