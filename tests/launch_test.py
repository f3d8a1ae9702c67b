"""The jobs, run as a user runs them, on tiny real data."""

import csv
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest

ROOT = pathlib.Path(__file__).parent.parent
RESULTS = {
    "table.txt", "table.md", "table.tex", "table.csv", "results.json",
    "histograms.png", "histograms.pdf", "roc.png", "roc.pdf",
    "heatmaps.png", "heatmaps.pdf",
}  # fmt: skip
TINY = ("--epochs=1", "--batch_size=128")


def launch(job, *arguments, ok=True):
    """Runs launch/JOB.py on one CPU device; returns what it printed."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    done = subprocess.run(
        [sys.executable, str(ROOT / "launch" / f"{job}.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=500,
    )
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("quickstart")
    arguments = ("--benchmark=digits_tiny", f"--workdir={workdir}", *TINY)
    return workdir, arguments, launch("quickstart", *arguments)


@pytest.mark.slow
def test_quickstart_writes_a_complete_results_folder(quickstart):
    workdir, _, printed = quickstart
    results = workdir / "results"
    assert {path.name for path in results.iterdir()} == RESULTS
    assert (results / "table.txt").read_text() in printed
    rows = list(csv.DictReader((results / "table.csv").read_text().splitlines()))
    assert len({row["detector"] for row in rows}) >= 12
    assert {"near", "background", "other_photo", "gaussian", "uniform"} <= {
        row["ood_set"] for row in rows
    }
    summary = json.loads((results / "results.json").read_text())
    assert summary["configuration"]["seed"] == 0
    assert {"jood", "jax", "python"} <= set(summary["versions"])
    assert not [path for path in workdir.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_pictures_are_not_blank(quickstart):
    workdir, *_ = quickstart
    for path in (workdir / "results").glob("*.png"):
        pixels = np.asarray(Image.open(path).convert("L"))
        assert min(pixels.shape) > 300
        assert pixels.std() > 10


@pytest.mark.slow
def test_same_seed_gives_the_same_table_and_a_trained_run_is_not_repeated(quickstart):
    workdir, arguments, _ = quickstart
    before = (workdir / "results" / "table.csv").read_text()
    steps = sorted((workdir / "checkpoints" / "seed0").iterdir())
    launch("quickstart", *arguments)
    assert (workdir / "results" / "table.csv").read_text() == before
    assert sorted((workdir / "checkpoints" / "seed0").iterdir()) == steps


@pytest.mark.slow
def test_train_then_evaluate_named_detectors(tmp_path):
    flagfile = tmp_path / "tiny.cfg"
    flagfile.write_text("--benchmark=digits_tiny\n--epochs=1\n--schedule=step\n")
    launch("train", f"--flagfile={flagfile}", f"--workdir={tmp_path / 'run'}")
    arguments = (
        "--benchmark=digits_tiny",
        f"--checkpoint={tmp_path / 'run'}",
        f"--output={tmp_path / 'results'}",
        "--detectors=msp, ours=ta(k=0.1)|fuse(feature_sim(), energy(), weights=(1, 2))",
    )
    printed = launch("evaluate", *arguments)
    assert "ours" in printed
    assert {path.name for path in (tmp_path / "results").iterdir()} == RESULTS
    again = launch("evaluate", *arguments, ok=False)
    assert "exists already" in again
    other = [a for a in arguments if "output" not in a]
    wrong = launch(
        "evaluate",
        *other,
        f"--output={tmp_path / 'b'}",
        "--model=resnet18_cifar",
        ok=False,
    )
    assert "another architecture" in wrong
    assert "Traceback" not in wrong
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("job", "arguments", "message"),
    [
        ("train", ["--workdir=x", "--model=resnet19"], "resnet18"),
        ("train", [], "workdir"),
        ("quickstart", ["--detectors=mps"], "Did you mean msp"),
        ("quickstart", ["--detectors=react(p=90)|energy()"], "Its signature: react(q"),
        ("quickstart", ["--epochs=0"], "epochs"),
        (
            "evaluate",
            ["--checkpoint=/nonexistent", "--output=/tmp/never"],
            "no checkpoint folder",
        ),
    ],
)
def test_wrong_flags_fail_at_once_with_the_valid_ones(job, arguments, message):
    printed = launch(job, *arguments, ok=False)
    assert message in printed


@pytest.mark.slow
@pytest.mark.parametrize("job", ["train", "evaluate", "quickstart"])
def test_help_describes_the_job_and_its_flags(job):
    done = subprocess.run(
        [sys.executable, str(ROOT / "launch" / f"{job}.py"), "--help"],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert f"python launch/{job}.py" in done.stdout
    assert "--batch_size" in done.stdout
