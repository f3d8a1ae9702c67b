"""The benchmark table as a grid of a page: one column per set and metric."""

from collections.abc import Mapping

from jood import metrics
from jood.metrics import Column
from jood.report.benchmark import tables
from jood.report.benchmark.tables import Table
from jood.report.html import page


def grid(table: Table) -> page.Grid:
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
            for row, cell in zip(cells, _cells(table, column, metric), strict=True):
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


def _cells(table: Table, column: str, metric: Column) -> list[page.Cell]:
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
