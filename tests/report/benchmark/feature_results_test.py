"""Results of a folder of features: the job, its tables and its scores."""

import csv
import json

from helpers import toy_features
from helpers.jobs import run_job
import numpy as np
import pytest

from jood.evaluation import feature_files
from jood.methods import detector_list
from jood.report.benchmark import feature_results

TEXTS = "energy, near=knn(k=5)"


def rows_of(text):
    return detector_list.read_each(detector_list.split(text))


@pytest.fixture
def folder(tmp_path):
    return toy_features.write(tmp_path / "features")


@pytest.mark.slow
def test_tables_metrics_and_scores_are_written(folder, tmp_path):
    rows = rows_of(TEXTS)
    parts = {name: row.component for name, row in rows.items()}
    found = feature_files.compare(parts, feature_files.read(folder))
    output = tmp_path / "results"
    told = feature_results.write(output, found, rows, "my_features")
    assert "Features of my_features: test 30, new 25." in told
    run = json.loads((output / "results.json").read_text())
    assert run["detectors"]["near"] == rows["near"].component.spec
    expected = found.values("near", "AUROC")["new"]
    assert run["metrics_by_seed"][0]["near"]["new"]["AUROC"] == expected
    with np.load(output / "scores.npz") as scores:
        assert scores["new/near"].shape == (25,)
        assert scores["test/energy"].shape == (30,)
    table = list(csv.DictReader((output / "table.csv").read_text().splitlines()))
    assert {row["detector"] for row in table} == {"energy", "near"}
    assert (output / "table.md").read_text().count("|") > 6


def test_rows_that_features_cannot_serve_are_told_apart(folder):
    rows = rows_of("energy, ta(k=0.2)|energy(), feature_sim()")
    left, out = feature_results.possible(rows, feature_files.read(folder))
    assert list(left) == ["energy"]
    assert set(out.values()) == {
        "it rewrites a map in mid-network",
        "it reads the maps of stages",
    }


@pytest.mark.slow
def test_the_job_compares_a_folder_of_features(folder, tmp_path):
    job = "evaluate", f"--features={folder}", f"--output={tmp_path / 'results'}"
    dry = run_job(*job, "--detectors=all", "--dry_run")
    assert "left out, since it reads the maps of stages: " in dry
    assert not (tmp_path / "results").exists()
    told = run_job(*job, f"--detectors={TEXTS}")
    assert "ID accuracy" in told
    assert (tmp_path / "results" / "scores.npz").is_file()
