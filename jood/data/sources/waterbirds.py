"""Waterbirds: birds pasted on backgrounds, listed in a metadata.csv.

Label 0 is a landbird, 1 a waterbird (Sagawa et al., 2020). The folder is what
generate_waterbird.py of Ming et al. (2022) writes.
"""

import csv
import pathlib

import numpy as np

from jood.data.sources import source_kind
from jood.data.sources.files import Files

LIST = "metadata.csv"
SPLITS = {"train": "0", "val": "1", "test": "2"}  # in the column `split`


def read(folder: pathlib.Path, how: source_kind.Reading) -> Files:
    """Reads the split `how.split`, 'train', 'val' or 'test', with labels.

    Raises:
      FileNotFoundError: There is no list, or an image of it is missing.
      ValueError: The list lacks the columns img_filename, y or split, or this split.
    """
    number = SPLITS[how.split]
    with (folder / LIST).open(newline="") as file:
        reader = csv.DictReader(file)
        lacking = {"img_filename", "y", "split"}.difference(reader.fieldnames or ())
        if lacking:
            raise ValueError(f"{file.name} lacks the columns {sorted(lacking)}.")
        rows = [row for row in reader if row["split"] == number]
    if not rows or {row["y"] for row in rows} - {"0", "1"}:
        raise ValueError(
            f"{folder / LIST} must list images of split {number} ({how.split}) with y "
            f"0 or 1, got {len(rows)} images."
        )
    paths = [row["img_filename"] for row in rows]
    if missing := [path for path in paths if not (folder / path).is_file()]:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} images that {folder / LIST} lists are "
            f"missing, the first is {missing[0]}."
        )
    labels = np.array([int(row["y"]) for row in rows], np.int32)
    return Files(paths, how.preprocessing, folder, labels)


KIND = source_kind.SourceKind(
    "waterbirds", open=read, is_there=lambda path: (path / LIST).is_file()
)
