"""The size of the images that a detector was made for, and of new ones.

A network without a fixed size takes images of any size, but other sizes give scores of
another distribution, for which the fitted and calibrated values do not hold.
"""

from collections.abc import Sequence
from typing import Any

from jood.core.preprocessing import Preprocessing


def known(
    preprocessing: Preprocessing | None, image_shape: Sequence[int] | None
) -> tuple[int, ...] | None:
    """Returns the (H, W, C) of the images that the network sees, None if unknown.

    Args:
      preprocessing: the detector's; one that makes all images of one size says it
        better than `image_shape`.
      image_shape: Shape of the images that it was fitted or calibrated on, or None.
    """
    if preprocessing is not None and preprocessing.fixed_size is not None:
        return (*preprocessing.fixed_size, len(preprocessing.mean))
    return None if image_shape is None else tuple(image_shape)


def check(
    images: Any,
    preprocessing: Preprocessing | None,
    image_shape: Sequence[int] | None,
) -> None:
    """Raises ValueError if images [B, H, W, C] are of another size than `image_shape`.

    Behind a preprocessing that fits the shorter side only, the other one may differ.
    """
    size = tuple(images.shape[1:3])
    if image_shape is None or size == tuple(image_shape[:2]):
        return
    if preprocessing is not None and isinstance(preprocessing.resize, int):
        return
    raise ValueError(
        f"images of {size} pixels (height, width) for a detector that was fitted or "
        f"calibrated on {tuple(image_shape[:2])}: scores of another size cannot "
        "be compared with what it learned. Bring them to that size (jood.Preprocessing "
        "with resize or crop does it), or fit and calibrate on images such as these."
    )
