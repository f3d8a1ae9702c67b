"""The benchmark table as a grid of a page: one column per set and metric."""

from collections.abc import Mapping

from jood import metrics
from jood.report.benchmark import tables
from jood.report.benchmark.tables import Table
from jood.report.html import page

METRICS = ("AUROC", "FPR95")  # of the page; table.csv has all of them


def grid(table: Table) -> page.Grid:
    """Returns detectors x (OOD sets and averages), best and second best marked.

    Values that are shown as the same text share a place.
    """
    titles = tables.column_titles(table)
    columns = [page.Column("detector")]
    for title in titles.values():
        for metric in METRICS:
            first = metric not in metrics.LOWER_IS_BETTER
            columns.append(page.Column(metric, title, descending=first))
    marks = {
        (column, metric): _marks(table, column, metric)
        for column in table.columns
        for metric in METRICS
    }
    rows = []
    for name in table.detectors:
        row = [page.Cell(name)]
        for column in table.columns:
            for metric in METRICS:
                row.append(
                    page.Cell(
                        tables.value_text(table, name, column, metric),
                        table.mean(name, column, metric),
                        marks[column, metric].get(name, ""),
                    )
                )
        rows.append(row)
    return page.Grid(
        columns,
        rows,
        "AUROC and FPR95 in %, ID positive. The best of a column is bold, the second "
        "underlined.",
    )


def texts_grid(detectors: Mapping[str, str]) -> page.Grid:
    """Returns the detectors' texts by name, as `jood.parse` reads them."""
    return page.Grid(
        [page.Column("detector"), page.Column("text")],
        [[page.Cell(name), page.Cell(text)] for name, text in detectors.items()],
        "What each row of the table is, as jood.parse and --detectors read it.",
    )


def _marks(table: Table, column: str, metric: str) -> dict[str, str]:
    """'best' or 'second' by detector; a lone detector is not compared."""
    shown = {n: round(table.mean(n, column, metric), 1) for n in table.detectors}
    places = sorted(set(shown.values()), reverse=metric not in metrics.LOWER_IS_BETTER)
    if len(places) < 2:
        return {}
    words = {places[0]: "best", places[1]: "second"}
    return {name: words[value] for name, value in shown.items() if value in words}
