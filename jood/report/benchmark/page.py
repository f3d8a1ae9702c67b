"""The page of a results folder: what was measured, how it looks, how it was run."""

from collections.abc import Mapping, Sequence
from typing import Any

from jood import metrics
from jood.methods import value_sources
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
    sources: Mapping[str, Mapping[str, str]],
) -> str:
    """Returns the page: the table, `blocks` below it, `sections`, and how it was run.

    The detectors' texts, and where their values come from, are by row name; `run` holds
    'configuration' and 'versions'.
    """
    skipped = {name: "; ".join(images) for name, images in table.skipped.items()}
    lost = {
        "Sets that are absent": table.absent,
        "Sets that are not whole": table.incomplete,
        "Images that cannot be read": skipped,
    }
    every = [
        page.Section("Results", [table_grid(table), *blocks]),
        *sections,
        page.Section("Detectors", [texts_grid(texts, sources)]),
        how_it_was_run(run, [page.Facts(k, v) for k, v in lost.items() if v]),
    ]
    return page.render(title, heading, every)


def how_it_was_run(
    run: Mapping[str, Any], facts: Sequence[page.Facts] = ()
) -> page.Section:
    """Returns the section of a run's configuration, versions and further facts."""
    always = [page.Facts(k.title(), run[k]) for k in ("configuration", "versions")]
    return page.Section("How it was run", [*always, *facts])


def table_grid(table: Table) -> page.Grid:
    """Returns detectors x (OOD sets and averages); equal texts share a place."""
    shown = metrics.shown()
    columns = [page.GridColumn("detector")]
    cells = [[page.Cell(name)] for name in table.detectors]
    for column, title in tables.column_titles(table).items():
        for metric in shown:
            first = not metric.lower_is_better
            columns.append(page.GridColumn(metric.name, title, descending=first))
            own = _metric_cells(table, column, metric)
            cells = [[*row, cell] for row, cell in zip(cells, own, strict=True)]
    return page.Grid(
        columns,
        cells,
        f"{' and '.join(metric.name for metric in shown)} in %, ID positive. The best "
        "of a column is bold, the second underlined.",
    )


def texts_grid(
    detectors: Mapping[str, str], sources: Mapping[str, Mapping[str, str]]
) -> page.Grid:
    """Returns the detectors' texts, as `jood.parse` reads them, and their sources."""
    rows = [
        [name, text, value_sources.written(sources.get(name, {}))]
        for name, text in detectors.items()
    ]
    return page.Grid(
        [page.GridColumn(title) for title in ("detector", "text", "values from")],
        [[page.Cell(text) for text in row] for row in rows],
        "What each row of the table is, as jood.parse and --detectors read it, and "
        "where each value comes from.",
    )


def _metric_cells(table: Table, column: str, metric: Column) -> list[page.Cell]:
    """A metric of all detectors; a lone value is not marked."""
    places = tables.ranking(table, column, metric)
    words = dict(zip(places, ("best", "second"), strict=False))
    cells = []
    for name in table.detectors:
        value = table.mean(name, column, metric.name)
        mark = words.get(round(value, 1), "") if len(places) > 1 else ""
        text = tables.spread(table.percents(name, column, metric.name), 1)
        text += table.interval(name, column, metric.name)
        cells.append(page.Cell(text, value, mark))
    return cells
