"""Position embeddings of a Vision Transformer, resampled to images of another size.

Each patch has its own embedding. A network that is trained further on larger images has
more patches: the grid of embeddings is resized like an image (Dosovitskiy et al.,
ICLR 2021, Sec. 3.2), and the class token's stays.
"""

import logging
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

_LOGGER = logging.getLogger(__name__)
_NAME = "params/position_embedding"

Method = Literal["cubic", "linear"]


def resampled(embedding: np.ndarray, side: int, method: Method = "cubic") -> np.ndarray:
    """Resizes the grid of patches as an image is resized, smoothed if it shrinks.

    Args:
      embedding: float32 [1, 1 + S², D]: the class token, then S rows of S patches.
      side: Patches along a side of the new images.
      method: 'cubic' (Keys, a = -1/2), as timm does with its own files, or 'linear', as
        it does with Google's. Google's code is linear too, but with aligned corners.

    Returns:
      float32 [1, 1 + side², D].

    Raises:
      ValueError: The patches do not form a square.
    """
    before = math.isqrt(embedding.shape[1] - 1)
    if embedding.shape[:2] != (1, 1 + before**2):
        raise ValueError(
            "expected the position embeddings of a class token and of a square of "
            f"patches, [1, 1 + S * S, D], got shape {embedding.shape}."
        )
    grid = jnp.asarray(embedding[0, 1:], jnp.float32).reshape(before, before, -1)
    resized = jax.image.resize(grid, (side, side, grid.shape[-1]), method)
    patches = np.asarray(resized).reshape(1, side * side, -1)
    return np.concatenate([embedding[:, :1], patches], axis=1)


def fitted(
    model: Any, name: str, tensor: np.ndarray, method: Method = "cubic"
) -> np.ndarray:
    """Resamples position embeddings to a model's `image_size`; says so in the log.

    Args:
      model: A ViT.
      name: Ours, of the variable.
      tensor: The file's; one that is not an embedding of a square is left as it is.
      method: As for `resampled`.
    """
    side = model.image_size // model.patch
    if name != _NAME or tensor.ndim != 3 or tensor.shape[1] in (0, 1 + side**2):
        return tensor
    before = math.isqrt(tensor.shape[1] - 1)
    if not before or tensor.shape[:2] != (1, 1 + before**2):
        return tensor
    _LOGGER.info(
        "position embeddings of %d x %d patches are resampled to %d x %d, for images "
        "of %d pixels.", before, before, side, side, model.image_size,
    )  # fmt: skip
    return resampled(tensor, side, method)
