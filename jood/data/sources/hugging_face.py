"""A data set of the Hugging Face library `datasets`, if that is installed.

    HuggingFaceSource(datasets.load_dataset('uoft-cs/cifar10', split='test'), 'img')

Images are decoded by `jood.data.sources.decoding`, as all others are.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from jood.core.preprocessing import Preprocessing
from jood.data.sources import decoding


@dataclasses.dataclass(frozen=True, eq=False)
class HuggingFaceSource:
    """One split of a data set."""

    dataset: Any  # a `datasets.Dataset`, which is read at random
    image: str = "image"  # the column of images, of the feature `datasets.Image`
    label: str | None = "label"  # that of integer labels; None for an OOD set
    preprocessing: Preprocessing | None = None  # resizes and crops the images

    def __post_init__(self) -> None:
        """Checks the columns.

        Raises:
          ImportError: `datasets` is not installed.
          ValueError: It is no such data set, or a column is missing or of another kind.
        """
        try:
            import datasets
        except ImportError as error:
            raise ImportError(
                "HuggingFaceSource needs the library: pip install datasets."
            ) from error
        if not isinstance(self.dataset, datasets.Dataset):
            raise ValueError(
                "dataset must be a datasets.Dataset, one split that is not streamed, "
                f"got {type(self.dataset).__name__}."
            )
        features = self.dataset.features
        if not isinstance(features.get(self.image), datasets.Image):
            raise ValueError(
                f"the column {self.image!r} must hold images (datasets.Image); the "
                f"columns are {dict(features)}. Name another, or "
                "dataset.cast_column(name, datasets.Image())."
            )
        dtype = getattr(features.get(self.label), "dtype", "")
        if self.label is not None and not dtype.startswith(("int", "uint")):
            raise ValueError(
                f"the column {self.label!r} must hold integers; the columns are "
                f"{dict(features)}. Name another, or label=None for an OOD set."
            )

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Any) -> dict[str, Any]:
        row, name = self._undecoded[int(index)], f"number {index} of the data set"
        stored = row[self.image]
        if stored is None:
            raise decoding.ImageError(name, "it is None")
        path, data = stored["path"], stored["bytes"]
        image = decoding.decode(
            path if data is None else data, path or name, self.preprocessing
        )
        example: dict[str, Any] = {"image": image}
        if self.label is not None:
            example["label"] = np.int32(row[self.label])
        return example

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the labels, where the data set has them."""
        label = None if self.label is None else self.dataset.features[self.label]
        names = getattr(label, "names", None)
        return names and tuple(names)

    def fingerprint(self) -> str:
        """Returns the key of the library's own caches, which has no public name."""
        return (
            f"hugging face {self.dataset._fingerprint}, {self.image} {self.label}, "
            f"{decoding.version(self.preprocessing)}"
        )

    @functools.cached_property
    def _undecoded(self) -> Any:
        import datasets

        keep = [self.image] if self.label is None else [self.image, self.label]
        columns = self.dataset.select_columns(keep).with_format(None)
        return columns.cast_column(self.image, datasets.Image(decode=False))
