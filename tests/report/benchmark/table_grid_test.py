"""The table of the page: values, marks and stars are those of the other tables."""

import types

import numpy as np

from jood.evaluation import benchmark_run
from jood.report.benchmark import page
from jood.report.benchmark import tables

BENCHMARK = types.SimpleNamespace(
    near=(),
    paper=(),
    absent={},
    incomplete={},
    groups={},
    shifted={},
    absent_shifted={},
)


def evaluated(shift=0.0):
    """Three detectors, of which two are equal, on one set."""
    rng = np.random.default_rng(0)
    good, bad = rng.normal(size=200) + 3 + shift, rng.normal(size=200) + 1
    outside = rng.normal(size=100)
    inside = {"a": bad, "b": good, "c": good, "d": -good}
    return benchmark_run.Evaluation(
        0.9, inside, {"odd": dict.fromkeys(inside, outside)}, {"odd": {3: "x.png: bad"}}
    )


def built(results):
    names = list(results[0].id_scores)
    return tables.build(results, names, BENCHMARK)


def test_best_is_bold_second_underlined_and_equals_share_a_place():
    table = built([evaluated()])
    grid = page.table_grid(table)
    assert [(c.group, c.title) for c in grid.columns] == [
        ("", "detector"),
        ("mean*", "AUROC"),
        ("mean*", "FPR95"),
        ("odd*", "AUROC"),
        ("odd*", "FPR95"),
    ]
    marks = {row[0].text: (row[1].mark, row[2].mark) for row in grid.rows}
    best, second = ("best", "best"), ("second", "second")
    assert marks["b"] == marks["c"] == best
    assert (marks["a"], marks["d"][0]) == (second, "")
    assert [c.descending for c in grid.columns[1:3]] == [True, False]
    cell = grid.rows[1][1]
    assert cell.value == table.mean("b", "odd", "AUROC")
    assert cell.text == f"{cell.value:.1f}"
    assert tables.leader(table) == "b"
    assert tables.best_first(table) == ["b", "c", "a", "d"]


def test_several_seeds_show_their_spread_and_a_lone_row_has_no_mark():
    results = [evaluated(), evaluated(-1)]
    grid = page.table_grid(built(results))
    assert "±" in grid.rows[1][1].text
    lone = tables.build(results, ["a"], BENCHMARK)
    assert {cell.mark for cell in page.table_grid(lone).rows[0]} == {""}
