"""`--help` and `--dry_run` of every job."""

import os
import signal
import subprocess
import sys

from helpers import tiny_network
from helpers.jobs import ROOT
from helpers.jobs import run_job
import pytest

from jood import models
from jood.data import benchmarks
from jood.weights import checkpoint

# The jobs with the most flags; each takes seconds to start.
JOBS = (
    "convert", "demo", "evaluate", "export", "finetune", "fit", "score", "score_ray",
    "serve", "train",
)  # fmt: skip
pytestmark = pytest.mark.slow


def run(job, *arguments):
    return run_job(job, *arguments)


@pytest.mark.parametrize("job", JOBS)
def test_help_fits_a_screen_and_shows_an_example(job):
    shown = run(job, "--help")
    lines = shown.splitlines()
    assert f"jood {job} " in shown
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 110
    flags = [line.split()[0] for line in lines if line.startswith("  --")]
    assert flags, "no flag is listed"
    assert all(line.split(maxsplit=1)[-1].strip() != "..." for line in lines if line)


def test_help_ends_quietly_where_nobody_reads_on():
    reader, writer = os.pipe()
    os.close(reader)  # as `head` does when it has its lines
    line = [sys.executable, str(ROOT / "launch" / "score.py"), "--help"]
    done = subprocess.run(line, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")


@pytest.mark.parametrize(
    ("job", "says"),
    [
        ("train", ["train resnet_small with cross_entropy() on 1,010 images"]),
        (
            "quickstart",
            [
                "compare 26 detectors: MSP, MSP+TA",
                "HIMPLoS: feature_mask(q=0.2)|react(q=0.8)|prototype_smoot",
                "react(q=0.8): jood: chosen on Gaussian noise, as HIMPLoS",
            ],
        ),
        ("finetune", ["fine-tune resnet_small_8x8, pre-trained for it, with lff("]),
    ],
)
def test_a_dry_run_tells_and_writes_nothing(tmp_path, job, says):
    target = tmp_path / "run"
    shown = run(job, "--benchmark=digits_tiny", f"--workdir={target}", "--dry_run")
    assert "dry run, nothing is written" in shown
    for one in says:
        assert one in shown
    assert not target.exists()


NOTHING_RUNS = """
import runpy, sys
from jood.evaluation import benchmark_run, paper_grids

def refuse(*args, **kwargs):
    raise SystemExit("fitted or scored")

benchmark_run.evaluate = paper_grids.run = refuse
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_dry_run_of_a_selection_fits_and_scores_nothing(tmp_path):
    model = models.create("resnet_small", 8, width=4)
    digits = benchmarks.describe("digits_tiny")
    network = checkpoint.TrainedNetwork(
        model=model,
        variables=tiny_network.random_variables(model),
        name="resnet_small",
        class_names=None,
        preprocessing=next(iter(digits.preprocessing.values())),
        image_size=digits.image_size,
        source={},
    )
    checkpoint.save(tmp_path / "net", network)
    arguments = (
        f"--checkpoint={tmp_path / 'net'}",
        "--benchmark=digits_tiny",
        f"--output={tmp_path / 'results'}",
        "--detectors=msp",
        "--select",
        "--dry_run",
    )
    job = str(ROOT / "launch" / "evaluate.py")
    code = f"import sys; sys.argv = {[job, *arguments]!r}\n{NOTHING_RUNS}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = "msp, FS+TA (selected), Energy+TA+FS (selected), HIMPLoS (selected)"
    assert f"compare 4 detectors: {rows}" in done.stdout
    assert not (tmp_path / "results").exists()
