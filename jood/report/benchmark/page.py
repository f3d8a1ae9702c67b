"""The page of a results folder: what was measured, how it looks, how it was run."""

from collections.abc import Mapping, Sequence
from typing import Any

from jood import metrics
from jood.evaluation.selection import Selection
from jood.metrics import Column
from jood.report.benchmark import tables
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
        page.Section("Results", [table_grid(table), *blocks]),
        *sections,
        page.Section("Detectors", [texts_grid(texts)]),
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


def table_grid(table: Table) -> page.Grid:
    """Returns detectors x (OOD sets and averages), best and second best marked.

    Values that are shown as the same text share a place.
    """
    shown = metrics.shown()
    columns = [page.GridColumn("detector")]
    cells = [[page.Cell(name)] for name in table.detectors]
    for column, title in tables.column_titles(table).items():
        for metric in shown:
            first = not metric.lower_is_better
            columns.append(page.GridColumn(metric.name, title, descending=first))
            for row, cell in zip(
                cells, _metric_cells(table, column, metric), strict=True
            ):
                row.append(cell)
    return page.Grid(
        columns,
        cells,
        f"{' and '.join(metric.name for metric in shown)} in %, ID positive. The best "
        "of a column is bold, the second underlined.",
    )


def texts_grid(detectors: Mapping[str, str]) -> page.Grid:
    """Returns the detectors' texts by name, as `jood.parse` reads them."""
    return page.Grid(
        [page.GridColumn("detector"), page.GridColumn("text")],
        [[page.Cell(name), page.Cell(text)] for name, text in detectors.items()],
        "What each row of the table is, as jood.parse and --detectors read it.",
    )


def _metric_cells(table: Table, column: str, metric: Column) -> list[page.Cell]:
    """A metric of all detectors; a lone value is not marked."""
    places = tables.ranking(table, column, metric)
    words = dict(zip(places, ("best", "second"), strict=False))
    cells = []
    for name in table.detectors:
        value = table.mean(name, column, metric.name)
        mark = words.get(round(value, 1), "") if len(places) > 1 else ""
        text = tables.value_text(table, name, column, metric.name)
        cells.append(page.Cell(text, value, mark))
    return cells
