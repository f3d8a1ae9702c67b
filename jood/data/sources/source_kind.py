"""What a kind of source is: one way in which images lie on disk, and how to open it.

A kind is one record beside its source and one entry in `jood.data.sources.kinds`;
`kinds.register` adds one from outside. Benchmarks ask a kind where a set may lie and
open it; `jood.data.inputs` asks it for images to score.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
import pathlib
from typing import NamedTuple

from jood.core.preprocessing import Preprocessing
from jood.data.sources import Source

# Where the repositories of the papers keep their OOD sets below the data root.
PREFIXES = ("", "ood_datasets", "ood_data", "small_OOD_dataset", "ImageNet_OOD_dataset")

NamedImages = tuple[Source, Sequence[str]]  # images and a name for each


class Reading(NamedTuple):
    """How a benchmark reads a set."""

    preprocessing: Preprocessing | None  # resizes and crops the images
    labelled: bool = False  # whether examples carry their labels
    split: str = ""  # part of the data set, for kinds that have several
    folders: Sequence[str] | None = None  # to read, in the order of labels; None: all
    class_names: Sequence[str] | None = None  # the ID training set's, in that order


def below_prefixes(root: pathlib.Path, path: str) -> Iterator[pathlib.Path]:
    """Yields where the papers' repositories may keep a set."""
    return (root / prefix / path for prefix in PREFIXES)


def ending_in(suffixes: Iterable[str]) -> Callable[[pathlib.Path], bool]:
    """Returns whether a path is a file with one of some suffixes, in any case."""
    known = frozenset(suffixes)
    return lambda path: path.suffix.lower() in known and path.is_file()


class SourceKind(NamedTuple):
    """One way in which images lie on disk."""

    name: str  # in `Place.kind`
    # The images of a benchmark's set; raises OSError or ValueError, which say what is
    # wrong and where. None if no benchmark uses it.
    open: Callable[[pathlib.Path, Reading], Source] | None = None
    # (data root, `Place.path`) -> paths at which a set may lie; the first that
    # `is_there` wins.
    candidates: Callable[[pathlib.Path, str], Iterable[pathlib.Path]] = below_prefixes
    is_there: Callable[[pathlib.Path], bool] = pathlib.Path.exists
    versioned: bool = False  # files differ by the preparing program's version
    # Whether a path, perhaps a pattern, holds images of this kind to score.
    takes: Callable[[pathlib.Path], bool] = lambda path: False
    # Such images without labels; the source's `broken`, if any, says by path what
    # cannot be opened and why. None for a kind that is not scored.
    inputs: Callable[[pathlib.Path, Preprocessing], NamedImages] | None = None
    title: str = ""  # what `takes` accepts, for the list in an error
