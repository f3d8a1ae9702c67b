"""`--help` and `--dry_run` of every job."""

import subprocess
import sys

from helpers.jobs import ROOT
import pytest

# The jobs with the most flags; each takes seconds to start.
JOBS = ("convert", "evaluate", "finetune", "fit", "score", "score_ray", "train")
pytestmark = pytest.mark.slow


def run(job, *arguments):
    done = subprocess.run(
        [sys.executable, str(ROOT / "launch" / f"{job}.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("job", JOBS)
def test_help_fits_a_screen_and_shows_an_example(job):
    shown = run(job, "--help")
    lines = shown.splitlines()
    assert f"python launch/{job}.py" in shown
    assert len(lines) <= 55
    assert max(map(len, lines)) <= 110
    flags = [line.split()[0] for line in lines if line.startswith("  --")]
    assert flags, "no flag is listed"
    assert all(line.split(maxsplit=1)[-1].strip() != "..." for line in lines if line)


@pytest.mark.parametrize(
    ("job", "says"),
    [
        ("train", "train resnet_small with cross_entropy() on 1,010 images"),
        ("quickstart", "compare 26 detectors: MSP, MSP+TA"),
        ("finetune", "fine-tune resnet_small_8x8, pre-trained for it, with lff("),
    ],
)
def test_a_dry_run_tells_and_writes_nothing(tmp_path, job, says):
    target = tmp_path / "run"
    shown = run(job, "--benchmark=digits_tiny", f"--workdir={target}", "--dry_run")
    assert "dry run, nothing is written" in shown
    assert says in shown
    assert not target.exists()
