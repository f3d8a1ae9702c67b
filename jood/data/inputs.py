"""Images to score, wherever they lie: a folder, a list, an archive, tar files.

One that cannot be read does not stop the others: it keeps its place, with zeros for
pixels and the reason in 'skipped'.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import glob
import hashlib
import os
import pathlib
from typing import Any

import numpy as np

from jood.core.preprocessing import Preprocessing
from jood.data import sources
from jood.data.sources import Source
from jood.data.sources import decoding
from jood.data.sources import file_lists
from jood.data.sources.resized import Fitted
from jood.data.sources.tar_shards import TarShards


@dataclasses.dataclass(frozen=True, eq=False)
class Inputs:
    """Images of one size, in order, each with a name.

    Attributes:
      source: of the images. An example that cannot be read has 'skipped'.
      names: one per image: its path, or its place in an archive.
      fingerprint: a text that other images do not have.
      broken: what could not be opened at all: by path, why.
    """

    source: Source
    names: Sequence[str]
    fingerprint: str
    broken: Mapping[str, str] = dataclasses.field(default_factory=dict)


def open_inputs(where: str, preprocessing: Preprocessing) -> Inputs:
    """Opens images.

    Args:
      where: a folder, read to any depth; an image; a text file (`.txt`) that names
        one image a line, relative to the file's folder (a label after a space is not
        read); a `.npz` archive with the key `images`, uint8 [N, H, W, C]; or one or
        more tar files, by a pattern such as 'shards/*.tar'.
      preprocessing: brings every image to one size.

    Raises:
      OSError: there is no such file or folder, or it cannot be read.
      ValueError: there is no image, or it is none of these; or the preprocessing
        leaves images at their own size.
    """
    size = preprocessing.fixed_size
    if size is None:
        raise ValueError(
            "images of any size need a preprocessing that makes them equal, but this "
            f"one has neither a crop nor resize=(height, width): {preprocessing}. "
            "Fit the detector with launch/fit.py, which gives it one."
        )
    path = pathlib.Path(where).expanduser()
    blank = np.zeros((*size, len(preprocessing.mean)), np.uint8)
    if path.is_dir():
        names = [str(path / name) for name in file_lists.images(path)]
        return _files(names, preprocessing, blank)
    suffix = path.suffix.lower()
    if suffix == ".tar":
        shards = TarShards(_matching(str(path)), preprocessing)
        tolerant = Tolerant(shards, shards.names, blank)
        return Inputs(tolerant, shards.names, shards.fingerprint(), shards.broken)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file or folder {path}. Expected a folder of images, a .txt "
            "list of them, a .npz archive or .tar files."
        )
    if suffix == ".npz":
        arrays = sources.npz(path)
        _check_channels(path, arrays.images, preprocessing)
        names = [f"{path}[{index}]" for index in range(len(arrays))]
        fitted: Source = arrays
        if not preprocessing.leaves(*arrays.images.shape[1:3]):
            fitted = Fitted(arrays, preprocessing)
        return Inputs(fitted, names, sources.fingerprint(fitted))
    if suffix in file_lists.SUFFIXES:
        return _files([str(path)], preprocessing, blank)
    if suffix == ".txt":
        lines, _ = file_lists.entries(path)
        names = [str(path.parent / line) for line in lines]
        return _files(names, preprocessing, blank)
    raise ValueError(
        f"{path} is none of what can be scored: a folder of images, a .txt list of "
        "them, a .npz archive or .tar files."
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Files:
    """Images in files, named one by one.

    Attributes:
      paths: of the files.
      preprocessing: resizes and crops the images.
    """

    paths: Sequence[str]
    preprocessing: Preprocessing | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> dict[str, Any]:
        path = self.paths[index]
        image = decoding.decode(path, preprocessing=self.preprocessing)
        return {"image": image, "name": path}

    def fingerprint(self) -> str:
        """Returns a digest of names, sizes and times of change; files may be gone."""
        digest = hashlib.sha256()
        for path in self.paths:
            try:
                status = os.stat(path)
                text = f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n"
            except OSError:
                text = f"{path}\0missing\n"
            digest.update(text.encode("utf-8", "surrogateescape"))
        return f"files:{digest.hexdigest()}, {decoding.version(self.preprocessing)}"


@dataclasses.dataclass(frozen=True, eq=False)
class Tolerant:
    """A source whose unreadable images keep their place, whatever is wrong with them.

    Unlike `jood.data.sources.Skipping` it also bears files that are gone or may not be
    read, and sources of which no image is readable.

    Attributes:
      source: of the images.
      names: one per image.
      blank: uint8 [H, W, C], what stands in the place of an unreadable one.
    """

    source: Source
    names: Sequence[str]
    blank: np.ndarray

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: Any) -> Mapping[str, Any]:
        try:
            return self.source[index]
        except decoding.ImageError as error:
            reason = error.reason
        except OSError as error:
            reason = error.strerror or str(error)
        return {"image": self.blank, "name": self.names[index], "skipped": reason}


def _files(names: list[str], preprocessing: Preprocessing, blank: np.ndarray) -> Inputs:
    files = Files(names, preprocessing)
    return Inputs(Tolerant(files, names, blank), names, files.fingerprint())


def _matching(pattern: str) -> list[str]:
    if os.path.isfile(pattern):
        return [pattern]
    found = sorted(glob.glob(pattern))
    if not found:
        raise FileNotFoundError(f"no tar file matches {pattern}.")
    return found


def _check_channels(
    path: pathlib.Path, images: np.ndarray, preprocessing: Preprocessing
) -> None:
    if images.shape[-1] != len(preprocessing.mean):
        raise ValueError(
            f"{path} holds images of {images.shape[-1]} channel(s), but the detector "
            f"takes {len(preprocessing.mean)}."
        )
    if not len(images):
        raise ValueError(f"there is no image in {path}.")
