"""Images in files that are named one by one: a list of them, or a single one."""

from collections.abc import Sequence
import dataclasses
import os
import pathlib
from typing import Any

import numpy as np

from jood.core.preprocessing import Preprocessing
from jood.data.sources import decoding
from jood.data.sources import file_lists
from jood.data.sources import source_kind
from jood.data.sources.source_kind import NamedImages


@dataclasses.dataclass(frozen=True, eq=False)
class Files:
    """Images in files."""

    paths: Sequence[str]
    preprocessing: Preprocessing | None = None  # resizes and crops the images
    folder: str | os.PathLike[str] = ""  # the start of relative paths
    labels: np.ndarray | None = None  # int32 [N]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> dict[str, Any]:
        path = os.path.join(self.folder, self.paths[index])
        image = decoding.decode(path, preprocessing=self.preprocessing)
        example: dict[str, Any] = {"image": image, "name": path}
        if self.labels is not None:
            example["label"] = self.labels[index]
        return example

    def fingerprint(self) -> str:
        """Returns a digest of names, labels, sizes and times; files may be missing."""
        digest = file_lists.stamps(self.paths, self.folder)
        if self.labels is not None:
            digest.update(self.labels.tobytes())
        return f"files:{digest.hexdigest()}, {decoding.version(self.preprocessing)}"


def named(paths: Sequence[str], preprocessing: Preprocessing) -> NamedImages:
    """Returns files to score, and their names."""
    return Files(paths, preprocessing), paths


def _listed(path: pathlib.Path, preprocessing: Preprocessing) -> NamedImages:
    lines = file_lists.paths(path)
    return named([str(path.parent / line) for line in lines], preprocessing)


LIST = source_kind.SourceKind(
    "list",
    takes=source_kind.ending_in([".txt"]),
    inputs=_listed,
    title="a .txt list of them",
)
IMAGE = source_kind.SourceKind(
    "image",
    takes=source_kind.ending_in(file_lists.SUFFIXES),
    inputs=lambda path, preprocessing: named([str(path)], preprocessing),
    title="an image",
)
