"""The papers' tables as data: rows, columns, networks, and the numbers they print.

The numbers are in `tables/<paper>.toml`, one row per line, in the form that
`feature_sim.toml` explains.
"""

from collections.abc import Sequence
import dataclasses
import functools
import importlib.resources
import tomllib
from typing import Any

from jood._utils import unknown_name
from jood.methods import paper_values

PAPERS = tuple(paper_values.PAPERS)
AVERAGE, ACCURACY = "Average", "ID ACC"
BEHIND = f"{ACCURACY} behind TA"  # of the answer that TA's run gives
DETECTION, TIMING = "detection", "timing"


@dataclasses.dataclass(frozen=True)
class TableRow:
    """A line of a table.

    Attributes:
      name: the paper's name of the row.
      text: the detector: a row of `presets.everything`, or a text in which
        placeholders stand for the presets' values; '' if it cannot be run.
      why: reason why it cannot be run; '' if it can.
      trained: training of its network, where it is not with cross-entropy alone.
      zoom: factor by which OOD images are magnified.
      numbers: the paper's, one per cell of the columns, in %; None where it has none.
    """

    name: str
    text: str
    why: str
    trained: str
    zoom: float
    numbers: tuple[float | None, ...]


@dataclasses.dataclass(frozen=True)
class TablePart:
    """Rows that one ID set and one kind of network made.

    Attributes:
      title: words that distinguish it from the table's other parts; '' without others.
      benchmark: name of jood's benchmark.
      network: name of jood's model.
      columns: the paper's names of the columns; `AVERAGE` and `ACCURACY` are known.
      rows: the lines.
      averaged: names of the benchmark's sets that an average is taken over; () for
        those of the other columns.
      preprocessing: the benchmark's preprocessing of that name; '' for its usual one.
      misprints: 'row | metric' whose average is not the mean of the row's other cells.
    """

    title: str
    benchmark: str
    network: str
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    averaged: tuple[str, ...]
    preprocessing: str
    misprints: tuple[str, ...]

    def cells(self, metrics: Sequence[str]) -> list[tuple[str, str]]:
        """Returns (column, metric) of each number of a row, in their order."""
        return [
            (column, metric)
            for column in self.columns
            for metric in ([ACCURACY] if column.startswith(ACCURACY) else metrics)
        ]


@dataclasses.dataclass(frozen=True)
class PaperTable:
    """A table of a paper.

    Attributes:
      paper: one of `PAPERS`.
      number: number in the paper, in Arabic numerals.
      title: subject of the comparison.
      metrics: Metrics of each column except `ACCURACY`, in the paper's order.
      kind: `DETECTION`, or `TIMING`: seconds in place of AUROC and FPR95.
      note: remark that a reader of the transcription needs; '' for none.
      parts: parts of the table, by ID set and network.
    """

    paper: str
    number: str
    title: str
    metrics: tuple[str, ...]
    kind: str
    note: str
    parts: tuple[TablePart, ...]


def tables(paper: str) -> dict[str, PaperTable]:
    """Returns a paper's tables by number; ValueError if it is none of `PAPERS`."""
    if paper not in PAPERS:
        raise unknown_name.unknown("paper", paper, PAPERS)
    return _read(paper)


def table(paper: str, number: str) -> PaperTable:
    """Returns a table; ValueError lists those there are."""
    known = tables(paper)
    if number not in known:
        raise ValueError(
            f"{paper} has no table {number!r}; its tables: {', '.join(known)}."
        )
    return known[number]


def of_rows(whole: PaperTable, names: Sequence[str]) -> PaperTable:
    """Returns a table whose other rows than these are left out, and say so.

    Args:
      whole: The table.
      names: The paper's names of the rows, in any letter case; () keeps all.

    Raises:
      ValueError: It has no row of a name; near ones are listed.
    """
    known = {row.name.lower(): row.name for part in whole.parts for row in part.rows}
    for name in names:
        if name.lower() not in known:
            raise unknown_name.unknown("row of the table", name, [*known.values()])
    asked = {known[name.lower()] for name in names or known}

    def kept(row: TableRow) -> TableRow:
        if row.name in asked or row.why:
            return row
        return dataclasses.replace(row, text="", why="not asked for (--rows)")

    parts = (
        dataclasses.replace(part, rows=tuple(map(kept, part.rows)))
        for part in whole.parts
    )
    return dataclasses.replace(whole, parts=tuple(parts))


@functools.cache
def _read(paper: str) -> dict[str, PaperTable]:
    file = importlib.resources.files(__package__) / "tables" / f"{paper}.toml"
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    read = [_table(paper, entry) for entry in content["tables"]]
    return {one.number: one for one in read}


def _table(paper: str, entry: dict[str, Any]) -> PaperTable:
    metrics = tuple(entry["metrics"])
    parts = tuple(_part(part, metrics) for part in entry["parts"])
    return PaperTable(
        paper=paper,
        number=entry["number"],
        title=entry["title"],
        metrics=metrics,
        kind=entry.get("kind", DETECTION),
        note=entry.get("note", ""),
        parts=parts,
    )


def _part(entry: dict[str, Any], metrics: Sequence[str]) -> TablePart:
    part = TablePart(
        title=entry.get("title", ""),
        benchmark=entry["benchmark"],
        network=entry["network"],
        columns=tuple(entry["columns"]),
        rows=tuple(map(_row, entry["rows"].strip().splitlines())),
        averaged=tuple(entry.get("averaged", ())),
        preprocessing=entry.get("preprocessing", ""),
        misprints=tuple(entry.get("misprints", ())),
    )
    for row in part.rows:
        if len(row.numbers) != len(part.cells(metrics)):
            raise ValueError(f"{row.name}: {len(row.numbers)} numbers, {part.columns}")
    return part


def _row(line: str) -> TableRow:
    """Reads 'name | detector @ trained zoom=1.5 | 88.42 52.72 -'."""
    *name, text, numbers = line.split(" | ")
    text, _, marks = (part.strip() for part in text.partition(" @ "))
    why = text[1:].strip() if text.startswith("-") else ""
    zoom, trained = 1.0, ""
    for mark in marks.split():
        if mark.startswith("zoom="):
            zoom = float(mark.removeprefix("zoom="))
        else:
            trained = mark
    return TableRow(
        name=" | ".join(name).strip(),
        text="" if why else text,
        why=why,
        trained=trained,
        zoom=zoom,
        numbers=tuple(None if n == "-" else float(n) for n in numbers.split()),
    )
