"""SVHN's test set as the papers' repositories select it, from the original file.

They take the first 1,000 images of each digit of test_32x32.mat, in its order, 10,000
of 26,032, and keep them as selected_test_32x32.mat; either file gives the same images.
"""

import os
import pathlib

import numpy as np

from jood.data.sources import ArraySource
from jood.data.sources import resized
from jood.data.sources import source_kind

FILES = ("selected_test_32x32.mat", "test_32x32.mat")
PER_DIGIT = 1000


def file_in(folder: str | os.PathLike[str]) -> pathlib.Path | None:
    """Returns the file to read from a folder, the selection first; None without."""
    paths = (pathlib.Path(folder) / name for name in FILES)
    return next((path for path in paths if path.is_file()), None)


def read(folder: str | os.PathLike[str]) -> ArraySource:
    """Reads the selected images, without labels.

    Raises:
      FileNotFoundError: Neither file is there.
      ValueError: The file is none of these.
    """
    from scipy import io  # takes a moment

    path = file_in(folder)
    if path is None:
        raise FileNotFoundError(f"there is no {' or '.join(FILES)} in {folder}.")
    try:
        content = io.loadmat(path, variable_names=["X", "y"])
        images, digits = content["X"], content["y"].ravel()
        images = np.ascontiguousarray(images.transpose(3, 0, 1, 2))  # [N, H, W, C]
        first = [np.flatnonzero(digits == d)[:PER_DIGIT] for d in np.unique(digits)]
        return ArraySource(images[np.sort(np.concatenate(first))])
    except Exception as error:  # its reader raises nearly everything
        raise ValueError(
            f"cannot read SVHN from {path}: {str(error).rstrip('.')}. Expected the "
            "original .mat file with X, uint8 [32, 32, 3, N], and y, [N, 1]."
        ) from error


KIND = source_kind.SourceKind(
    "svhn",
    open=lambda path, how: resized.fitted(read(path), how.preprocessing),
    is_there=lambda path: file_in(path) is not None,
)
