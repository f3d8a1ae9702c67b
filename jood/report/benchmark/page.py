"""The page of a results folder: what was measured, how it looks, how it was run."""

from collections.abc import Mapping, Sequence
from typing import Any

from jood.evaluation.selection import Selection
from jood.report.benchmark import results_grid
from jood.report.benchmark.tables import Table
from jood.report.html import page


def build(
    title: str,
    heading: str,
    table: Table,
    texts: Mapping[str, str],
    run: Mapping[str, Any],
    blocks: Sequence[page.Block],
    sections: Sequence[page.Section],
) -> str:
    """Returns the page.

    Args:
      title: what was measured.
      heading: how the numbers were made.
      table: the numbers.
      texts: the detectors' texts by row name.
      run: the 'configuration' of the run and the 'versions' of the packages.
      blocks: what stands below the table.
      sections: what follows the results.
    """
    skipped = {name: "; ".join(images) for name, images in table.skipped.items()}
    about = {
        "Configuration": run["configuration"],
        "Versions": run["versions"],
        "Sets that are absent": table.absent,
        "Sets that are not whole": table.incomplete,
        "Images that cannot be read": skipped,
    }
    always = ("Configuration", "Versions")
    facts = [page.Facts(k, v) for k, v in about.items() if v or k in always]
    every = [
        page.Section("Results", [results_grid.grid(table), *blocks]),
        *sections,
        page.Section("Detectors", [results_grid.texts_grid(texts)]),
        page.Section("How it was run", facts),
    ]
    return page.render(title, heading, every)


def selections(curves: Mapping[str, Selection]) -> page.Section:
    """Returns the section of the curves that were chosen on, by row name."""
    grids = []
    for name, curve in curves.items():
        rows = curve.rows()
        columns = [page.GridColumn(title) for title in rows[0]]
        cells = [[_cell(value) for value in row.values()] for row in rows]
        grids.append(page.Grid(columns, cells, f"{name}: {curve.method}"))
    return page.Section("Chosen on noise", grids)


def _cell(value: Any) -> page.Cell:
    if isinstance(value, float):
        return page.Cell(f"{value:.5g}", value)
    return page.Cell(str(value))
