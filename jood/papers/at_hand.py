"""Which of a paper's tables could run here, and what each still needs."""

from collections.abc import Sequence
import os
from typing import NamedTuple

from jood.data import benchmarks
from jood.data.benchmarks import on_disk
from jood.papers import given_networks
from jood.papers import paper_columns
from jood.papers.given_networks import Given
from jood.papers.transcription import TIMING
from jood.papers.transcription import PaperTable
from jood.papers.transcription import TablePart


class Needs(NamedTuple):
    """What a table lacks, in words; it can run if some part lacks nothing vital.

    Attributes:
      runs: titles of the parts that run with the networks and data at hand.
      networks: names under which networks are asked for and none was given.
      data: absent sets by benchmark.
      rows: number of its rows that can be run, given networks and data.
      of: number of its rows.
    """

    runs: list[str]
    networks: list[str]
    data: dict[str, list[str]]
    rows: int
    of: int


def needs(
    table: PaperTable,
    given: Sequence[Given],
    data_dir: str | os.PathLike[str] | None = None,
) -> Needs:
    """Returns what a table needs to be run whole."""
    makers = given_networks.makers(table, given)
    timed = table.kind == TIMING  # of noise: it needs no data
    lacking = {p.benchmark: [] if timed else absent(p, data_dir) for p in table.parts}
    rows = [(part, row) for part in table.parts for row in part.rows]
    runs = [
        part.title or "all"
        for part in table.parts
        if any(given_networks.key(part, row.trained) in makers for row in part.rows)
        and (timed or _runs(part, lacking[part.benchmark]))
    ]
    return Needs(
        runs=runs,
        networks=[key for key in given_networks.keys(table) if key not in makers],
        data={name: sets for name, sets in lacking.items() if sets},
        rows=sum(bool(row.text) for _, row in rows),
        of=len(rows),
    )


def absent(
    part: TablePart, data_dir: str | os.PathLike[str] | None = None
) -> list[str]:
    """Returns the sets of which nothing is below the data root."""
    known = benchmarks.describe(part.benchmark).sets
    asked = ["id_train", "id_test", *paper_columns.sets(part)]
    try:
        root = on_disk.data_root(data_dir)
    except FileNotFoundError:
        return asked

    def is_present(name: str) -> bool:
        part_of_it = paper_columns.PARTS.get(name, ("", ""))[0]
        places = [known[n] for n in (name, part_of_it) if n in known]
        return any(on_disk.find(place, root) is not None for place in places)

    return [name for name in asked if not is_present(name)]


def ood_sets(part: TablePart) -> list[str]:
    """Returns the OOD sets to open for a part: the paper's, and parts of them."""
    known = benchmarks.describe(part.benchmark).sets
    wanted = paper_columns.sets(part)
    parts = [
        paper_columns.PARTS[name][0] for name in wanted if name in paper_columns.PARTS
    ]
    return [*wanted, *(name for name in parts if name in known)]


def _runs(part: TablePart, lacking: Sequence[str]) -> bool:
    return "id_test" not in lacking and not set(paper_columns.sets(part)) <= set(
        lacking
    )


def line(table: PaperTable, needed: Needs) -> str:
    """Returns a table's line of the list."""
    title = f"  {table.number:>3}  {table.title}"
    state = f"runs: {', '.join(needed.runs)}" if needed.runs else "cannot run yet"
    lines = [title, f"       {state}; {needed.rows} of {needed.of} rows are built"]
    if needed.networks:
        lines.append(f"       networks: {', '.join(needed.networks)}")
    for name, sets in needed.data.items():
        lines.append(f"       data of {name}: {', '.join(sets)}")
    return "\n".join(lines)
