"""Checks arrays from elsewhere for a record: floating, of the right rank and size."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def floating(array: Any, what: str) -> jax.Array:
    """Returns an array of a floating type as it is, on the device.

    Raises:
      ValueError: it is of another type, which a cast would silently change: a
        masked array would lose its mask, a complex one its imaginary part.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise ValueError(
            f"{what} must be a floating-point array, got a masked one, whose mask "
            "would be lost. Leave the masked rows out, or call filled()."
        )
    if not isinstance(array, jax.Array):
        array = np.asarray(array)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(
            f"{what} must be a floating-point array, got {array.dtype}. Convert it: "
            "array.astype(np.float32)."
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused as infinite
        return jnp.asarray(array)


def maps(stages: Mapping[str, Any] | None, rows: int) -> dict[str, jax.Array]:
    """Returns the maps of stages, each floating [B, H, W, C] or [B, L, C].

    Args:
      stages: maps by name; None for none.
      rows: B of the penultimate features.

    Raises:
      ValueError: a map has another type, rank or number of rows, or no entry.
    """
    arrays = {k: floating(v, f"the map of {k}") for k, v in (stages or {}).items()}
    for name, array in arrays.items():
        if array.ndim not in (3, 4) or 0 in array.shape[1:]:
            raise ValueError(
                f"the map of {name} must be [B, H, W, C], or tokens [B, L, C], with at "
                f"least one location and channel, got shape {array.shape}."
            )
        if array.shape[0] != rows:
            raise ValueError(
                f"the map of {name} must have B = {rows} rows, as penultimate has, got "
                f"shape {array.shape}. All parts of a record are of the same images."
            )
    return arrays
