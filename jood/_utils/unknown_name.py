"""What to say of a name that nobody knows."""

from collections.abc import Iterable
import difflib


def unknown(kind: str, name: object, known: Iterable[str]) -> ValueError:
    """Returns an error that lists the names nearest to `name`, then all."""
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.4)
    return ValueError(
        f"unknown {kind} {name!r}; near: {', '.join(near) or 'none'}; "
        f"all: {', '.join(known)}."
    )
