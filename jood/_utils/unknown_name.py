"""What to say of a name that nobody knows, or that is taken."""

from collections.abc import Container, Iterable
import difflib


def unknown(kind: str, name: object, known: Iterable[str]) -> ValueError:
    """Returns an error that lists the names nearest to `name`, then all."""
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.4)
    return ValueError(
        f"unknown {kind} {name!r}; near: {', '.join(near) or 'none'}; "
        f"all: {', '.join(known)}."
    )


def check_new(kind: str, name: object, known: Container[object]) -> None:
    """Raises ValueError if something of that name is registered already."""
    if name in known:
        raise ValueError(
            f"there is a {kind} {name!r} already, which is not replaced. Register "
            "yours under another name."
        )
