"""Finds the sets of a benchmark below the data root and opens them."""

from collections.abc import Iterator, Sequence
import dataclasses
import os
import pathlib

from jood.core.preprocessing import Preprocessing
from jood.data import sources
from jood.data.benchmarks import set_spec
from jood.data.benchmarks.set_spec import Place
from jood.data.benchmarks.set_spec import SetSpec
from jood.data.sources import Source
from jood.data.sources import svhn
from jood.data.sources.image_folder import ImageFolder
from jood.data.sources.resized import Fitted
from jood.data.sources.tfds import TfdsSource
from jood.data.sources.waterbirds import Waterbirds

ENVIRONMENT = "JOOD_DATA_DIR"


def data_root(data_dir: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """Returns the folder of data: `data_dir`, else the variable JOOD_DATA_DIR.

    Raises:
      FileNotFoundError: neither is given, or it is no folder.
    """
    text = os.environ.get(ENVIRONMENT) if data_dir is None else data_dir
    if not text:
        raise FileNotFoundError(
            "this benchmark reads data from disk: say where with data_dir "
            f"(--data_dir), or set the environment variable {ENVIRONMENT}."
        )
    root = pathlib.Path(text).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"the data folder {root} is no folder.")
    return root


@dataclasses.dataclass(frozen=True)
class Found:
    """A set that is on disk.

    Attributes:
      place: which of the set's places.
      path: of the folder or file.
      classes: the class folders to read; () for all.
    """

    place: Place
    path: pathlib.Path
    classes: tuple[str, ...] = ()


def find(spec: SetSpec, root: pathlib.Path) -> Found | None:
    """Returns where a set lies, or None; the first of its places wins."""
    for place in spec.places:
        for path in _candidates(place, root):
            if not _is_there(place, path):
                continue
            if not place.classes:
                return Found(place, path)
            if (root / place.classes).is_file():
                return Found(place, path, _first_words(root / place.classes))
    return None


def open_set(
    found: Found,
    preprocessing: Preprocessing | None,
    *,
    labelled: bool,
    class_names: Sequence[str] | None = None,
) -> Source:
    """Opens a set.

    Args:
      found: where it lies.
      preprocessing: resizes and crops the images.
      labelled: whether examples carry their labels.
      class_names: of folders, in the order of the labels; None for sorted names.

    Raises:
      OSError: files are missing.
      ValueError: what is there is not such a set. Both say what is wrong and where.
    """
    place, path = found.place, found.path
    if place.kind == "folder":
        folders = found.classes or None
        return ImageFolder(
            path,
            preprocessing=preprocessing,
            labelled=labelled,
            folders=folders,
            class_names=class_names if labelled and folders is None else None,
        )
    if place.kind == "waterbirds":
        return Waterbirds(path, place.split, preprocessing)
    if place.kind == "tfds":
        label = "label" if labelled else None
        return TfdsSource(path, place.split, preprocessing=preprocessing, label=label)
    arrays = svhn.read(path) if place.kind == "svhn" else sources.npz(path)
    if preprocessing is None or preprocessing.leaves(*arrays.images.shape[1:3]):
        return arrays
    return Fitted(arrays, preprocessing)


def where(spec: SetSpec, root: pathlib.Path) -> str:
    """Returns where a set is looked for and where to get it, for people."""
    text = f"looked for {' or '.join(paths(spec, root))}"
    source = "; ".join(part for part in (spec.url, spec.how) if part)
    return f"{text}; from {source}"


def paths(spec: SetSpec, root: pathlib.Path) -> list[str]:
    """Returns the paths at which a set is looked for, without `PREFIXES`."""
    return [str(root / place.path) for place in spec.places]


def _candidates(place: Place, root: pathlib.Path) -> Iterator[pathlib.Path]:
    if place.kind == "npz":
        yield root / place.path
    elif place.kind == "tfds":
        infos = (root / place.path).glob("*/dataset_info.json")
        versions = {_version(info.parent.name): info.parent for info in infos}
        versions.pop((), None)  # what TFDS has not finished
        yield from (versions[number] for number in sorted(versions, reverse=True))
    else:
        for prefix in set_spec.PREFIXES:
            yield root / prefix / place.path


def _version(name: str) -> tuple[int, ...]:
    parts = name.split(".")
    return tuple(int(part) for part in parts) if all(map(str.isdigit, parts)) else ()


def _is_there(place: Place, path: pathlib.Path) -> bool:
    if place.kind == "svhn":
        return svhn.file_in(path) is not None
    if place.kind == "waterbirds":
        return (path / "metadata.csv").is_file()
    if place.kind == "npz":
        return path.is_file()
    return path.is_dir() and any(path.iterdir())


def _first_words(path: pathlib.Path) -> tuple[str, ...]:
    lines = path.read_text().splitlines()
    words = tuple(sorted(line.split()[0] for line in lines if line.strip()))
    if len(set(words)) < len(words) or not words:
        raise ValueError(f"{path} must list each class once, one a line.")
    return words
