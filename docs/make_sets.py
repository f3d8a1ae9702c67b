"""Writes docs/sets.md: each benchmark's sets, with origin, licence and size.

    python docs/make_results.py

writes it, and the suite compares the file with what the benchmarks say of themselves.
"""

import pathlib
from typing import Any

import tabulate

from jood.data import benchmarks

PAGE = pathlib.Path(__file__).resolve().parent / "sets.md"

_HEAD = """# Sets of images

What each benchmark of jood reads: the sets, how many images they have, under what terms their publishers give them, and where from.
`jood prepare --benchmark=NAME --check` says in which folders they are expected, and which of them are on disk. [Networks and
benchmarks](benchmarks.md) shows how to score them. jood contains no images except the embedded ones, which come with scikit-learn.
"""  # noqa: E501  # lines of a page


def page() -> str:
    """Returns the whole page."""
    return "\n".join([_HEAD, *map(_section, benchmarks.names())])


def _section(name: str) -> str:
    spec = benchmarks.describe(name)
    roles = {"ID, to fit": [spec.id_train], "ID, to test": [spec.id_test]}
    roles |= {"ID, shifted": spec.shifted}
    for one in (*spec.ood, *spec.extra):
        groups = [group for group, names in spec.groups.items() if one.name in names]
        role = groups[0] if groups else "near" if one.name in spec.near else "far"
        roles.setdefault(f"OOD, {role}", []).append(one)
    rows = [_row(role, one) for role, sets in roles.items() for one in sets]
    table = tabulate.tabulate(rows, "keys", "pipe", disable_numparse=True)
    title = spec.title[0].upper() + spec.title[1:]
    return f"## `{name}`\n\n{title}.\n\n{table}\n"


def _row(role: str, one: Any) -> dict[str, str]:
    return {
        "set": f"`{one.name}`",
        "as": role,
        "what": one.title,
        "images": "–" if one.size is None else f"{one.size:,}",
        "terms": one.licence,
        "from": f"<{one.url}>" if one.url.startswith("http") else one.url,
    }
