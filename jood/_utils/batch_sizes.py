"""Sizes to which batches are padded, so that few programs are compiled.

A program is compiled for a batch's shape, which takes seconds, while the images of a
small batch take milliseconds. `Detector.export` copies this module into its file.
"""

from typing import Any

import jax
import numpy as np


def padded_size(count: int) -> int:
    """Returns the least size >= count of 1, 2, 4, ..., 64, 80, 96, 112, 128, 160, ...

    Above 64 an octave has four sizes: at most a quarter of the batch is added.
    """
    bits = (count - 1).bit_length()
    step = 1 << (bits if count <= 64 else bits - 3)
    return -(-count // step) * step


def padded(images: Any) -> Any:
    """Repeats the first of B images up to `padded_size`.

    A `jax.Array` stays as it is: whoever sent a batch to the device has chosen its
    size. The added rows are real images, so that they break no method's assumption.
    """
    if isinstance(images, jax.Array):
        return images
    missing = padded_size(len(images)) - len(images)
    if not missing:
        return images
    return np.concatenate([images, np.repeat(images[:1], missing, axis=0)])
