"""The papers' tables: whole, equal to their averages, of rows that jood reads."""

import itertools

import numpy as np
import pytest

from jood import papers
from jood.data import benchmarks
from jood.papers import paper_columns
from jood.papers import row_reading
from jood.papers import transcription

TABLES = [table for paper in papers.PAPERS for table in papers.tables(paper).values()]
PARTS = [(table, part) for table in TABLES for part in table.parts]


def named(value):
    return f"{value.paper}_{value.number}" if hasattr(value, "number") else value.title


def numbers(table, part, row):
    return dict(zip(part.cells(table.metrics), row.numbers, strict=True))


@pytest.mark.parametrize(
    ("paper", "rows"),
    [
        # By table, as counted in the papers.
        (
            "feature_sim",
            [12, 18, 8, 16, 8, 2, 26, 4, 16, 6, 2, 2, 7, 32, 4, 3, 1, 11, 2],
        ),
        ("himplos", [40, 20, 12, 33, 10]),
        ("lff", [36, 34, 18, 30]),
        ("ssod", [16, 8, 9, 5, 3, 14]),
    ],
)
def test_every_table_is_there_with_every_row(paper, rows):
    tables = papers.tables(paper)
    assert list(tables) == [str(n + 1) for n in range(len(rows))]
    found = [sum(len(part.rows) for part in t.parts) for t in tables.values()]
    assert found == rows


WITH_AVERAGES = [
    (table, part)
    for table, part in PARTS
    if transcription.AVERAGE in part.columns and len(part.columns) > 2
]


@pytest.mark.parametrize(("table", "part"), WITH_AVERAGES, ids=named)
def test_averages_are_means_but_for_the_papers_misprints(table, part):
    average = transcription.AVERAGE
    wrong = []
    for row, metric in itertools.product(part.rows, table.metrics):
        cells = numbers(table, part, row)
        of = [v for (c, m), v in cells.items() if m == metric and c != average]
        printed = cells[average, metric]
        if None not in (*of, printed) and abs(np.mean(of) - printed) > 0.0111:
            wrong.append(f"{row.name} | {metric}")
    assert wrong == list(part.misprints)


@pytest.mark.parametrize(
    ("paper", "means", "whole"),
    [("feature_sim", "4", "9"), ("feature_sim", "6", "11"), ("himplos", "4", "1")],
)
def test_a_table_of_means_repeats_the_whole_table(paper, means, whole):
    means, whole = papers.table(paper, means), papers.table(paper, whole)
    compared = 0
    for part in means.parts:
        for other in whole.parts:
            if (part.benchmark, part.network) != (other.benchmark, other.network):
                continue
            rows = {row.name: row for row in other.rows}
            for row in part.rows:
                if row.name not in rows:
                    continue
                mine = numbers(means, part, row)
                theirs = numbers(whole, other, rows[row.name])
                for cell, value in mine.items():
                    assert abs(value - theirs[cell]) < 0.02, (row.name, cell)
                    compared += 1
    assert compared >= 4


@pytest.mark.parametrize(("table", "part"), PARTS, ids=named)
def test_every_number_is_a_percentage_of_a_known_set(table, part):
    columns = paper_columns.wanted(part)
    known = benchmarks.describe(part.benchmark).sets
    assert all(name in known for sets in columns.values() for name in sets)
    for row in part.rows:
        values = [v for v in row.numbers if v is not None]
        assert all(0 <= value <= 100 for value in values)
        assert bool(row.text) != bool(row.why)


@pytest.mark.parametrize(("table", "part"), PARTS, ids=named)
def test_every_row_that_is_built_is_a_detector(table, part):
    for row in part.rows:
        if row.text:
            read = row_reading.read(row.text, part.benchmark, part.network)
            assert read.component.slot == "score"


def test_unknown_papers_and_tables_list_those_there_are():
    with pytest.raises(ValueError, match=r"himplos has no table '9'; .* 1, 2, 3, 4, 5"):
        papers.table("himplos", "9")
    with pytest.raises(ValueError, match="himplos"):
        papers.table("himplo", "1")
