"""From examples to the arrays of a batch, padded, or to an error that names two."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def stack(
    examples: Sequence[Mapping[str, Any]], size: int, first: int | None = None
) -> dict[str, Any]:
    """Stacks examples as `jood.data.sources` describes them.

    Args:
      examples: at least one, at most `size`.
      size: B; rows after the last example are zeros.
      first: index of the first example in its source, the others following; None if
        they come from anywhere. For messages and for 'skipped'.

    Returns:
      'image' [B, H, W, C]; 'label' int32 [B], if there are labels; 'mask' float32 [B],
      0 for padding and for skipped examples; 'skipped', {index: why}.

    Raises:
      ValueError: the images differ in shape or dtype, or only some have labels.
    """
    images = [np.asarray(example["image"]) for example in examples]
    like = images[0]
    stacked = np.zeros((size, *like.shape), like.dtype)
    for row, image in enumerate(images):
        if image.shape != like.shape or image.dtype != like.dtype:
            raise ValueError(
                "all images of a batch must be of one shape and dtype, got "
                f"{like.dtype} {like.shape} for {_name(examples, 0, first)} and "
                f"{image.dtype} {image.shape} for {_name(examples, row, first)}. Give "
                "the source a preprocessing that makes them so: "
                "jood.Preprocessing(..., resize=256, crop=224)."
            )
        stacked[row] = image
    mask = np.zeros(size, np.float32)
    mask[: len(examples)] = [float("skipped" not in example) for example in examples]
    batch = {"image": stacked, "mask": mask}
    labels = [row for row, example in enumerate(examples) if "label" in example]
    if labels:
        if len(labels) < len(examples):
            bare = min(set(range(len(examples))) - set(labels))
            raise ValueError(
                "all examples of a batch have labels or none has: "
                f"{_name(examples, labels[0], first)} has one, "
                f"{_name(examples, bare, first)} has not."
            )
        label = np.zeros(size, np.int32)
        label[: len(examples)] = [example["label"] for example in examples]
        batch["label"] = label
    start = first or 0
    skipped = {
        start + row: example["skipped"]
        for row, example in enumerate(examples)
        if "skipped" in example
    }
    return {**batch, "skipped": skipped}


def _name(examples: Sequence[Mapping[str, Any]], row: int, first: int | None) -> str:
    if "name" in examples[row]:
        return str(examples[row]["name"])
    return "an example" if first is None else f"example {first + row}"
