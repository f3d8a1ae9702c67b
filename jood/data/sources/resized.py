"""Arrays of images at the network's size."""

from collections.abc import Mapping
import dataclasses
from typing import Any

from jood.core.preprocessing import Preprocessing
from jood.data import sources
from jood.data.sources import ArraySource
from jood.data.sources import Source


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted:
    """A source whose images are resized and cropped when they are read.

    Files and TFDS records do this while they are decoded; this is for arrays.
    """

    source: Source
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: Any) -> Mapping[str, Any]:
        example = self.source[index]
        return {**example, "image": self.preprocessing.fit_image(example["image"])}

    def fingerprint(self) -> str:
        """Returns that of the source, and how its images are fitted."""
        fit = self.preprocessing
        how = f"resize {fit.resize}, crop {fit.crop}, {fit.interpolation}"
        return f"{sources.fingerprint(self.source)}, {how}"


def fitted(arrays: ArraySource, preprocessing: Preprocessing | None) -> Source:
    """Returns arrays at the size that a preprocessing makes; themselves if they are."""
    if preprocessing is None or preprocessing.leaves(*arrays.images.shape[1:3]):
        return arrays
    return Fitted(arrays, preprocessing)
