"""The folder of a reproduced table: text, Markdown, LaTeX, CSV, JSON and the page."""

from collections.abc import Mapping, Sequence
import json
import os
import pathlib
from typing import Any

from jood._utils import atomic_files
from jood._utils import provenance
from jood.papers import comparison_text
from jood.papers import timing_table
from jood.papers import transcription
from jood.papers.reproduced import ReproducedPart
from jood.papers.reproduced import ReproducedRow
from jood.papers.transcription import TIMING
from jood.papers.transcription import PaperTable
from jood.report.benchmark import page as benchmark_page
from jood.report.html import page

NAME = "results.json"


def write(
    folder: str | os.PathLike[str],
    table: PaperTable,
    parts: Sequence[ReproducedPart],
    configuration: Mapping[str, Any],
) -> str:
    """Writes a new results folder; returns the table as text."""
    run = {"configuration": dict(configuration), "versions": provenance.versions()}
    with atomic_files.atomic_folder(folder) as partial:
        for name, text in files(table, parts).items():
            (partial / name).write_text(text, encoding="utf-8")
        content = {**run, "parts": [_json(part) for part in parts]}
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (partial / NAME).write_text(text, encoding="utf-8")
        shown = _page(table, parts, run)
        (partial / page.FILE).write_text(shown, encoding="utf-8")
    return comparison_text.as_text(table, parts)


def files(table: PaperTable, parts: Sequence[ReproducedPart]) -> dict[str, str]:
    """Returns the table as text, Markdown, LaTeX and CSV, by the file's name."""
    texts = {
        name: comparison_text.as_text(table, parts, style)
        for name, style in comparison_text.STYLES.items()
    }
    return {**texts, "table.csv": comparison_text.as_csv(table, parts)}


def read(
    folder: str | os.PathLike[str],
) -> tuple[PaperTable, list[ReproducedPart]]:
    """Returns the table and the parts of which `write` made a folder."""
    text = (pathlib.Path(folder) / NAME).read_text(encoding="utf-8")
    content = json.loads(text)
    run = content["configuration"]
    comparable = run["benchmark"] is None
    parts = [_part(part, comparable) for part in content["parts"]]
    return transcription.table(run["paper"], run["table"]), parts


def _part(content: Mapping[str, Any], comparable: bool) -> ReproducedPart:
    columns = [(column, metric) for column, metric in content["cells"]]
    by_key = {_key(cell): cell for cell in columns}

    def cells(numbers: Mapping[str, float]) -> dict[tuple[str, str], float]:
        # The paper's columns that were not run here stand in no cell.
        return {by_key.get(key, (key, "")): value for key, value in numbers.items()}

    rows = [
        ReproducedRow(
            name=row["name"],
            text=row["spec"],
            sources=row["values_from"],
            why=row["why_not"],
            ours=cells(row["ours"]),
            papers=cells(row["papers"]),
        )
        for row in content["rows"]
    ]
    return ReproducedPart(
        title=content["title"],
        cells=columns,
        rows=rows,
        remarks=content["remarks"],
        dented=frozenset(content["part_of_the_images"]),
        comparable=comparable,
    )


def _key(cell: tuple[str, str]) -> str:
    return " ".join(dict.fromkeys(cell))


def _json(part: ReproducedPart) -> dict[str, Any]:
    def numbers(values: Mapping[tuple[str, str], float]) -> dict[str, float]:
        return {_key(cell): value for cell, value in values.items()}

    return {
        "title": part.title,
        "cells": [list(cell) for cell in part.cells],
        "remarks": list(part.remarks),
        "part_of_the_images": sorted(part.dented),
        "rows": [
            {
                "name": row.name,
                "spec": row.text,
                "values_from": dict(row.sources),
                "why_not": row.why,
                "ours": numbers(row.ours),
                "papers": numbers(row.papers),
            }
            for row in part.rows
        ],
    }


def _page(
    table: PaperTable, parts: Sequence[ReproducedPart], run: Mapping[str, Any]
) -> str:
    sections = []
    for number, part in enumerate(parts, 1):
        texts = {row.name: row.text or f"not run: {row.why}" for row in part.rows}
        blocks: list[page.Block] = [
            page.Text(" ".join(part.remarks)),
            _grid(part, table),
        ]
        sources = {row.name: row.sources for row in part.rows}
        blocks.append(benchmark_page.texts_grid(texts, sources))
        sections.append(page.Section(part.title or f"Part {number}", blocks))
    lead = comparison_text.heading(table, parts)
    every = [*sections, benchmark_page.how_it_was_run(run)]
    return page.render(comparison_text.title(table), lead, every)


def _grid(part: ReproducedPart, table: PaperTable) -> page.Grid:
    columns = [page.GridColumn("row")]
    for column, metric in part.cells:
        title = comparison_text.head(part, (column, "")).strip()
        group = title if metric != column else ""
        columns.append(page.GridColumn(metric, group, descending=metric != "FPR95"))
    rows = [
        [page.Cell(row.name), *(_cell(part, row, cell) for cell in part.cells)]
        for row in part.rows
    ]
    if table.kind == TIMING:
        return page.Grid(columns, rows, "Ours (the paper's, difference).")
    caption = (
        "Ours (the paper's, difference) in %. Green: within 2 points of the paper; "
        "yellow: within 5; red: beyond. A star marks a part of the paper's images."
    )
    return page.Grid(columns, rows, caption)


def _cell(part: ReproducedPart, row: ReproducedRow, cell: tuple[str, str]) -> page.Cell:
    difference = part.difference(row, cell)
    text = comparison_text.cell_text(part, row, cell)
    value = row.ours.get(cell, float("nan"))
    if difference is None or cell[1] == timing_table.TIME:
        return page.Cell(text, value)
    mark = "near" if abs(difference) <= 2 else "off" if abs(difference) <= 5 else "far"
    return page.Cell(text, value, mark)
