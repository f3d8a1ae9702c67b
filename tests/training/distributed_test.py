"""One run on 1, 2 and 8 devices and in 2 processes: the same loss curve.

A ReLU that rounding flips changes a gradient by 1e-3 of its norm, and a location that
it moves across δ or γ changes the loss; so curves of equal arithmetic drift apart at
the pace of the learning rate. It is small here, and the network is a trained one.
"""

import csv
import socket
import time

from helpers import narrow_model
from helpers.jobs import start_job
import numpy as np
import pytest

from jood.training import metric_logs

pytestmark = pytest.mark.slow
RATE = (
    "--learning_rate=1e-4",
    "--schedule=constant",
    "--optimizer=sgd",
    "--momentum=0",
    "--warmup_epochs=0",
)


def start(workdir, *arguments, **how):
    where = ("--benchmark=digits_tiny", f"--workdir={workdir}")
    return start_job("train", *narrow_model.FLAGS, *where, *arguments, **how)


def finish(*jobs):
    everything = ""
    for job in jobs:
        printed, _ = job.communicate(timeout=500)
        assert job.returncode == 0, printed
        everything += printed
    return everything


def last_step(workdir):
    path = workdir / "train.csv"
    rows = metric_logs.read(path) if path.exists() else []
    return int(rows[-1]["step"]) if rows else 0


def curve(workdir):
    with (workdir / "train.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    finish(start(folder, "--epochs=8", "--validate_every=0"))
    return folder


@pytest.mark.parametrize("objective", ["lff(mu=0.2)", "ssod(gamma=0.8, balance='dr')"])
def test_the_loss_curve_is_the_same_however_a_run_is_spread(
    trained, tmp_path, objective
):
    arguments = (
        f"--init_from={trained}",
        f"--objective={objective}",
        "--augment=crop,flip,jitter",
        "--epochs=1",
        "--log_every=1",
        *RATE,
    )
    curves = {}
    for devices in (1, 2, 8):
        folder = tmp_path / str(devices)
        finish(start(folder, *arguments, devices=devices))
        curves[devices] = curve(folder)
    together = (
        *arguments,
        f"--coordinator=localhost:{free_port()}",
        "--processes=2",
    )
    finish(
        *(
            start(tmp_path / "processes", *together, f"--process_index={index}")
            for index in range(2)
        )
    )
    curves["2 processes"] = curve(tmp_path / "processes")
    assert len(curves[1]) == 7
    for name, found in curves.items():
        np.testing.assert_allclose(found, curves[1], rtol=1e-5, err_msg=str(name))


def test_a_cluster_says_who_the_processes_are_and_sigterm_to_one_stops_all(tmp_path):
    """Two SLURM nodes, as two processes see them."""

    def task(index, port, job):
        return start(
            tmp_path / "run",
            "--cluster",
            "--epochs=300",
            "--log_every=2",
            SLURM_JOB_ID=job,
            SLURM_STEP_NODELIST="localhost",
            SLURM_NTASKS="2",
            SLURM_PROCID=str(index),
            SLURM_LOCALID="0",
            SLURM_STEP_NUM_NODES="2",
            JAX_COORDINATOR_PORT=port,
        )

    reached = 0
    for _ in range(2):  # the second time it resumes there
        port, job = str(free_port()), str(free_port())
        jobs = [task(index, port, job) for index in range(2)]
        while last_step(tmp_path / "run") <= reached:
            assert all(job.poll() is None for job in jobs), jobs[0].communicate()
            time.sleep(0.05)
        jobs[1].terminate()
        printed = finish(*jobs)
        assert (f"continuing at step {reached} of" in printed) == (reached > 0)
        reached = last_step(tmp_path / "run")
        assert (tmp_path / "run" / str(reached)).is_dir()
        assert reached < 300 * 7


def test_processes_that_disagree_about_themselves_are_told():
    job = start("x", "--coordinator=localhost:1", "--processes=2")
    printed, _ = job.communicate(timeout=100)
    assert job.returncode == 1
    assert "joined by coordinator, count and index together" in printed
    assert "index=None" in printed
    assert "Traceback" not in printed


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]
