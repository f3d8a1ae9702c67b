"""From the pixels of a file to what a network was trained on: one definition.

Training, evaluation and a saved detector use the same `Preprocessing`, so that they
cannot drift apart.
"""

from collections.abc import Sequence
import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Maps uint8 images [B, H, W, C] to float32 (x / 255 - mean) / std.

    Attributes:
      mean: per channel, in [0, 1] units.
      std: per channel, above 0, in [0, 1] units.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            values: Sequence[Any] = getattr(self, name)
            object.__setattr__(self, name, tuple(float(v) for v in values))
            if not all(math.isfinite(v) for v in getattr(self, name)):
                raise ValueError(f"{name} must be finite numbers, got {values}.")
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(
                "mean and std need one number per channel each, got "
                f"{self.mean} and {self.std}."
            )
        if min(self.std) <= 0:
            raise ValueError(f"std must be above 0 in every channel, got {self.std}.")

    def __call__(self, images: jax.Array) -> jax.Array:
        """Normalises uint8 images [B, H, W, C]; returns float32 of the same shape.

        Raises:
          ValueError: wrong rank, dtype or number of channels.
        """
        if images.ndim != 4 or images.shape[-1] != len(self.mean):
            raise ValueError(
                f"images must be [B, H, W, {len(self.mean)}], got shape "
                f"{tuple(images.shape)}."
            )
        if images.dtype != jnp.uint8:
            raise ValueError(
                "images must be uint8 in 0..255, which the preprocessing normalises, "
                f"got {images.dtype}. For images that are normalised already, leave "
                "the preprocessing out."
            )
        mean = jnp.asarray(self.mean).reshape(1, 1, 1, -1)
        std = jnp.asarray(self.std).reshape(1, 1, 1, -1)
        return (images.astype(jnp.float32) / 255.0 - mean) / std
