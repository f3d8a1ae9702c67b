"""Writes the tables of docs/results/, and of other pages, from JSON.

    python docs/make_results.py

A table stands in its page between two comments,

    <!-- table: lff -->
    <!-- end of table -->

and its cells in docs/results/data/lff.json, as they are to be read:

    {"columns": ["AUROC / FPR95 in %", "before", "+ LFF"],
     "rows": [["MSP", "90.9±3.2 / 51.4±13.4", "95.9±1.9 / 14.9±6.4"]],
     "best": "row"}

With "best", "row" or "column", the best numbers of each are bold: in cells 'a / b' the
highest a and the lowest b; other cells stay plain. A table that repeats rows of others
names their JSON and the columns that it takes, each with its new title:

    {"columns": ["", {"lff": {"before": "before", "+ LFF": "LFF"}}],
     "rows": ["MSP", "Energy"]}

The command also writes openood.md (`make_openood.py`), speed.md (`make_speed.py`),
scaling.md (`make_scaling.py`), sets.md (`make_sets.py`), and the tables of a paper from
the results.json that launch/reproduce.py left beside them. The suite compares the files
with what it would write.
"""

from collections.abc import Sequence
import json
import pathlib
import re
from typing import Any

import make_openood
import make_scaling
import make_sets
import make_speed

from jood.papers import results

ROOT = pathlib.Path(__file__).resolve().parents[1]
DATA = ROOT / "docs" / "results" / "data"
_PLACE = re.compile(
    r"^(<!-- table: (?P<name>\w+) -->\n).*?^(?=<!-- end of table -->$)",
    re.DOTALL | re.MULTILINE,
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def files() -> dict[pathlib.Path, str]:
    """Returns the texts of all files that the command writes."""
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    texts = {page: page.read_text(encoding="utf-8") for page in paths}
    tables = {page: filled(text) for page, text in texts.items() if names(text)}
    reproduced = {
        path.parent / name: text
        for path in DATA.parent.glob(f"*/{results.NAME}")
        for name, text in results.files(*results.read(path.parent)).items()
    }
    others = (make_openood, make_scaling, make_sets, make_speed)
    pages = {other.PAGE: other.page() for other in others}
    return {**tables, **reproduced, **pages}


def names(text: str) -> list[str]:
    """Returns the names of the tables that a page has places for."""
    return [place["name"] for place in _PLACE.finditer(text)]


def filled(page: str) -> str:
    """Returns a page's text with its tables as their JSON gives them."""
    return _PLACE.sub(lambda place: f"{place[1]}\n{table(place['name'])}\n", page)


def table(name: str) -> str:
    """Returns a table as Markdown."""
    content = _read(name)
    columns, rows = content["columns"], content["rows"]
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"{name}.json: {len(columns)} columns, got the row {row}.")
    best = content.get("best")
    if best == "row":
        rows = [[first, *_with_bold(cells)] for first, *cells in rows]
    elif best == "column":
        firsts, *others = zip(*rows, strict=True)
        rows = zip(firsts, *map(_with_bold, others), strict=True)
    elif best is not None:
        raise ValueError(f"{name}.json: 'best' is 'row' or 'column', got {best!r}.")
    rule = ["---", *["---:"] * (len(columns) - 1)]
    lines = [_line(columns), f"|{'|'.join(rule)}|", *map(_line, rows)]
    return "\n".join(lines) + "\n"


def _read(name: str) -> dict[str, Any]:
    """A table's JSON, with what it repeats of others filled in."""
    content = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    first, *others = content["columns"]
    titles, rows = [first], content["rows"]
    for other in others:
        if isinstance(other, str):
            titles.append(other)
            continue
        ((source, title_of),) = other.items()
        titles += title_of.values()
        rows = [_extended(row, _read(source), title_of) for row in rows]
    return {**content, "columns": titles, "rows": rows}


def _extended(
    row: str | list[str], source: dict[str, Any], title_of: dict[str, str]
) -> list[str]:
    """A row, or at first its name, with cells of the same row in another table."""
    row = [row] if isinstance(row, str) else row
    rows = {cells[0]: cells for cells in source["rows"]}
    named = dict(zip(source["columns"], rows[row[0]], strict=True))
    return [*row, *(named[column] for column in title_of)]


def _with_bold(cells: Sequence[str]) -> list[str]:
    """Cells 'a / b' with the highest a and the lowest b in bold."""
    pairs = [cell.split(" / ") for cell in cells if " / " in cell]
    if not pairs:
        return list(cells)
    highest = max(_number(pair[0]) for pair in pairs)
    lowest = min(_number(pair[1]) for pair in pairs)

    def marked(cell: str) -> str:
        if " / " not in cell:
            return cell
        auroc, fpr95 = cell.split(" / ")
        return f"{_bold(auroc, highest)} / {_bold(fpr95, lowest)}"

    return [marked(cell) for cell in cells]


def _number(text: str) -> float:
    match = _NUMBER.match(text)
    if match is None:
        raise ValueError(f"expected a number at the start of {text!r}.")
    return float(match[0])


def _bold(text: str, best: float) -> str:
    """'97.0±0.4' as '**97.0**±0.4' if 97.0 is the best."""
    return _NUMBER.sub(r"**\g<0>**", text, count=1) if _number(text) == best else text


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
