"""A set of images: its size, its place on disk, its origin.

A `SetSpec` is one split of one data set as a benchmark uses it. Paths are
those of the papers' repositories (ODIN, DICE, KNN-OOD, NPOS, MOS, OpenOOD), so a folder
that was laid out for one of them serves as it is.
"""

from collections.abc import Sequence
import dataclasses

from jood.data.sources import kinds


@dataclasses.dataclass(frozen=True)
class Place:
    """One way in which a set may lie on disk."""

    kind: str  # one of `jood.data.sources.kinds`, such as 'tfds' or 'folder'
    path: str  # below the data root, or below one of `source_kind.PREFIXES` there
    split: str = ""  # of a TFDS data set or of metadata.csv
    # A file below the data root that lists the class folders to read, one at the start
    # of each line; '' reads all.
    classes: str = ""
    # A folder below the data root without which the set is absent, though its list of
    # images is there; '' if there is none.
    images: str = ""

    def __post_init__(self) -> None:
        kinds.get(self.kind)  # raises for an unknown one


def folders(*paths: str, classes: str = "") -> tuple[Place, ...]:
    """Returns folders of images, of which the first that is there is read."""
    return tuple(Place("folder", path, classes=classes) for path in paths)


@dataclasses.dataclass(frozen=True)
class Archive:
    """A file that the publisher offers and whose digest is known."""

    url: str
    digest: str  # 'sha256:...' or 'md5:...', hexadecimal
    into: str = ""  # folder below the data root for its content, or for a plain file
    size: int = 0  # bytes; 0 if unknown

    def __post_init__(self) -> None:
        algorithm, _, value = self.digest.partition(":")
        if {"sha256": 64, "md5": 32}.get(algorithm) != len(value):
            raise ValueError(
                "digest must be 'sha256:' and 64 or 'md5:' and 32 hexadecimal digits, "
                f"got {self.digest!r}."
            )

    @property
    def name(self) -> str:
        """Returns the name of the file."""
        return self.url.rsplit("/", 1)[-1]


@dataclasses.dataclass(frozen=True)
class KnownFile:
    """A file of a set whose content is known."""

    name: str  # without its folder
    sha256: str
    note: str = ""  # a remark if this version is a part of the set


@dataclasses.dataclass(frozen=True)
class SetSpec:
    """One set of images."""

    name: str  # of its column in a table
    title: str  # a short description, for people
    size: int | None  # number of images; None where none is published
    places: Sequence[Place]  # the first that is there is read
    url: str  # its origin
    licence: str  # the terms that its publisher states, or that none are stated
    how: str = ""  # instructions to get it, beyond following the link
    tfds: str = ""  # the TFDS data set that `launch/prepare.py` prepares for it
    archives: Sequence[Archive] = ()  # those that `launch/prepare.py` downloads
    # Other content under these names is an error, except in TFDS folders, which every
    # version of TFDS writes anew.
    known: Sequence[KnownFile] = ()
    # Whether the images were made at the network's size and are shown whole, neither
    # enlarged nor cropped first.
    whole: bool = False
