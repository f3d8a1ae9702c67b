"""Whether an output can be written is known before anything is opened."""

from helpers.jobs import run_job
import pytest

pytestmark = pytest.mark.slow
NOWHERE = "--checkpoint=/nowhere"  # what the jobs would complain of next


@pytest.mark.parametrize(
    ("job", "flags"),
    [
        ("convert", ["--weights=/nowhere", "--model=resnet_small"]),
        ("demo", ["/nowhere"]),
        ("evaluate", [NOWHERE]),
        ("finetune_curves", ["--workdir=/nowhere"]),
        ("fit", [NOWHERE, "--images=/nowhere"]),
        ("score", ["--detector=/nowhere", "--images=/nowhere"]),
        ("sweep", [NOWHERE]),
    ],
)
def test_every_job_with_an_output_tries_it_first(job, flags):
    """Nobody writes to /proc, not even root."""
    printed = run_job(job, *flags, "--output=/proc/new/out", code=1)
    assert "error: cannot write /proc/new/out: " in printed
    assert "choose another place" in printed
    assert "Traceback" not in printed
