"""One evaluation of several networks, with intervals; and what its log says."""

import csv
import json
import re

from helpers import tiny_network
from helpers.jobs import run_job
import pytest

from jood import models
from jood.data import benchmarks
from jood.weights import checkpoint


def save(folder, seed=0, name="resnet_small"):
    digits = benchmarks.describe("digits_tiny")
    model = models.create("resnet_small", 8, width=4)
    network = checkpoint.TrainedNetwork(
        model=model,
        variables=tiny_network.random_variables(model, seed),
        name=name,
        class_names=None,
        preprocessing=next(iter(digits.preprocessing.values())),
        image_size=digits.image_size,
        source={"seed": seed},
    )
    checkpoint.save(folder, network)
    return str(folder)


@pytest.mark.slow
def test_mean_and_deviation_and_intervals_are_in_every_output(tmp_path):
    both = ",".join(save(tmp_path / f"seed{s}", s) for s in (0, 1))
    results = tmp_path / "results"
    printed = run_job(
        "evaluate",
        f"--checkpoint={both}",
        "--benchmark=digits_tiny",
        f"--output={results}",
        "--detectors=msp,energy",
        "--bootstrap=20",
    )
    cell = r"\d+\.\d ?± ?\d+\.\d \[\d+\.\d, \d+\.\d\]"
    for name in ("table.txt", "table.md", "report.html"):
        assert re.search(cell, (results / name).read_text()), name
    tex = (results / "table.tex").read_text()
    assert re.search(r"\d\$\\pm\$\d+\.\d \[\d+\.\d, \d+\.\d\]", tex)
    rows = list(csv.DictReader((results / "table.csv").read_text().splitlines()))
    assert {row["seeds"] for row in rows} == {"2"}
    for row in rows:
        assert float(row["AUROC_low_percent"]) <= float(row["AUROC_high_percent"])
    summary = json.loads((results / "results.json").read_text())
    assert [one["seed"] for one in summary["configuration"]["trained"]] == [0, 1]
    assert len(summary["metrics_by_seed"]) == len(summary["id_accuracy"]) == 2
    drawn = summary["bootstrap"]
    assert (drawn["draws"], drawn["level"], drawn["seed"]) == (20, 0.95, 0)
    low, high = drawn["intervals"]["energy"]["near"]["FPR95"]
    assert low <= high
    # In a log there is no bar, but a line for each set of each network.
    assert len(re.findall(r"\d\d:\d\d:\d\d score near: \d+ images in 0:", printed)) == 2
    assert "\r" not in printed


@pytest.mark.slow
def test_networks_that_are_not_alike_are_refused_by_name(tmp_path):
    a, b = save(tmp_path / "a"), save(tmp_path / "b", name="resnet18")
    given = ("--benchmark=digits_tiny", f"--output={tmp_path / 'x'}", "--dry_run")
    told = run_job("evaluate", f"--checkpoint={a},{b}", *given, ok=False)
    assert f"{b}: model resnet18, but {a} has resnet_small" in told
    told = run_job("evaluate", f"--checkpoint={a},{a}", *given, ok=False)
    assert "names a folder twice" in told
