"""What happens to a run when its process is killed or its disk is full or gone."""

import csv
import os
import random
import signal
import subprocess
import time

from helpers import narrow_model
from helpers.jobs import run_job
from helpers.jobs import start_job
import jax
import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator

import jood
from jood import models
from jood.weights import checkpoint

pytestmark = pytest.mark.slow
STEPS, EPOCH = 35, 7
FLAGS = (
    *narrow_model.FLAGS,
    "--benchmark=digits_tiny",
    "--epochs=5",
    "--hold_out=10",
    # Its queues are state, full after 2 steps; outliers are drawn from the fourth on.
    "--objective=vos(start=0.5, queue=20, draws=100)",
    "--augment=crop,flip,jitter",
    "--checkpoint_every=2",
    "--log_every=1",
)


def start(workdir, *arguments, **how):
    return start_job("train", *FLAGS, f"--workdir={workdir}", *arguments, **how)


def run(workdir, *arguments, **how):
    return run_job("train", *FLAGS, f"--workdir={workdir}", *arguments, **how)


def rows(workdir, name="train"):
    path = workdir / f"{name}.csv"
    if not path.exists():
        return []
    with path.open() as file:
        return list(csv.DictReader(file))


def without_time(workdir):
    return [{**row, "images_per_second": ""} for row in rows(workdir)]


def checkpoints(workdir):
    if not workdir.exists():
        return []
    return sorted(int(p.name) for p in workdir.iterdir() if p.name.isdigit())


def same_network(one, other):
    one, other = (checkpoint.open(folder).variables for folder in (one, other))
    jax.tree.map(np.testing.assert_array_equal, dict(one), dict(other))


@pytest.fixture(autouse=True)
def narrow_networks_are_known(monkeypatch):
    monkeypatch.setattr(models, "_FAMILIES", dict(models._FAMILIES))
    jood.register(narrow_model.FAMILY)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(folder)
    return folder


def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(whole, tmp_path):
    seed = random.SystemRandom().randrange(10**6)
    print("seed of the kills", seed)  # shown if the test fails
    rng = random.Random(seed)
    folder = tmp_path / "killed"
    for _ in range(4):
        job = start(folder)
        begun = len(rows(folder))
        while len(rows(folder)) <= begun and job.poll() is None:
            time.sleep(0.02)  # until it trains
        time.sleep(rng.uniform(0, 1.0))  # in a step, a save or a validation
        job.send_signal(signal.SIGKILL)
        job.communicate()
        if len(rows(folder)) >= STEPS:
            break
    assert "continuing at step" in run(folder)
    assert [int(row["step"]) for row in rows(folder)] == list(range(1, STEPS + 1))
    assert without_time(folder) == without_time(whole)
    begun = [float(row["virtual_outliers"]) > 0 for row in rows(folder)]
    assert begun.index(True) < EPOCH
    assert all(begun[EPOCH:])
    events = event_accumulator.EventAccumulator(str(folder)).Reload()
    logged = [event.step for event in events.Scalars("train/loss")]
    assert logged == list(range(1, STEPS + 1))
    assert rows(folder, "validation") == rows(whole, "validation")
    same_network(folder, whole)


def test_sigterm_saves_where_it_is_and_exits_cleanly(whole, tmp_path):
    folder = tmp_path / "stopped"
    job = start(folder)
    while not rows(folder):
        assert job.poll() is None
        time.sleep(0.02)
    job.terminate()
    printed, _ = job.communicate(timeout=100)
    assert job.returncode == 0, printed
    assert "the same command resumes there" in printed
    step = int(rows(folder)[-1]["step"])
    assert checkpoints(folder)[-1] == step
    assert step < STEPS
    assert f"continuing at step {step} of" in run(folder)
    same_network(folder, whole)


def test_a_full_disk_ends_the_run_and_keeps_what_was_whole(whole, tmp_path):
    """A limit on the size of files stands for the full disk."""
    folder = tmp_path / "full"
    run(folder, "--checkpoint_every=0")
    (folder / str(STEPS)).rename(tmp_path / "last")  # as if it had been killed before
    before = checkpoints(folder)
    limited = ["bash", "-c", 'ulimit -f 20; exec "$@"', "limited"]  # KiB
    printed = run(folder, ok=False, prefix=limited)
    # Before it, TensorStore prints errors of its own.
    (message,) = [x for x in printed.splitlines() if x.startswith("error: ")]
    assert "cannot write a checkpoint to" in message
    assert f"The last whole one is {folder}/{before[-1]}" in message
    assert "Free space" in message
    assert checkpoints(folder) == before
    run(folder)  # and now there is space again
    same_network(folder, whole)
    assert not list(folder.glob("*tmp*"))


def test_a_folder_that_is_read_only_is_refused_before_training(tmp_path):
    folder = tmp_path / "there"
    folder.mkdir()
    if os.geteuid() == 0:  # root writes wherever a file system lets it
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)],
            capture_output=True,
        )
        if mounted.returncode:
            pytest.skip("root may not mount a read-only folder here")
    else:
        folder.chmod(0o555)
    try:
        printed = run(folder, ok=False)
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", str(folder)], check=True)
    assert f"cannot write to the run's folder {folder}" in printed
    assert "Traceback" not in printed


def test_two_devices_after_one_go_on_from_the_same_checkpoint(whole, tmp_path):
    """How many devices there are belongs to no run."""
    folder = tmp_path / "moved"
    job = start(folder)
    while len(checkpoints(folder)) < 2:
        assert job.poll() is None
        time.sleep(0.02)
    job.kill()
    job.communicate()
    assert "continuing at step" in run(folder, "--split_state", devices=2)
    assert [int(row["step"]) for row in rows(folder)] == list(range(1, STEPS + 1))


def test_a_nan_stops_with_step_rate_and_checkpoint_on_the_command_line(tmp_path):
    printed = run(tmp_path / "nan", "--learning_rate=1e38", ok=False)
    assert "at learning rate" in printed
    assert "in step" in printed
    assert f"The last good checkpoint is {tmp_path / 'nan'}/" in printed
    assert "Traceback" not in printed
