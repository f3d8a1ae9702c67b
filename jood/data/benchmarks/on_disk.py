"""Finds the sets of a benchmark below the data root and opens them."""

from collections.abc import Sequence
import dataclasses
import os
import pathlib

from jood.core.preprocessing import Preprocessing
from jood.data.benchmarks.set_spec import Place
from jood.data.benchmarks.set_spec import SetSpec
from jood.data.sources import Source
from jood.data.sources import kinds
from jood.data.sources.source_kind import Reading

ENVIRONMENT = "JOOD_DATA_DIR"


def data_root(data_dir: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """Returns the folder of data: `data_dir`, else the variable JOOD_DATA_DIR.

    Raises:
      FileNotFoundError: Neither is given, or it is not a folder.
    """
    text = os.environ.get(ENVIRONMENT) if data_dir is None else data_dir
    if not text:
        raise FileNotFoundError(
            "this benchmark reads data from disk: say where with data_dir "
            f"(--data_dir), or set the environment variable {ENVIRONMENT}."
        )
    root = pathlib.Path(text).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"the data folder {root} is not a folder.")
    return root


def origin(data_dir: str | os.PathLike[str] | None = None) -> dict[str, str]:
    """Returns the folder that `data_root` takes and who named it, for the record."""
    given = os.environ.get(ENVIRONMENT) if data_dir is None else data_dir
    if not given:
        return {}
    who = "--data_dir" if data_dir is not None else f"environment, {ENVIRONMENT}"
    folder = os.path.abspath(os.path.expanduser(given))
    return {"data_dir": folder, "data_dir_from": who}


@dataclasses.dataclass(frozen=True)
class SetFiles:
    """A set that is on disk."""

    place: Place
    path: pathlib.Path  # its folder or file
    classes: tuple[str, ...] = ()  # the class folders to read; () for all


def find(spec: SetSpec, root: pathlib.Path) -> SetFiles | None:
    """Returns where a set lies, or None; the first of its places wins."""
    for place in spec.places:
        kind = kinds.get(place.kind)
        for path in kind.candidates(root, place.path):
            if not kind.is_there(path) or not _has_images(place, path):
                continue
            if not place.classes:
                return SetFiles(place, path)
            if (root / place.classes).is_file():
                return SetFiles(place, path, _first_words(root / place.classes))
    return None


def _has_images(place: Place, path: pathlib.Path) -> bool:
    """Whether the folder that a list of images needs lies beside the list."""
    depth = len(pathlib.PurePath(place.path).parts)
    return not place.images or (path.parents[depth - 1] / place.images).is_dir()


def open_set(
    files: SetFiles,
    preprocessing: Preprocessing | None,
    *,
    labelled: bool,
    class_names: Sequence[str] | None = None,
) -> Source:
    """Opens a set; the arguments are those of `Reading`.

    Raises:
      OSError: Files are missing.
      ValueError: The files are not such a set. Both say what is wrong and where.
    """
    how = Reading(
        preprocessing, labelled, files.place.split, files.classes or None, class_names
    )
    opener = kinds.get(files.place.kind).open
    assert opener is not None, "a place is of a kind that benchmarks can open"
    return opener(files.path, how)


def where(spec: SetSpec, root: pathlib.Path) -> str:
    """Returns as text where a set is looked for and where to get it."""
    source = "; ".join(filter(None, (spec.url, spec.how)))
    return f"looked for {' or '.join(paths(spec, root))}; from {source}"


def paths(spec: SetSpec, root: pathlib.Path) -> list[str]:
    """Returns the paths at which a set is looked for, without `PREFIXES`."""
    return [
        " with ".join(str(root / part) for part in (place.path, place.images) if part)
        for place in spec.places
    ]


def _first_words(path: pathlib.Path) -> tuple[str, ...]:
    lines = filter(str.strip, path.read_text().splitlines())
    words = tuple(sorted(line.split()[0] for line in lines))
    if len(set(words)) < len(words) or not words:
        raise ValueError(f"{path} must list each class once, one per line.")
    return words
