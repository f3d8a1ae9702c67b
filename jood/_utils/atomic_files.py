"""Folders and files that appear complete or not at all."""

from collections.abc import Iterator
import contextlib
import os
import pathlib
import shutil
import tempfile


def check_new(path: str | os.PathLike[str]) -> None:
    """Raises FileExistsError if the path exists, before hours of work for it."""
    if pathlib.Path(path).exists():
        raise FileExistsError(
            f"{path} exists already and is not overwritten. Choose another folder or "
            "delete it."
        )


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Yields a temporary folder that becomes the new `path` if the block succeeds."""
    path = pathlib.Path(path).resolve()
    check_new(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield partial
        partial.chmod(0o755)
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Yields a temporary path that becomes the file `path` if the block succeeds.

    It replaces a file that exists (which `check_new` refuses) and creates the folder.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}."
    with tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent) as folder:
        partial = pathlib.Path(folder, path.name)
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())  # else a power failure leaves an empty file
        partial.replace(path)
