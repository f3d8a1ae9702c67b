"""Errors for a name that is unknown, or that is taken."""

from collections.abc import Container, Iterable
import difflib


def unknown(kind: str, name: object, known: Iterable[str]) -> ValueError:
    """Returns an error that lists the names nearest to `name`, then all."""
    known = list(known)
    return ValueError(
        f"unknown {kind} {name!r}; near: {', '.join(nearest(name, known)) or 'none'}; "
        f"all: {', '.join(known)}."
    )


def nearest(
    name: object, known: Iterable[str], most: int = 3, cutoff: float = 0.4
) -> list[str]:
    """Returns at most `most` of the names nearest to `name`, in any letter case."""
    by_letters = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(str(name).casefold(), by_letters, most, cutoff)
    return [by_letters[letters] for letters in near]


def check_new(kind: str, name: object, known: Container[object]) -> None:
    """Raises ValueError if something of that name is registered already."""
    if name in known:
        raise ValueError(
            f"there is a {kind} {name!r} already, which is not replaced. Register "
            "yours under another name."
        )
