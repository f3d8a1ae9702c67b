"""Runs a paper's table: the rows of each network in one pass over each set."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import math
from typing import NamedTuple

import numpy as np

from jood.data.benchmarks.spec import Benchmark
from jood.evaluation import benchmark_run
from jood.evaluation import edited_accuracy
from jood.evaluation import preflight
from jood.evaluation.benchmark_run import Evaluation
from jood.methods import detector_list
from jood.papers import given_networks
from jood.papers import paper_columns
from jood.papers import row_reading
from jood.papers import timing_table
from jood.papers.given_networks import Given
from jood.papers.given_networks import Maker
from jood.papers.paper_columns import ColumnSets
from jood.papers.reproduced import Cells
from jood.papers.reproduced import ReproducedPart
from jood.papers.reproduced import ReproducedRow
from jood.papers.transcription import ACCURACY
from jood.papers.transcription import BEHIND
from jood.papers.transcription import TIMING
from jood.papers.transcription import PaperTable
from jood.papers.transcription import TablePart
from jood.papers.transcription import TableRow

# Opens the benchmark of a part, or another, for a network, its OOD images magnified.
Open = Callable[[TablePart, Given, float], Benchmark]


class _Scored(NamedTuple):
    """What one network gave for rows of a part."""

    maker: Maker
    benchmark: Benchmark
    evaluation: Evaluation
    metrics: Mapping[str, Mapping[str, Mapping[str, float]]]
    rows: Mapping[str, detector_list.Row]  # what was run
    out: Mapping[str, str]  # why a row was not, by row
    behind: Mapping[str, float]  # ID accuracy behind a row's stage edits, by row


def run(
    table: PaperTable,
    given: Sequence[Given],
    open_benchmark: Open,
    *,
    other: str | None = None,
    batch_size: int = 128,
    workers: int = 0,
) -> list[ReproducedPart]:
    """Runs what the given networks allow of a table.

    Args:
      table: The table.
      given: The networks.
      open_benchmark: Opens the benchmark of a part for a network.
      other: Name of the benchmark that is opened in place of the table's own; the
        numbers are then not those of the paper's images.
      batch_size: Images per step, over all devices.
      workers: Processes that read images; 0 reads with threads.

    Returns:
      The parts, also those that no network was given for. A table of times needs no
      benchmark.
    """
    if table.kind == TIMING:
        return timing_table.run(table, given, other, batch_size)
    makers = given_networks.makers(table, given, other)
    parts = []
    for part in table.parts:
        scored = {}
        for trained in dict.fromkeys(row.trained for row in part.rows):
            maker = makers.get(given_networks.key(part, trained))
            texts = {
                r.name: r.text for r in part.rows if r.trained == trained and r.text
            }
            if maker is not None and texts:
                opened = _opened(part, maker, open_benchmark)
                size = (batch_size, workers)
                scored[trained] = _score(texts, maker, opened, part, table.paper, *size)
        parts.append(_compared(table.metrics, part, scored, other))
    return parts


def _opened(part: TablePart, maker: Maker, open_benchmark: Open) -> Benchmark:
    """The benchmark, with the magnified sets that rows ask for as further ones."""
    plain = open_benchmark(part, maker.given, 1.0)
    ood = dict(plain.ood)
    for zoom in sorted({row.zoom for row in part.rows} - {1.0}):
        larger = open_benchmark(part, maker.given, zoom).ood
        ood |= {_zoomed(name, zoom): source for name, source in larger.items()}
    return dataclasses.replace(plain, ood=ood)


def _zoomed(name: str, zoom: float) -> str:
    return name if zoom == 1 else f"{name} zoom={zoom}"


def _score(
    texts: Mapping[str, str],
    maker: Maker,
    benchmark: Benchmark,
    part: TablePart,
    paper: str,
    batch_size: int,
    workers: int,
) -> _Scored:
    """Asks a network all rows that it can be asked, in one pass over each set."""
    network = maker.given.network
    rows = {
        name: row_reading.read(text, benchmark.name, network.name, paper)
        for name, text in texts.items()
    }
    parts = {name: row.component for name, row in rows.items()}
    asked, out = preflight.possible(
        parts, network.model, network.variables, benchmark.id_train
    )
    detector = benchmark_run.ask(asked, benchmark, network)
    _, evaluation = benchmark_run.evaluate(
        detector, benchmark, batch_size=batch_size, workers=workers
    )
    rows = {name: rows[name] for name in asked}
    behind = {}
    if BEHIND in part.columns and not math.isnan(evaluation.accuracy):
        paths = {name: asked[name].edits for name in asked}
        behind = edited_accuracy.measure(paths, detector, benchmark, batch_size)
    metrics = evaluation.metrics()
    return _Scored(maker, benchmark, evaluation, metrics, rows, out, behind)


def _compared(
    metrics: Sequence[str],
    part: TablePart,
    scored: Mapping[str, _Scored],
    other: str | None,
) -> ReproducedPart:
    """Ours beside the paper's numbers."""
    columns: dict[str, ColumnSets] = {}
    for one in scored.values():
        present = [name for name in one.benchmark.ood if " zoom=" not in name]
        columns |= (
            paper_columns.of_benchmark(present)
            if other
            else paper_columns.of_part(part, present)
        )
    shown = [c for c in columns or part.columns if c in part.columns or other]
    shown = [c for c in shown if c not in (ACCURACY, BEHIND) or c in part.columns]
    remarks = [
        text for one in scored.values() for text in _remarks(part, one, columns, other)
    ]
    rows = []
    for row in part.rows:
        own = scored.get(row.trained)
        ours = {} if own is None else _ours(row, own, columns, metrics)
        ran = own.rows.get(row.name) if own else None
        why = row.why or (own.out.get(row.name, "") if own else _lacks(part, row))
        rows.append(
            ReproducedRow(
                name=row.name,
                text=ran.component.spec if ran else "",
                sources=ran.sources if ran else {},
                why=why,
                ours=ours,
                papers=_papers(part, row, metrics),
            )
        )
    incomplete = {n for one in scored.values() for n in one.benchmark.incomplete}
    cells = dataclasses.replace(part, columns=tuple(shown)).cells(metrics)
    return ReproducedPart(
        title=part.title,
        cells=cells,
        rows=rows,
        remarks=list(dict.fromkeys(remarks)),
        dented=frozenset(
            name
            for name, column_sets in columns.items()
            if not column_sets.is_whole or set(column_sets.sets) & incomplete
        ),
        comparable=other is None,
    )


def _lacks(part: TablePart, row: TableRow) -> str:
    return f"no network {given_networks.key(part, row.trained)} was given"


def _papers(part: TablePart, row: TableRow, metrics: Sequence[str]) -> Cells:
    cells = zip(part.cells(metrics), row.numbers, strict=True)
    return {cell: number for cell, number in cells if number is not None}


def _ours(
    row: TableRow,
    scored: _Scored,
    columns: Mapping[str, ColumnSets],
    metrics: Sequence[str],
) -> Cells:
    """Our percentages of a row, of the columns that have a set at hand."""
    evaluation = scored.evaluation
    if row.name not in evaluation.id_scores:
        return {}
    by_set = scored.metrics[row.name]
    cells = {
        (column, metric): 100
        * float(
            np.mean([by_set[_zoomed(n, row.zoom)][metric] for n in column_sets.sets])
        )
        for column, column_sets in columns.items()
        for metric in metrics
        if column_sets.sets
    }
    accuracy = evaluation.accuracy
    known = {} if math.isnan(accuracy) else {(ACCURACY, ACCURACY): 100 * accuracy}
    if row.name in scored.behind:
        known[BEHIND, ACCURACY] = 100 * scored.behind[row.name]
    return cells | known


def _remarks(
    part: TablePart,
    scored: _Scored,
    columns: Mapping[str, ColumnSets],
    other: str | None,
) -> list[str]:
    """Sentences on what differs from the paper."""
    network, benchmark = scored.maker.given.network, scored.benchmark
    remarks = []
    if not scored.maker.is_named_one:
        remarks.append(f"Run with {network.name}; the paper's is {part.network}.")
    if other:
        remarks.append(f"Run on {other}; the paper's numbers are of {part.benchmark}.")
    remarks += [
        f"{column} is a part: {column_sets.remark}."
        for column, column_sets in columns.items()
        if column_sets.remark and len(column_sets.sets) == 1
    ]
    lacking = {name for column_sets in columns.values() for name in column_sets.lacking}
    if lacking and not other:
        remarks.append(
            f"Absent: {', '.join(sorted(lacking))}; averages leave them out."
        )
    remarks += [
        f"{name} is not whole: {n}." for name, n in benchmark.incomplete.items()
    ]
    return remarks
