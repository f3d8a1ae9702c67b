"""Which image files there are: below a folder, or in a list that came with a set."""

from collections.abc import Iterator, Sequence
import hashlib
import os
import pathlib
from typing import Any

import numpy as np

_SUFFIXES = ".bmp .gif .jpeg .jpg .pbm .pgm .png .ppm .tif .tiff .webp"
SUFFIXES = frozenset(_SUFFIXES.split())


def images(root: pathlib.Path, folder: str = "") -> list[str]:
    """Returns the sorted paths of images below root/folder, relative to the root.

    A file's suffix, in any case, says that it is an image. Hidden files and folders
    are skipped, links are followed.

    Raises:
      FileNotFoundError: There is no such folder; an image is a link to nothing.
      ValueError: There is no image.
    """
    if not (root / folder).is_dir():
        raise FileNotFoundError(f"there is no folder {root / folder}.")
    paths = sorted(_below(root, f"{folder}/" if folder else "", frozenset()))
    if not paths:
        raise ValueError(
            f"there is no image in {root / folder}; images end in "
            f"{', '.join(sorted(SUFFIXES))}."
        )
    return paths


def _below(root: pathlib.Path, prefix: str, above: frozenset[str]) -> Iterator[str]:
    real = os.path.realpath(root / prefix)
    if real in above:  # a link to a folder that it lies in
        return
    with os.scandir(root / prefix) as entries:
        found = [entry for entry in entries if not entry.name.startswith(".")]
    for entry in found:
        path = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _below(root, f"{path}/", above | {real})
        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
            if not entry.is_file():
                raise FileNotFoundError(f"{root / path} is a link to nothing.")
            yield path


def listed(
    root: pathlib.Path, file_list: pathlib.Path
) -> tuple[list[str], np.ndarray | None]:
    """Returns the `entries` of a list; FileNotFoundError if one of them is missing."""
    paths, labels = entries(file_list)
    if missing := [path for path in paths if not (root / path).is_file()]:
        raise FileNotFoundError(
            f"{len(missing)} of the {len(paths)} files that {file_list} names are "
            f"missing in {root}: {some(missing)}."
        )
    return paths, labels


def entries(file_list: pathlib.Path) -> tuple[list[str], np.ndarray | None]:
    """Reads a list of images: 'path' a line, as in MOS, or 'path label', as in OpenOOD.

    Returns:
      The paths as they stand there, and labels int32 [N]; None if the lines have no
      label or all have label -1.

    Raises:
      FileNotFoundError: There is no such list.
      ValueError: It is empty, only some lines have labels, or a label is below 0.
    """
    text = file_list.read_text("utf-8-sig")  # some editors begin it with a mark
    lines = enumerate(map(str.strip, text.split("\n")), 1)
    found = [(number, *_split(line)) for number, line in lines if line]
    if not found:
        raise ValueError(f"{file_list} names no image.")
    paths = [path for _, path, _ in found]
    plain = [number for number, _, label in found if label is None]
    if plain and len(plain) < len(found):
        raise ValueError(
            f"{file_list}: {len(plain)} of {len(found)} lines have no label (an "
            f"integer after the last space); the first is line {plain[0]}. All must "
            "have one, or none."
        )
    if plain or all(label == -1 for *_, label in found):
        return paths, None
    labels = np.array([label for *_, label in found], np.int32)
    worst = int(labels.argmin())
    if labels[worst] < 0:
        raise ValueError(
            f"{file_list}, line {found[worst][0]}: label {labels[worst]}. Labels "
            "are >= 0, or -1 in every line of a list without labels."
        )
    return paths, labels


def _split(line: str) -> tuple[str, int | None]:
    """Splits a line into path and label; a path may contain spaces."""
    path, *last = line.rsplit(maxsplit=1)
    if last and last[0].removeprefix("-").isdecimal():
        return path, int(last[0])
    return line, None


def stamps(paths: Sequence[str], folder: str | os.PathLike[str] = "") -> Any:
    """Returns a SHA-256, to be continued, of files' names, sizes and times of change.

    Their content is not read, which for ImageNet would take as long as an evaluation:
    a copied set counts as another one, a changed or missing file is noticed.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            status = os.stat(os.path.join(folder, path))
            text = f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n"
        except OSError:
            text = f"{path}\0missing\n"
        digest.update(text.encode("utf-8", "surrogateescape"))
    return digest


def some(items: Sequence[str], count: int = 5) -> str:
    """Returns the first few items, and how many more there are, for a message."""
    more = f" and {len(items) - count} more" if len(items) > count else ""
    return ", ".join(items[:count]) + more
