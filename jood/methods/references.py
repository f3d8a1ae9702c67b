"""The papers of methods and training objectives, from `references.toml`."""

import functools
import pathlib
import tomllib
from typing import Any

from jood._utils import unknown_name

JOOD = "jood"  # the key of jood's own entry


@functools.cache
def _data() -> dict[str, Any]:
    path = pathlib.Path(__file__).with_name("references.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def papers() -> dict[str, dict[str, Any]]:
    """Returns the fields of every paper by its BibTeX key."""
    return dict(_data()["papers"])


def of(name: str) -> list[str]:
    """Returns the keys of a method's or an objective's papers; [] for jood's own.

    Raises:
      ValueError: jood has none of that name; the near ones are listed.
    """
    data = _data()
    known = {**data["methods"], **data["objectives"], **dict.fromkeys(data["own"], ())}
    if name not in known:
        raise unknown_name.unknown("method or objective", name, known)
    return list(known[name])


def own() -> dict[str, str]:
    """Returns the names without a paper, and why they have none."""
    return dict(_data()["own"])


def short(name: str) -> str:
    """Returns 'ReAct (Sun et al., 2021)' for a method of jood; '' for another one."""
    keys = _data()["methods"].get(name)
    if not keys:
        return ""
    paper = papers()[keys[0]]
    authors = paper["author"].split(" and ")
    more = " et al." if len(authors) > 1 else ""
    return f"{paper['name']} ({authors[0].partition(',')[0]}{more}, {paper['year']})"


def bibtex(key: str) -> str:
    """Returns the BibTeX entry of a paper."""
    paper = papers()[key]
    kinds = {"booktitle": "inproceedings", "journal": "article"}
    kind = next((kinds[field] for field in kinds if field in paper), "misc")
    fields = {field: text for field, text in paper.items() if field != "name"}
    width = max(map(len, fields))
    lines = [f"  {field:{width}} = {{{text}}}," for field, text in fields.items()]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])
