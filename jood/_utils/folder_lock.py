"""A lock on a folder that ends with its process, in whatever way that ends.

It is the kernel's, on the folder itself, so that no file is left behind. Some network
file systems have no such locks.
"""

from collections.abc import Iterator
import contextlib
import os

try:
    import fcntl
except ImportError:  # not on this system; a module's name takes no None in types
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def held(folder: str | os.PathLike[str]) -> Iterator[bool | None]:
    """Locks a folder while the block runs.

    Yields:
      Whether it is locked; False if another process holds it, None if nobody can.
    """
    if fcntl is None:
        yield None
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked: bool | None = True
        except BlockingIOError:
            locked = False
        except OSError:
            locked = None
        yield locked
    finally:
        os.close(opened)
