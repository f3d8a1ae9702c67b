"""Which image files there are: below a folder, or in a list that came with a set."""

from collections.abc import Callable, Iterator, Sequence
import hashlib
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np

_SUFFIXES = ".bmp .gif .jpeg .jpg .pbm .pgm .png .ppm .tif .tiff .webp"
SUFFIXES = frozenset(_SUFFIXES.split())
_DIGITS = 9  # of a label


def images(root: pathlib.Path, folder: str = "") -> list[str]:
    """Returns the sorted paths of images below root/folder, relative to the root.

    A file's suffix, in any case, says that it is an image. Hidden files and folders
    are skipped, links are followed.

    Raises:
      OSError: There is no such folder, one cannot be read, an image is a link to
        nothing.
      ValueError: There is no image.
    """
    entries = _sorted(root, folder)
    if problem := next((entry.problem for entry in entries if entry.problem), None):
        raise problem
    return [entry.path for entry in entries]


def candidates(root: pathlib.Path) -> list[str]:
    """Like `images`, but with everything that might be one, for callers that skip.

    These are links to nothing and, by their own names, folders that cannot be read.
    """
    return [entry.path for entry in _sorted(root, "")]


class _Entry(NamedTuple):
    path: str
    problem: OSError | None  # why there is no image


def _sorted(root: pathlib.Path, folder: str) -> list[_Entry]:
    if not (root / folder).is_dir():
        raise FileNotFoundError(f"there is no folder {root / folder}.")
    below = _below(root, f"{folder}/" if folder else "", frozenset())
    entries = sorted(below, key=lambda entry: entry.path)
    if not entries:
        raise ValueError(
            f"there is no image in {root / folder}; images end in "
            f"{', '.join(sorted(SUFFIXES))}."
        )
    return entries


def _below(root: pathlib.Path, prefix: str, above: frozenset[str]) -> Iterator[_Entry]:
    real = os.path.realpath(root / prefix)
    if real in above:  # a link to a folder that it lies in
        return
    try:
        with os.scandir(root / prefix) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        if not above:
            raise
        yield _Entry(prefix.removesuffix("/"), error)
        return
    for entry in visible:
        path = f"{prefix}{entry.name}"
        if _leads_to(entry.is_dir):
            yield from _below(root, f"{path}/", above | {real})
        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
            nothing = not _leads_to(entry.is_file) and not os.path.exists(root / path)
            text = f"{root / path} is a link to nothing."
            yield _Entry(path, FileNotFoundError(text) if nothing else None)


def _leads_to(kind: Callable[[], bool]) -> bool:
    """Whether an entry is of a kind; a link that leads in a circle is of none."""
    try:
        return kind()
    except OSError:
        return False


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
    """Reads a list of images: lines 'path', as in MOS, or 'path label', as in OpenOOD.

    Returns:
      The paths as they stand there, and labels int32 [N]; None if the lines have no
      label or all have label -1.

    Raises:
      FileNotFoundError: There is no such list.
      ValueError: It is empty, only some lines have labels, or a label is out of range.
    """
    lines = _lines(file_list)
    plain = [line for line in lines if line.label is None]
    if plain and len(plain) < len(lines):
        raise ValueError(
            f"{file_list}: {len(plain)} of {len(lines)} lines have no label (an "
            f"integer after the last space); the first is line {plain[0].number}. All "
            "must have one, or none."
        )
    paths = [line.path for line in lines]
    if plain or all(line.label == "-1" for line in lines):
        return paths, None
    for line in lines:
        label = str(line.label)
        if label[0] == "-" or len(label.lstrip("0")) > _DIGITS:
            raise ValueError(
                f"{file_list}, line {line.number}: label {label[:40]}. Labels are >= 0 "
                f"and below 1e{_DIGITS}, or -1 in every line of a list without labels."
            )
    return paths, np.array([int(str(line.label)) for line in lines], np.int32)


def paths(file_list: pathlib.Path) -> list[str]:
    """Returns the paths in a list, as they stand there, whatever labels follow them.

    Raises:
      FileNotFoundError: There is no such list.
      ValueError: It names no image.
    """
    lines, folder = _lines(file_list), file_list.parent
    labelled = all(line.label is not None for line in lines)
    return [
        line.path if labelled or not os.path.isfile(folder / line.text) else line.text
        for line in lines
    ]


class _Line(NamedTuple):
    number: int
    text: str
    path: str  # the text, without a label that may follow it after a space
    label: str | None  # of digits


def _lines(file_list: pathlib.Path) -> list[_Line]:
    """The lines of a list that are not empty; names need not be Unicode."""
    # Some editors begin it with a mark.
    text = file_list.read_bytes().decode("utf-8-sig", "surrogateescape")
    numbered = enumerate(map(str.strip, text.split("\n")), 1)
    lines = [_Line(number, line, *_split(line)) for number, line in numbered if line]
    if not lines:
        raise ValueError(f"{file_list} names no image.")
    return lines


def _split(line: str) -> tuple[str, str | None]:
    """Splits a line into path and label; a path may contain spaces."""
    path, *last = line.rsplit(maxsplit=1)
    if last and last[0].removeprefix("-").isdecimal():
        return path, last[0]
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
        except (OSError, ValueError):  # a path with a NUL is none
            text = f"{path}\0missing\n"
        digest.update(text.encode("utf-8", "surrogateescape"))
    return digest


def some(items: Sequence[str], count: int = 5) -> str:
    """Returns the first few items, and how many more there are, for a message."""
    more = f" and {len(items) - count} more" if len(items) > count else ""
    return ", ".join(items[:count]) + more
