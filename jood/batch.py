"""What a batch is: images, with labels and a padding mask where there are any."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jood import activations


class Batch(NamedTuple):
    """One batch of a data set; every array's first axis is B.

    Attributes:
      image: uint8 or floating [B, H, W, C].
      label: int32 [B], or None.
      mask: float32 [B], 1 for an example and 0 for padding.
    """

    image: Any
    label: Any = None
    mask: Any = None


def as_batch(batch: Any, num_classes: int | None = None) -> Batch:
    """Reads a batch from what people have, and checks it.

    Args:
      batch: a `Batch`; a dict with 'image' and perhaps 'label' and 'mask'; a pair
        (images, labels); or images alone.
      num_classes: K; if given, labels must lie in [0, K).

    Returns:
      A Batch with a mask.

    Raises:
      ValueError: images have not rank 4 or are empty, labels are out of range or of
        another length, or a pixel is NaN or infinite.
    """
    if isinstance(batch, Batch):
        image, label, mask = batch
    elif isinstance(batch, Mapping):
        if "image" not in batch:
            raise ValueError(f"a batch needs the key 'image', got {sorted(batch)}.")
        image, label, mask = batch["image"], batch.get("label"), batch.get("mask")
    elif isinstance(batch, tuple | list) and len(batch) == 2:
        (image, label), mask = batch, None
    else:
        image, label, mask = batch, None, None
    image = image if isinstance(image, jax.Array) else np.asarray(image)
    if image.ndim != 4 or not image.shape[0]:
        hint = " For one image add an axis: image[None]." * (image.ndim == 3)
        raise ValueError(
            f"images must be a non-empty [B, H, W, C], got shape {image.shape}.{hint}"
        )
    size = image.shape[0]
    if not (image.dtype == np.uint8 or jnp.issubdtype(image.dtype, jnp.floating)):
        raise ValueError(f"images must be uint8 or floating, got {image.dtype}.")
    if image.dtype != np.uint8:  # a NaN may not even reach the features: max(NaN, 0)
        finite = jnp.isfinite(image).all(axis=(1, 2, 3))
        activations.check_rows(np.asarray(finite), "pixels")
    if label is not None and not isinstance(label, jax.Array):
        label = np.asarray(label)
    if label is not None and num_classes is not None:
        if mask is None:
            label = activations.check_labels(label, size, num_classes)
        else:  # padding may carry any label
            real = np.asarray(mask) > 0
            activations.check_labels(
                np.asarray(label)[real], int(real.sum()), num_classes
            )
    if mask is None:
        mask = np.ones(size, np.float32)
    elif not isinstance(mask, jax.Array):
        mask = np.asarray(mask, np.float32)
    if np.shape(mask) != (size,):
        raise ValueError(f"mask must have shape ({size},), got {np.shape(mask)}.")
    return Batch(image, label, mask)
