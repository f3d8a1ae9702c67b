"""The averages of a table: groups, the full spectrum, and marks of what is a part."""

from helpers.grouped_results import GROUPS
from helpers.grouped_results import described
from helpers.grouped_results import evaluated
import numpy as np
import pytest

from jood import metrics
from jood.report.benchmark import averages
from jood.report.benchmark import tables


def names(table):
    return [column for column in table.columns if averages.kind(column)]


def test_each_group_has_an_average_and_the_full_spectrum_counts_shifted_images_as_id():
    result = evaluated()
    table = tables.build([result], ["MSP"], described())
    assert names(table) == [
        "full-spectrum near", "full-spectrum far", "mean near", "mean far", "mean",
    ]  # fmt: skip
    inside = result.id_scores["MSP"]
    everyone = np.concatenate([inside, *(s["MSP"] for s in result.shifted.values())])
    for start, id_scores in (("mean", inside), ("full-spectrum", everyone)):
        for group, sets in GROUPS.items():
            each = [
                metrics.evaluate(id_scores, result.ood_scores[n]["MSP"]) for n in sets
            ]
            for metric in metrics.COLUMNS:
                found = table.values[0]["MSP"][f"{start} {group}"][metric]
                assert found == pytest.approx(np.mean([one[metric] for one in each]))
    heading = tables.heading(table, "P.")
    assert (
        "Full-spectrum averages count v2, c as ID; accuracy on ID and these 60.00 %."
        in heading
    )
    assert averages.column(table.columns, "near") == "mean near"
    assert averages.column(table.columns, "far", full=True) == "full-spectrum far"


def test_averages_over_a_part_of_a_group_are_marked():
    here = ("ninco", "dtd", "inat", "open_o")
    result = evaluated(here, ("c",))
    table = tables.build([result], ["MSP"], described(here, ("c",)))
    assert names(table) == [
        "full-spectrum near (1 of 2; 1 of 2 shifted)",
        "full-spectrum far (3 of 3; 1 of 2 shifted)",
        "mean near (1 of 2)",
        "mean far",
        "mean (4 of 5)",
    ]
    assert "ABSENT, not scored: ssb, v2." in tables.heading(table, "P.")
    assert averages.column(table.columns, "near") == "mean near (1 of 2)"
    few = described(here, ("v2", "c"), incomplete={"c": "found 1 of 2", "dtd": "x"})
    table = tables.build([evaluated(here)], ["MSP"], few)
    assert names(table)[0] == "full-spectrum near (1 of 2)*"
    assert names(table)[2:4] == ["mean near (1 of 2)", "mean far*"]


def test_a_group_of_which_nothing_is_here_has_no_average():
    here = GROUPS["near"]
    table = tables.build([evaluated(here, ())], ["MSP"], described(here, ()))
    assert names(table) == ["mean near", "mean (2 of 5)"]
    assert averages.column(table.columns, "far") is None
    assert "Full-spectrum" not in tables.heading(table, "P.")


def test_a_bootstrap_bounds_the_averages_of_the_full_spectrum_too():
    results = [evaluated(seed=0), evaluated(seed=1)]
    table = tables.build(results, ["MSP"], described(), draws=40)
    assert set(table.intervals["MSP"]) == set(table.columns)
    low, high = table.intervals["MSP"]["full-spectrum near"]["AUROC"]
    assert low < table.mean("MSP", "full-spectrum near", "AUROC") / 100 < high
    text = tables.text(table)
    assert "full-spectrum near" in text
