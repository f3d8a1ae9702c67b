"""Folders that appear complete or not at all."""

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
def atomic_folder(
    path: str | os.PathLike[str], *, replace: bool = False
) -> Iterator[pathlib.Path]:
    """Yields a temporary folder that becomes `path` when the block succeeds.

    Args:
      path: the folder to make.
      replace: whether an earlier folder of that name may be replaced, which happens
        only once the new one is complete.

    Raises:
      FileExistsError: the path exists already and `replace` is False.
    """
    path = pathlib.Path(path).resolve()
    if not replace:
        check_new(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield partial
        partial.chmod(0o755)
        earlier = partial.with_name(partial.name + ".old")
        if path.exists():
            path.rename(earlier)
        try:
            partial.rename(path)
        except OSError:
            if earlier.exists():
                earlier.rename(path)
            raise
        shutil.rmtree(earlier, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
