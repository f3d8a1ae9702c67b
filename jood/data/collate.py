"""Stacks examples into the padded arrays of a batch; errors name two examples."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def stack(
    examples: Sequence[Mapping[str, Any]], size: int, first: int | None = None
) -> dict[str, Any]:
    """Stacks examples as `jood.data.sources` describes them.

    Args:
      examples: Examples, at least one and at most `size`.
      size: B; rows after the last example are zeros.
      first: Index of the first of consecutive examples; None if they are not.

    Returns:
      'image' [B, H, W, C]; 'label' int32 [B], if there are labels; 'mask' float32 [B],
      0 for padding and for skipped examples; 'skipped', {index: why}.

    Raises:
      ValueError: The images differ in shape or dtype, or only some have labels.
    """
    count, like = len(examples), np.asarray(examples[0]["image"])
    stacked = np.zeros((size, *like.shape), like.dtype)
    for row, image in enumerate(np.asarray(one["image"]) for one in examples):
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
    mask[:count] = ["skipped" not in example for example in examples]
    batch = {"image": stacked, "mask": mask}
    labels = [row for row, example in enumerate(examples) if "label" in example]
    if labels and len(labels) < count:
        bare = min(set(range(count)) - set(labels))
        raise ValueError(
            "all examples of a batch have labels or none has: "
            f"{_name(examples, labels[0], first)} has one, "
            f"{_name(examples, bare, first)} has none."
        )
    if labels:
        batch["label"] = np.zeros(size, np.int32)
        batch["label"][:count] = [example["label"] for example in examples]
    indexed = enumerate(examples, first or 0)
    skipped = {i: one["skipped"] for i, one in indexed if "skipped" in one}
    return {**batch, "skipped": skipped}


def _name(examples: Sequence[Mapping[str, Any]], row: int, first: int | None) -> str:
    if "name" in examples[row]:
        return str(examples[row]["name"])
    return "an example" if first is None else f"example {first + row}"
