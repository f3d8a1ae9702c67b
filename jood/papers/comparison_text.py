"""A reproduced table as text, Markdown, LaTeX and CSV: ours (the paper's, difference).

A dash stands where there is no number of ours, and below the table why; a star at a
column that is made of a part of the paper's images.
"""

from collections.abc import Sequence

import tabulate

from jood._utils import csv_text
from jood.papers.reproduced import ReproducedPart
from jood.papers.reproduced import ReproducedRow
from jood.papers.transcription import ACCURACY
from jood.papers.transcription import TIMING
from jood.papers.transcription import PaperTable

STYLES = {"table.txt": "simple", "table.md": "github", "table.tex": "latex_booktabs"}
_NAMES = {"feature_sim": "Feature Sim", "himplos": "HIMPLoS", "lff": "LFF"}


def title(table: PaperTable) -> str:
    """Returns 'HIMPLoS, Table 1: what it compares'."""
    return f"{paper_name(table.paper)}, Table {table.number}: {table.title}"


def paper_name(paper: str) -> str:
    """Returns a paper's name as people write it."""
    return _NAMES.get(paper, paper.upper())


def heading(
    table: PaperTable, parts: Sequence[ReproducedPart], style: str = "simple"
) -> str:
    """Returns the lines above the table: what it is, and how much of it is here."""
    unit = "as multiples of one forward pass" if table.kind == TIMING else "in %"
    lines = [f"Cells: ours (the paper's, difference) {unit}."]
    gaps = sum(part.gaps for part in parts)
    if gaps and all(part.comparable for part in parts):
        every = sum(len(row.papers) for part in parts for row in part.rows)
        lines.append(
            f"NOT WHOLE: {gaps} of the paper's {every} numbers have none here."
        )
    return _headed(title(table), [*lines, table.note] if table.note else lines, style)


def _headed(name: str, lines: Sequence[str], style: str, level: int = 1) -> str:
    """A name, if any, with lines below it; in Markdown a heading and a list."""
    if style != "github":
        return "\n".join([name, *lines] if name else lines)
    listed = "\n".join(f"- {line}" for line in lines)
    parts = [f"{'#' * level} {name}" if name else "", listed]
    return "\n\n".join(part for part in parts if part)


def as_text(
    table: PaperTable, parts: Sequence[ReproducedPart], style: str = "simple"
) -> str:
    """Returns the table as 'simple' (terminal), 'github' or 'latex_booktabs' text."""
    pieces = [heading(table, parts, style)]
    for part in parts:
        part_heading = _headed(part.title, part.remarks, style, level=2)
        pieces += [part_heading, _grid(part, style), "\n".join(_reasons(part))]
    if style == "latex_booktabs":
        pieces = [_commented(p) if "\\begin" not in p else p for p in pieces]
    return "\n\n".join(piece for piece in pieces if piece) + "\n"


def _grid(part: ReproducedPart, style: str) -> str:
    heads = [head(part, cell) for cell in part.cells]
    rows = [
        [_escaped(row.name, style), *(cell_text(part, row, c) for c in part.cells)]
        for row in part.rows
    ]
    heads = [_escaped(text, style) for text in heads]
    tablefmt = "latex_raw" if style == "latex_booktabs" else style
    return tabulate.tabulate(
        rows,
        ["", *heads],
        tablefmt=tablefmt,
        stralign="right",
        colalign=("left",),
        disable_numparse=True,  # it would drop zeros at the end
    )


def head(part: ReproducedPart, cell: tuple[str, str]) -> str:
    """Returns what stands above a column of numbers."""
    column, metric = cell
    star = "*" if column in part.dented else ""
    return f"{column}{star}" if metric == ACCURACY else f"{column}{star} {metric}"


def cell_text(part: ReproducedPart, row: ReproducedRow, cell: tuple[str, str]) -> str:
    """Returns '96.11 (95.53, +0.58)', as much of it as there is; '-' without ours."""
    ours = f"{row.ours[cell]:.2f}" if cell in row.ours else "-"
    if cell not in row.papers:
        return ours
    difference = part.difference(row, cell)
    theirs = f"{row.papers[cell]:.2f}"
    theirs += "" if difference is None else f", {difference:+.2f}"
    return f"{ours} ({theirs})"


def _reasons(part: ReproducedPart) -> list[str]:
    """Why rows have a dash: 'CSI, VOS: not trained here'."""
    rows: dict[str, list[str]] = {}
    for row in part.rows:
        if row.why:
            rows.setdefault(row.why, []).append(row.name)
    return [f"-: {', '.join(names)}: {why}." for why, names in rows.items()]


def _escaped(text: str, style: str) -> str:
    if style == "latex_booktabs":
        for plain in "&%#_":
            text = text.replace(plain, f"\\{plain}")
    return text.replace("|", r"\|") if style == "github" else text


def _commented(text: str) -> str:
    return "\n".join(f"% {line}" for line in text.splitlines())


def as_csv(table: PaperTable, parts: Sequence[ReproducedPart]) -> str:
    """Returns a line per number: ours, the paper's, the difference, and why not."""
    header = ["paper", "table", "part", "row", "spec", "column", "metric"]
    header += ["ours", "papers", "difference", "part_of_the_images", "why_not"]

    def number(value: float | None, form: str = ".2f") -> str:
        return "" if value is None else f"{value:{form}}"

    rows = [
        [
            *(table.paper, table.number, part.title, row.name, row.text, *cell),
            number(row.ours.get(cell)),
            number(row.papers.get(cell)),
            number(part.difference(row, cell), "+.2f"),
            "yes" if cell[0] in part.dented else "",
            row.why,
        ]
        for part in parts
        for row in part.rows
        for cell in part.cells
    ]
    return csv_text.joined(header, rows)
