"""Ctrl-C in a job that computes: it ends with 130, and nothing is half-written."""

import random
import signal
import subprocess
import time

from helpers import jobs
from helpers import narrow_model
import pytest

pytestmark = pytest.mark.slow
TIMES = 1  # of each in every run of the suite; the change's author gave dozens
FLAGS = {
    "train": [
        *narrow_model.FLAGS,
        "--epochs=50",
        "--checkpoint_every=2",
        "--log_every=1",
    ],
    "quickstart": ["--epochs=50", "--detectors=msp(),energy()"],
}


@pytest.mark.parametrize("job", FLAGS)
def test_an_interrupt_ends_a_job_that_computes(job, tmp_path):
    """With a cold compilation cache, so that some of it comes while XLA compiles."""
    seed = random.SystemRandom().randrange(10**6)
    print("seed of the moments", seed)  # shown if the test fails
    rng = random.Random(seed)
    for number in range(TIMES):
        folder = tmp_path / str(number)
        process = jobs.start_job(
            job,
            "--benchmark=digits_tiny",
            f"--workdir={folder}",
            *FLAGS[job],
            prefix=jobs.HEARS_SIGINT,
            JAX_COMPILATION_CACHE_DIR=str(tmp_path / f"cache{number}"),
        )
        while not folder.exists():
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 8))
        process.send_signal(signal.SIGINT)
        try:
            printed, _ = process.communicate(timeout=100)
        except subprocess.TimeoutExpired:
            process.kill()
            pytest.fail(f"it runs on: {process.communicate()[0]}")
        assert process.returncode == 130, printed
        assert "interrupted; nothing is half-written." in printed
        assert "Traceback" not in printed
        assert not list(folder.rglob("*.partial"))
