"""A run that is stopped while outliers are drawn ends as one that is not, bit for bit.

Everything of its last state is compared: parameters and heads, queues and prototypes,
the optimiser's state and the random key.
"""

import os
import signal

from helpers import random_run
import jax
import numpy as np
import pytest

from jood.training import loop
from jood.training import metric_logs
from jood.training import periodic
from jood.training import preemption
from jood.weights import run_checkpoint

pytestmark = pytest.mark.slow
STOP = random_run.PER_EPOCH + 1  # a validation after an epoch asks to stop
STEPS = 2 * random_run.PER_EPOCH
KEEPING = periodic.LoopOptions(log_every=1)
# Queues of two features are full after a few steps, and then they turn.
TEXTS = {
    "cider": "cider(width=4)",
    "csi": "csi(width=4)",
    "csi_labelled": "csi('labelled', width=4)",
    "mos": "mos(groups=2, mixup=0.5)",
    "npos": "npos(start=0, width=4, queue=2, k=2, select=2, draws=4, points=2)",
    "outlier_exposure": "outlier_exposure()",
    "vos": "vos(start=0, queue=2, draws=8)",
}
# What the log says of outliers: 0 in a step without any.
OUTLIERS = {
    "npos": "outlier_loss",
    "outlier_exposure": "outlier_loss",
    "vos": "virtual_outliers",
}
BESIDE = ("outlier_exposure",)  # whose outliers are a stream of their own


def digest(folder):
    with run_checkpoint.manager(folder, create=False) as opened:
        return run_checkpoint.position(opened, STEPS)[run_checkpoint.DIGEST]


def logged(folder):
    rows = metric_logs.read(folder / "train.csv")
    return [{**row, "images_per_second": ""} for row in rows]


@pytest.mark.parametrize("name", TEXTS)
def test_a_run_that_is_stopped_ends_with_the_state_of_one_that_is_not(name, tmp_path):
    config, data = random_run.of(
        TEXTS[name], outliers=name in BESIDE, augment=("crop", "flip")
    )

    def train(folder, **how):
        where = tmp_path / folder
        return loop.train(config, data, random_run.MODEL, where, keeping=KEEPING, **how)

    def stop(_):
        os.kill(os.getpid(), signal.SIGTERM)
        return {}

    whole = train("whole")
    with pytest.raises(preemption.StoppedError, match=f"step {STOP} of {STEPS}"):
        train("stopped", validate=stop)
    resumed = train("stopped")
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)
    assert digest(tmp_path / "stopped") == digest(tmp_path / "whole")
    rows = logged(tmp_path / "stopped")
    assert rows == logged(tmp_path / "whole")
    assert len(rows) == STEPS
    if name in OUTLIERS:
        active = [float(row[OUTLIERS[name]]) > 0 for row in rows]
        assert all(active[STOP - 2 :])  # before the stop and after it
        assert active[0] == (name in BESIDE)  # queues are empty at first
