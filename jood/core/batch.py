"""What a batch is: images, with labels and a padding mask where there are any."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jood.core import activations
from jood.core import finiteness
from jood.core.preprocessing import Preprocessing


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


def as_batch(
    batch: Any,
    num_classes: int | None = None,
    preprocessing: Preprocessing | None = None,
) -> Batch:
    """Reads a batch in any of the usual forms, and checks it.

    Args:
      batch: a `Batch`; a dict with 'image' and perhaps 'label' and 'mask'; a pair
        (images, labels); or images alone. Images are an array [B, H, W, C] or a list
        of uint8 [H, W, C] of any sizes.
      num_classes: K; if given, labels must lie in [0, K).
      preprocessing: resizes and crops uint8 images: all of a list, and an array of
        another size than its output.

    Returns:
      A Batch with a mask.

    Raises:
      ValueError: images are not of rank 4, empty, not finite, or differ in size and
        nothing makes them equal; labels are out of range or of another length.
    """
    if isinstance(batch, Batch):
        image, label, mask = batch
    elif isinstance(batch, Mapping):
        if "image" not in batch:
            raise ValueError(f"a batch needs the key 'image', got {sorted(batch)}.")
        image, label, mask = batch["image"], batch.get("label"), batch.get("mask")
    elif isinstance(batch, tuple | list) and len(batch) == 2 and not _separate(batch):
        (image, label), mask = batch, None
    else:
        image, label, mask = batch, None, None
    image = _fitted(image, preprocessing)
    if image.ndim != 4 or not image.shape[0]:
        hint = ""
        if image.ndim == 3:
            hint = " For one image add an axis: image[None]"
            grey = image.shape[-1] not in (1, 3)  # perhaps [B, H, W]
            hint += "; for grey images [B, H, W]: images[..., None]" * grey + "."
        raise ValueError(
            f"images must be a non-empty [B, H, W, C], got shape {image.shape}.{hint}"
        )
    size = image.shape[0]
    check_images(image, preprocessing)
    known = not isinstance(image, jax.core.Tracer)  # values, not their shape alone
    if (
        known and image.dtype != np.uint8
    ):  # a NaN may not even reach the features: max(NaN, 0)
        xp = jnp if isinstance(image, jax.Array) else np  # where the pixels are
        finite = xp.isfinite(image).all(axis=(1, 2, 3))
        finiteness.check_rows(np.asarray(finite), "pixels")
    if label is not None and not isinstance(label, jax.Array):
        label = np.asarray(label)
    if label is not None and num_classes is not None:
        if mask is None:
            label = activations.check_labels(label, size, num_classes)
        else:  # padding may carry any label
            real = np.asarray(label)[np.asarray(mask) > 0]
            activations.check_labels(real, len(real), num_classes)
    if mask is None:
        mask = np.ones(size, np.float32)
    elif not isinstance(mask, jax.Array):
        mask = np.asarray(mask, np.float32)
    if np.shape(mask) != (size,):
        raise ValueError(f"mask must have shape ({size},), got {np.shape(mask)}.")
    return Batch(image, label, mask)


def check_images(image: Any, preprocessing: Preprocessing | None = None) -> None:
    """Raises ValueError for the wrong dtype, or for images [B, C, H, W].

    Args:
      image: array of rank 4, which may be traced: its values are not read.
      preprocessing: says how many channels images have; without one, 1 or 3 rows of
        square pictures are taken for channels.
    """
    if not (image.dtype == np.uint8 or jnp.issubdtype(image.dtype, jnp.floating)):
        raise ValueError(f"images must be uint8 or floating, got {image.dtype}.")
    _, first, height, width = image.shape
    if preprocessing is None:
        swapped = first in (1, 3) and height == width > 4
    else:
        swapped = first == len(preprocessing.mean) != width
    if swapped:
        raise ValueError(
            f"images must be [B, H, W, C], got {tuple(image.shape)}, which looks like "
            "PyTorch's [B, C, H, W]. Move the channels to the end: "
            "images.transpose(0, 2, 3, 1)."
        )


def check_batches(batches: Any) -> None:
    """Raises TypeError where one batch, or unbatched examples, stand for batches."""
    pair = isinstance(batches, tuple | list) and len(batches) == 2
    parts = batches if pair else [batches]
    shapes = [getattr(part, "shape", None) for part in parts]
    ranks = [None if shape is None else len(shape) for shape in shapes]
    array = "jood.data.sources.ArraySource(images, labels)"
    cut = "; or cut it: jood.data.pipeline.EvaluationBatches({}, batch_size=128)."
    if pair and ranks[0] in (3, 4) and ranks[1] == 1:
        raise TypeError(
            f"expected batches to iterate over, got one pair of arrays {shapes[0]} and "
            f"{shapes[1]}. Put it into a list, [(images, labels)]{cut.format(array)}"
        )
    if not pair and ranks[0] is not None and ranks[0] <= 4:
        raise TypeError(
            f"expected batches to iterate over, got one array of shape {shapes[0]}. "
            "Put it into a list, [images], with labels [(images, labels)]"
            f"{cut.format(array)}"
        )
    if isinstance(batches, Mapping | Batch | activations.Activations):
        raise TypeError(
            f"expected batches to iterate over, got one {type(batches).__name__}. Put "
            "it into a list, [batch]."
        )
    if not hasattr(batches, "__iter__"):
        indexed = hasattr(batches, "__getitem__")  # a source of single examples
        raise TypeError(
            f"expected batches to iterate over, got one {type(batches).__name__}"
            f"{cut.format('source').replace('or cut', 'cut') if indexed else '.'}"
        )


def _separate(images: Sequence[Any]) -> bool:
    """Whether these are images one by one, not a pair (images, labels)."""
    ranks = {getattr(image, "ndim", None) for image in images}
    return ranks == {3}


def _fitted(images: Any, preprocessing: Preprocessing | None) -> Any:
    """Images as one array, resized and cropped where they need it."""
    if isinstance(images, tuple | list) and _separate(images):
        return _stacked(images, preprocessing)
    if isinstance(images, jax.core.Tracer):
        return images  # resizing is the host's work
    images = images if isinstance(images, jax.Array) else np.asarray(images)
    if preprocessing is None or images.dtype != np.uint8 or images.ndim != 4:
        return images
    size = images.shape[1:3]
    if not images.size or preprocessing.output_size(*size) == size:
        return images
    return np.stack([preprocessing.fit_image(image) for image in np.asarray(images)])


def _stacked(images: Sequence[Any], preprocessing: Preprocessing | None) -> np.ndarray:
    arrays = [np.asarray(image) for image in images]
    if preprocessing is not None and all(a.dtype == np.uint8 for a in arrays):
        arrays = [preprocessing.fit_image(array) for array in arrays]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise ValueError(
            f"images of a batch must be of one shape, got {shapes[0]} and {shapes[-1]} "
            f"among {len(arrays)}. To fit images of any size pass uint8 and "
            "jood.Preprocessing(mean, std, resize=256, crop=224)."
        )
    return np.stack(arrays)
