"""Arrays of images at the network's size."""

from collections.abc import Mapping
import dataclasses
from typing import Any

from jood.core.preprocessing import Preprocessing
from jood.data import sources


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted:
    """Images that are resized and cropped when read; files are when decoded."""

    source: sources.Source
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: Any) -> Mapping[str, Any]:
        example = self.source[index]
        return {**example, "image": self.preprocessing.fit_image(example["image"])}

    def fingerprint(self) -> str:
        """Returns the source's fingerprint, and how its images are resized."""
        return f"{sources.fingerprint(self.source)}, {self.preprocessing.fitting}"


def fitted(
    arrays: sources.ArraySource, preprocessing: Preprocessing | None
) -> sources.Source:
    """Returns arrays at the size that a preprocessing makes; themselves if they are."""
    if preprocessing is None or preprocessing.leaves(*arrays.images.shape[1:3]):
        return arrays
    return Fitted(arrays, preprocessing)
