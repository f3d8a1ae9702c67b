"""Sources: random access to examples, as Grain reads them.

An example is a dict {'image': uint8 [H, W, C], 'label': int}; OOD sets carry no
label. It may have a 'name', for errors, and has 'skipped', the reason, where a
`Skipping` source put zeros in the place of an image that cannot be read. Anything with
`__len__` and `__getitem__` is a source, from a list to a TFDS data source. With a
method `fingerprint`, a text that other data do not have, its features can be cached.
"""

from collections.abc import Mapping
import dataclasses
import functools
import os
import pathlib
from typing import Any, Protocol
import zipfile
import zlib

import numpy as np

from jood._utils import fingerprinting
from jood._utils.fingerprinting import fingerprint as fingerprint
from jood.data.sources import decoding


class Source(Protocol):
    """Random access to N examples."""

    def __len__(self) -> int:
        """Returns N."""

    def __getitem__(self, index: Any, /) -> Mapping[str, Any]:
        """Returns example `index`, 0 <= index < N."""


@dataclasses.dataclass(frozen=True, eq=False)
class ArraySource:
    """Examples held in memory."""

    images: np.ndarray  # uint8 [N, H, W, C]
    labels: np.ndarray | None = None  # int [N]; None for an OOD set

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise ValueError(
                "images must be uint8 [N, H, W, C], got "
                f"{self.images.dtype} {self.images.shape}."
            )
        labels = self.labels
        if labels is not None and np.shape(labels) != self.images.shape[:1]:
            raise ValueError(
                f"there must be one label per image, got labels {labels.shape} for "
                f"{len(self.images)} images."
            )
        if labels is not None and not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"labels must be integers, got {labels.dtype}.")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> dict[str, Any]:
        example: dict[str, Any] = {"image": self.images[index]}
        if self.labels is not None:
            example["label"] = np.int32(self.labels[index])
        return example

    def fingerprint(self) -> str:
        """Returns the SHA-256 of images and labels."""
        digest = fingerprinting.array_digest(images=self.images, labels=self.labels)
        return f"sha256:{digest}"


def npz(
    path: str | os.PathLike[str], images: str = "images", labels: str | None = None
) -> ArraySource:
    """Reads arrays from a `.npz` archive.

    Args:
      path: The archive; nothing in it is unpickled.
      images: Key of uint8 [N, H, W, C].
      labels: Key of int [N]; None for an OOD set.

    Raises:
      FileNotFoundError: There is no such file.
      ValueError: It is no such archive, lacks a key, or holds other arrays than these.
    """
    path = pathlib.Path(path)
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError("it is not a whole archive of named arrays")
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            keys = [key for key in (images, labels) if key]
            if missing := [key for key in keys if key not in archive.files]:
                raise ValueError(f"it has no {missing}, only {sorted(archive.files)}")
            sizes = {info.filename: info.file_size for info in archive.zip.infolist()}
            size, memory = sum(sizes.get(f"{key}.npy", 0) for key in keys), _memory()
            if size > memory:
                raise ValueError(
                    f"it would expand to {size:,} bytes, but the memory has {memory:,}"
                )
            arrays = [archive[key] for key in keys]
        return ArraySource(*arrays)
    except MemoryError as error:
        raise ValueError(
            f"cannot read images from {path}: its arrays claim more than the memory of "
            f"this machine ({error}). Cut it into several archives."
        ) from None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"cannot read images from {path}: {str(error).rstrip('.')}. Expected a "
            ".npz archive of uint8 [N, H, W, C], without pickled objects."
        ) from error


def _memory() -> int:
    """The bytes of memory that the machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@dataclasses.dataclass(frozen=True, eq=False)
class Skipping:
    """A source whose unreadable images keep their place but do not count.

    Zeros stand for one that raises `jood.data.sources.decoding.ImageError`, and
    'skipped' gives its name and the reason. `EvaluationBatches` gives such rows mask 0
    and lists them; `training_batches` takes the next readable example instead.
    """

    source: Source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: Any) -> Mapping[str, Any]:
        try:
            return self.source[index]
        except decoding.ImageError as error:
            return {**self._blank, "skipped": f"{error.name}: {error.reason}"}

    def fingerprint(self) -> str:
        """Returns that of the source, and that unreadable images are skipped."""
        return f"skipping unreadable images of {fingerprint(self.source)}"

    @functools.cached_property
    def _blank(self) -> dict[str, Any]:
        """Zeros like the first example that can be read."""
        errors = []
        for index in range(len(self.source)):
            try:
                like = self.source[index]
                return {k: np.zeros_like(v) for k, v in like.items() if k != "name"}
            except decoding.ImageError as error:
                errors.append(f"{error.name}: {error.reason}")
        raise ValueError(
            f"none of the {len(errors)} images can be read; the first is {errors[0]}."
        )


def materialise(source: Source) -> ArraySource:
    """Reads a source into memory, once, for small images that are used every epoch.

    Raises:
      ValueError: An image is unreadable, even if the source skips those, or of another
        shape.
    """
    examples = [source[i] for i in range(len(source))]
    if skipped := [e["skipped"] for e in examples if "skipped" in e]:
        raise ValueError(
            f"{len(skipped)} image(s) cannot be read, the first is {skipped[0]}. An "
            "array has no place for them: read the source in batches, or mend it."
        )
    labels = None
    if "label" in examples[0]:
        labels = np.array([e["label"] for e in examples], np.int32)
    return ArraySource(np.stack([e["image"] for e in examples]), labels)
