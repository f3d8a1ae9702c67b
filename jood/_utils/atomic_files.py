"""Folders and files that appear complete or not at all.

What is being written lies beside its place, in a folder named '.NAME.xxxxxxxx.partial'
that its process holds a lock on. A process that is killed leaves that folder; the next
one that writes there removes it.
"""

from collections.abc import Callable, Iterator
import contextlib
import os
import pathlib
import re
import shutil
import tempfile
import time
from typing import TypeVar

from jood._utils import folder_lock

T = TypeVar("T")

_SUFFIX = ".partial"
_SETTLED = 2.0  # seconds after which the folder of a living process is locked


def check_new(path: str | os.PathLike[str]) -> None:
    """Checks that a file or folder can be written there, before hours of work for it.

    Raises:
      FileExistsError: The path exists.
      OSError: Nothing can be written there.
    """
    path = pathlib.Path(path).resolve()
    if path.exists():
        raise FileExistsError(
            f"{path} exists already and is not overwritten. Choose another folder or "
            "delete it."
        )
    there = next(folder for folder in path.parents if folder.exists())
    with _explained(path):
        _remove_stale(there, path.name)
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(bytes(1 << 12))  # a full disk takes names, and nothing more
            file.flush()


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Yields a temporary folder that becomes the new `path` if the block succeeds."""
    path = pathlib.Path(path).resolve()
    check_new(path)
    with _explained(path), _partial(path) as partial:
        yield partial
        partial.chmod(0o755)
        _rename(partial, path)


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Yields a temporary path that becomes the file `path` if the block succeeds.

    It replaces a file that exists (which `check_new` refuses) and creates the folder.
    """
    path = pathlib.Path(path).absolute()
    with _explained(path), _partial(path) as folder:
        partial = folder / path.name
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())  # else a power failure leaves an empty file
        partial.replace(path)


def kept(write: Callable[[pathlib.Path], T], path: str | os.PathLike[str]) -> T:
    """Returns write(path); where that fails, results of hours are written elsewhere.

    Args:
      write: Writes a new folder.
      path: The folder.

    Raises:
      OSError: The folder could not be written; the message says where the results are.
    """
    path = pathlib.Path(path)
    try:
        return write(path)
    except OSError as error:
        refuge = pathlib.Path(tempfile.mkdtemp(prefix="jood.")) / path.resolve().name
        try:
            write(refuge)
        except OSError:
            shutil.rmtree(refuge.parent, ignore_errors=True)
            raise error from None
        raise OSError(f"{error} The results are kept in {refuge}.") from error


@contextlib.contextmanager
def _partial(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a new folder beside the path, which is locked and removed afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path.parent, path.name)
    folder = tempfile.mkdtemp(suffix=_SUFFIX, prefix=f".{path.name}.", dir=path.parent)
    try:
        with folder_lock.held(folder):
            yield pathlib.Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_stale(folder: pathlib.Path, name: str) -> None:
    """Removes what killed processes left of a file or folder that they wrote."""
    ours = re.compile(rf"\.{re.escape(name)}\.\w{{8}}{re.escape(_SUFFIX)}")
    for entry in folder.iterdir():
        with contextlib.suppress(OSError):  # another process removes it, too
            if ours.fullmatch(entry.name) and _is_stale(entry):
                shutil.rmtree(entry, ignore_errors=True)


def _is_stale(folder: pathlib.Path) -> bool:
    age = time.time() - folder.stat().st_mtime
    with folder_lock.held(folder) as locked:
        return locked is True and age > _SETTLED


def _rename(partial: pathlib.Path, path: pathlib.Path) -> None:
    try:
        partial.rename(path)
    except OSError as error:
        if path.exists():
            raise FileExistsError(
                f"{path} exists already, since another process has written it "
                "meanwhile, and is not overwritten."
            ) from error
        raise


@contextlib.contextmanager
def _explained(path: pathlib.Path) -> Iterator[None]:
    """Says what could not be written, which the system's errors do not."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno is None or not _concerns(path, error.filename):
            raise  # it is explained already, or of what the block reads
        explanation = OSError(
            f"cannot write {path}: {error.strerror}. Free space, make {path.parent} "
            "writable or choose another place, and give the same command again."
        )
        explanation.strerror = error.strerror  # for those who say more than that
        raise explanation from error


def _concerns(path: pathlib.Path, name: str | bytes | int | None) -> bool:
    """Whether an error that names a file, or none, is about what is being written."""
    if name is None:
        return True
    file = pathlib.Path(str(name))
    if file in path.parents or file.parent in path.parents:  # a folder of it, or a test
        return True
    return path.parent in file.parents
