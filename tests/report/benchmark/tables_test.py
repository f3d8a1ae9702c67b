"""The table: averages over a part are marked, in every format."""

import csv
import dataclasses
import json
import types

import numpy as np
import pytest

from jood.evaluation import benchmark_run
from jood.report.benchmark import page
from jood.report.benchmark import table_csv
from jood.report.benchmark import tables

SETS = ("svhn", "isun", "near_set", "extra")


def evaluated(sets=SETS, accuracy=0.9, skipped=None):
    rng = np.random.default_rng(0)
    return benchmark_run.Evaluation(
        accuracy,
        {"MSP": rng.normal(size=50) + 1},
        {name: {"MSP": rng.normal(size=40) - i} for i, name in enumerate(sets)},
        skipped or {},
    )


def built(sets=SETS, accuracy=0.9, skipped=None, **fields):
    usual = {"near": ("near_set",), "paper": (), "absent": {}, "incomplete": {}}
    usual |= {"groups": {}, "shifted": {}, "absent_shifted": {}}
    benchmark = types.SimpleNamespace(**{**usual, **fields})
    return tables.build([evaluated(sets, accuracy, skipped)], ["MSP"], benchmark)


def bounded(draws=50):
    usual = {"near": ("near_set",), "paper": (), "absent": {}, "incomplete": {}}
    usual |= {"groups": {}, "shifted": {}, "absent_shifted": {}}
    benchmark = types.SimpleNamespace(**usual)
    return tables.build([evaluated()], ["MSP"], benchmark, draws)


def test_a_bootstrap_gives_each_cell_an_interval_in_every_format():
    table = bounded()
    heading = tables.heading(table, "P.")
    assert "Brackets: 95 % interval, 50 draws of the ID and OOD images" in heading
    for column in table.columns:
        low, high = table.intervals["MSP"][column]["AUROC"]
        assert low <= table.mean("MSP", column, "AUROC") / 100 <= high
        shown = f"[{100 * low:.1f}, {100 * high:.1f}]"
        assert table.interval("MSP", column, "AUROC") == f" {shown}"
        for style in ("simple", "github", "latex_booktabs"):
            assert shown in tables.text(table, style)
    rows = list(csv.DictReader(table_csv.as_csv(table, {"MSP": "msp()"}).splitlines()))
    ends = table.intervals["MSP"][tables.ALL]["FPR95"]
    told = [rows[-1][f"FPR95_{end}_percent"] for end in ("low", "high")]
    assert told == [f"{100 * end:.2f}" for end in ends]


def test_without_a_bootstrap_nothing_is_said_of_it():
    table = built()
    assert "Brackets" not in tables.heading(table, "P.")
    assert "[" not in tables.text(table)
    assert "low" not in table_csv.as_csv(table, {"MSP": "msp()"})


def averages(table, sets=SETS):
    return [column for column in table.columns if column not in sets]


def test_a_whole_benchmark_has_no_marks():
    assert averages(built()) == [tables.FAR, tables.ALL]
    table = built(paper=["svhn", "isun"])
    assert averages(table) == [tables.PAPER, tables.FAR, tables.ALL]
    each = [table.mean("MSP", name, "FPR95") for name in ("svhn", "isun")]
    np.testing.assert_allclose(table.mean("MSP", tables.PAPER, "FPR95"), np.mean(each))
    heading = tables.heading(table, "P.")
    assert heading.startswith("P.\nID accuracy 90.00 %. Cells: AUROC / FPR95")
    # The paper's average is not shown twice, under two names.
    assert averages(built(paper=["svhn", "isun", "extra"])) == [tables.FAR, tables.ALL]
    assert averages(built(paper=SETS)) == [tables.FAR, tables.ALL]
    assert averages(built(["svhn"], paper=["svhn"]), ["svhn"]) == [tables.ALL]


@pytest.mark.parametrize("style", ["simple", "github", "latex_booktabs"])
def test_the_means_stand_first_and_in_csv_last(style):
    table = built(paper=["svhn"])
    assert table.columns == [tables.PAPER, tables.FAR, tables.ALL, *SETS]
    text = tables.text(table, style)
    places = [text.index(title) for title in ("mean paper", "mean far", "svhn", "isun")]
    assert places == sorted(places)
    rows = csv.DictReader(table_csv.as_csv(table, {"MSP": "msp()"}).splitlines())
    assert [row["ood_set"] for row in rows] == [
        *SETS,
        tables.PAPER,
        tables.FAR,
        tables.ALL,
    ]


@pytest.mark.parametrize(("shift", "told"), [(0.0, False), (-4.0, True)])
def test_the_heading_names_rows_that_barely_work(shift, told):
    result = evaluated()
    moved = {"MSP": result.id_scores["MSP"] + shift}
    benchmark = types.SimpleNamespace(
        near=(),
        paper=(),
        absent={},
        incomplete={},
        groups={},
        shifted={},
        absent_shifted={},
    )
    result = dataclasses.replace(result, id_scores=moved)
    heading = tables.heading(tables.build([result], ["MSP"], benchmark), "P.")
    expected = "BARELY WORKS HERE (catches less than 20 % of the OOD images on average"
    assert (expected in heading) == told
    assert heading.endswith("called OOD): MSP.") == told


def test_absent_sets_are_counted_in_each_average_that_they_belong_to():
    table = built(
        paper=["svhn", "isun", "places365"],
        absent={"places365": "looked for x", "near_too": "looked for y"},
    )
    assert averages(table) == [
        "mean paper (2 of 3)",
        "mean far (3 of 5)",
        "mean (4 of 6)",
    ]
    assert "ABSENT, not scored: places365, near_too." in tables.heading(table, "P.")


def test_absent_near_sets_do_not_dent_the_far_average():
    table = built(
        ("svhn", "near_set"), near=["near_set", "near_too"], absent={"near_too": ""}
    )
    assert table.columns[:2] == ["mean far", "mean (2 of 3)"]


def test_incomplete_and_skipping_sets_are_starred():
    table = built(
        paper=["isun"],
        incomplete={"id_train": "found 5 of 9", "svhn": "found 3 of 4"},
        skipped={"extra": {0: "a.png: truncated", 1: "b.png: empty"}, "isun": {}},
    )
    assert averages(table) == ["mean paper", "mean far*", "mean*"]
    heading = tables.heading(table, "P.")
    assert "INCOMPLETE (*): id_train found 5 of 9; svhn found 3 of 4." in heading
    assert "cannot be read: extra 2." in heading
    header = tables.text(table).splitlines()[0].split()
    assert header[-4:] == ["svhn*", "isun", "near_set", "extra*"]
    assert "ABSENT" not in heading


@pytest.mark.parametrize("style", ["simple", "github", "latex_booktabs"])
def test_every_style_shows_the_marks(style):
    text = tables.text(built(absent={"lsun": ""}, incomplete={"isun": "1 of 2"}), style)
    assert "mean (4 of 5)*" in text
    assert "isun*" in text


def test_csv_and_json_show_the_marks():
    table = built(absent={"lsun": ""})
    rows = csv.DictReader(table_csv.as_csv(table, {"MSP": "msp()"}).splitlines())
    assert [row["ood_set"] for row in rows][-2:] == [
        "mean far (3 of 4)",
        "mean (4 of 5)",
    ]
    stored = json.loads(json.dumps(table.values))
    assert "mean (4 of 5)" in stored[0]["MSP"]


def test_csv_and_page_say_where_values_come_from():
    sources = {"MSP": {"f(a=1)": "Paper, Table 2", "f(b=2)": "Paper, Table 2"}}
    text = table_csv.as_csv(built(), {"MSP": "f(a=1, b=2)"}, sources)
    for row in csv.DictReader(text.splitlines()):
        assert row["spec"] == "f(a=1, b=2)"
        assert row["values_from"] == "f(a=1), f(b=2): Paper, Table 2"
    grid = page.texts_grid({"MSP": "f(a=1, b=2)", "own": "g()"}, sources)
    assert [[cell.text for cell in row] for row in grid.rows] == [
        ["MSP", "f(a=1, b=2)", "f(a=1), f(b=2): Paper, Table 2"],
        ["own", "g()", ""],
    ]


def test_no_labels_no_accuracy():
    table = built(accuracy=float("nan"))
    assert "No ID accuracy: the ID images carry no labels." in tables.heading(table, "")


def test_averages_over_chosen_sets_are_marked_though_nothing_is_absent():
    chosen = ["svhn", "extra"]
    table = built(chosen, paper=["svhn", "isun"])
    assert averages(table, chosen) == ["mean paper (1 of 2)", "mean (2 of 3)"]
