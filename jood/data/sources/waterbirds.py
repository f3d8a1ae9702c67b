"""Waterbirds: birds pasted on backgrounds, listed in a metadata.csv.

Label 0 is a landbird, 1 a waterbird (Sagawa et al., 2020). The folder is what
generate_waterbird.py of Ming et al. (2022) writes.
"""

import csv
import dataclasses
import hashlib
import os
import pathlib
from typing import Any

import numpy as np

from jood.core.preprocessing import Preprocessing
from jood.data.sources import decoding

SPLITS = {"train": "0", "val": "1", "test": "2"}  # in the column `split`


@dataclasses.dataclass(frozen=True, eq=False)
class Waterbirds:
    """One split of the data set.

    Attributes:
      folder: holds metadata.csv, with the columns img_filename, y and split, and the
        images.
      split: 'train', 'val' or 'test'.
      preprocessing: resizes and crops the images.
    """

    folder: str | os.PathLike[str]
    split: str
    preprocessing: Preprocessing | None = None
    paths: list[str] = dataclasses.field(init=False, repr=False)
    labels: np.ndarray = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Reads the list.

        Raises:
          FileNotFoundError: there is no list, or an image of it is missing.
          ValueError: the list lacks columns, or this split.
        """
        root = pathlib.Path(self.folder)
        with (root / "metadata.csv").open(newline="") as file:
            reader = csv.DictReader(file)
            lacking = {"img_filename", "y", "split"}.difference(reader.fieldnames or ())
            if lacking:
                raise ValueError(f"{file.name} lacks the columns {sorted(lacking)}.")
            rows = [row for row in reader if row["split"] == SPLITS[self.split]]
        if not rows or {row["y"] for row in rows} - {"0", "1"}:
            raise ValueError(
                f"{root}/metadata.csv must list images of split {SPLITS[self.split]} "
                f"({self.split}) with y 0 or 1, got {len(rows)} images."
            )
        paths = [row["img_filename"] for row in rows]
        missing = [path for path in paths if not (root / path).is_file()]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} of {len(paths)} images that {root}/metadata.csv lists "
                f"are missing, the first is {missing[0]}."
            )
        labels = np.array([int(row["y"]) for row in rows], np.int32)
        object.__setattr__(self, "paths", paths)
        object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> dict[str, Any]:
        path = os.path.join(self.folder, self.paths[index])
        image = decoding.decode(path, preprocessing=self.preprocessing)
        return {"image": image, "name": path, "label": self.labels[index]}

    def fingerprint(self) -> str:
        """Returns a digest of the names, labels, sizes and times of the files."""
        digest = hashlib.sha256(self.labels.tobytes())
        for path in self.paths:
            status = os.stat(os.path.join(self.folder, path))
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return f"files:{digest.hexdigest()}, {decoding.version(self.preprocessing)}"
