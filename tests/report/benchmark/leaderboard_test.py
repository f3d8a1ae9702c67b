"""The table in the form of OpenOOD's leaderboard."""

import csv

from helpers import grouped_results as made

from jood.report.benchmark import leaderboard
from jood.report.benchmark import tables


def rows(text):
    return list(csv.DictReader(text.splitlines()))


def test_a_row_has_the_leaderboards_columns_and_numbers():
    results = [made.evaluated(seed=0), made.evaluated(seed=1)]
    table = tables.build(results, ["MSP"], made.described())
    trained = [{"objective": "cross_entropy()"}] * 2
    told = {"model": "resnet18_cifar", "trained": trained}
    found = leaderboard.files(table, made.described(), {"MSP": "msp()"}, told)
    assert list(found) == ["leaderboard_ood.csv", "leaderboard_fsood.csv"]
    first, full = (
        rows(found["leaderboard_ood.csv"]),
        rows(found["leaderboard_fsood.csv"]),
    )
    assert tuple(first[0]) == leaderboard.HEADER
    near = (
        table.mean("MSP", "mean near", "AUROC"),
        table.std("MSP", "mean near", "AUROC"),
    )
    assert first[0]["Near-OOD_AUROC"] == f"{near[0]:.2f} ± {near[1]:.2f}"
    assert first[0]["ID_Accuracy"] == "90.00 ± 0.00"
    assert full[0]["ID_Accuracy"] == "60.00 ± 0.00"
    assert full[0]["Far-OOD_AUROC"] != first[0]["Far-OOD_AUROC"]
    names = ("Training", "Postprocessor", "Outlier_Data", "Arch")
    known = ["CrossEntropy", "MSP", "No", "resnet18_cifar"]
    assert [first[0][name] for name in names] == known
    assert first[0]["Additional_Description"].endswith(": msp()")


def test_what_is_partial_or_unknown_is_told():
    here = ("ninco",)
    table = tables.build([made.evaluated(here, ())], ["MSP"], made.described(here, ()))
    found = leaderboard.files(
        table, made.described(), {"MSP": "msp()"}, {"model": "vit", "trained": {}}
    )
    assert list(found) == ["leaderboard_ood.csv"]
    (row,) = rows(found["leaderboard_ood.csv"])
    assert row["Far-OOD_AUROC"] == row["Training"] == row["Outlier_Data"] == "/"
    assert row["Additional_Description"].endswith("msp(); partial: mean near (1 of 2)")


def test_a_benchmark_without_groups_has_none():
    plain = made.described(groups={}, shifted={}, absent_shifted={})
    table = tables.build([made.evaluated(shifted=())], ["MSP"], plain)
    assert leaderboard.files(table, plain, {"MSP": "msp()"}, {}) == {}
