"""A network that is switching off ends its run; others train on."""

import dataclasses

from helpers import tiny_network
from helpers import tiny_run
import jax.numpy as jnp
import numpy as np
import pytest

from jood.training import loop
from jood.training import metric_logs
from jood.training import objectives
from jood.training import switching_off
from jood.training.objectives import Part

HEALTHY = (0.99, 0.4)


def metrics(accuracy, zeros):
    return {
        "accuracy": Part(np.float32(accuracy * 8), np.float32(8)),
        "zero_features": Part(np.float32(zeros * 80), np.float32(80)),
        "loss": Part(np.float32(1), np.float32(1)),
    }


def rows(folder, first, *epochs, start=0):
    """Lets a guard see a first step and epochs of 5 steps after it."""
    guard = switching_off.Guard(folder, start, 5)
    if first:
        guard.begin(metrics(*first))
    for number, (accuracy, zeros) in enumerate(epochs, start=start // 5 + 1):
        row = {"accuracy": accuracy, "zero_features": zeros}
        guard.check(5 * number - 1, row, lambda: None)  # in mid-epoch
        guard.check(5 * number, row, lambda: folder / "5")


@pytest.mark.parametrize(
    "epochs",
    [
        [(0.98, 0.92), (0.99, 0.95)],  # LFF's zeros, without harm
        [(0.2, 0.45), (0.1, 0.5)],  # accuracy alone: diverging, not switching off
        [(0.2, 0.9), (0.6, 0.9), (0.3, 0.9), (0.7, 0.8)],  # it recovers each time
        [(0.6, 0.9), (0.55, 0.99)],  # not yet half
    ],
)
def test_others_train_on(tmp_path, epochs):
    rows(tmp_path, HEALTHY, *epochs)


@pytest.mark.parametrize("first", [HEALTHY, (0.1, 0.5)])
def test_two_bad_epochs_end_it_with_advice(tmp_path, first):
    epochs = [(0.95, 0.4)] * (first != HEALTHY) + [(0.3, 0.8), (0.12, 0.97)]
    best = "in the first step" if first == HEALTHY else "in epoch 1"
    message = (
        rf"switching off: {best} the accuracy was 9\d.\d% with 40% of the features 0; "
        rf"in epoch {len(epochs)} it is 12.0% with 97%.*--warmup_epochs.*lam=0.3"
        rf".*checkpoint is {tmp_path}/5"
    )
    with pytest.raises(FloatingPointError, match=message):
        rows(tmp_path, first, *epochs)


def test_a_resumed_run_remembers_the_epochs_of_its_log(tmp_path):
    with metric_logs.Log(tmp_path, 0) as log:
        for step, accuracy in ((4, 0.1), (5, 0.9), (10, 0.2)):
            row = {"accuracy": accuracy, "zero_features": 1.04 - accuracy}
            log.write(metric_logs.TRAIN, step, row)
    with pytest.raises(FloatingPointError, match="in epoch 1 the accuracy was 90"):
        rows(tmp_path, (0.2, 0.9), (0.1, 0.97), start=10)
    rows(tmp_path, (0.2, 0.9), (0.1, 0.97), start=5)  # from before the bad one


@pytest.mark.slow
def test_a_run_that_switches_its_features_off_is_ended(tmp_path, monkeypatch):
    """Fine-tuning that is asked for zeros and for wrong answers."""

    def harmful() -> objectives.Objective:
        def loss(outputs, _):
            right = outputs.acts.logits[:, 0] - outputs.acts.logits[:, 1]
            return (right + 5 * outputs.acts.penultimate.sum(-1)).mean(), {}

        return objectives.Objective("harmful()", loss)

    known = {**objectives._FACTORIES, "harmful": harmful}
    monkeypatch.setattr(objectives, "_FACTORIES", known)
    config = dataclasses.replace(
        tiny_run.CONFIG, objective="harmful", epochs=40, warmup_epochs=0
    )
    data = tiny_run.data()
    labels = np.zeros_like(data.train.labels)
    data = dataclasses.replace(
        data, train=dataclasses.replace(data.train, labels=labels)
    )
    variables = tiny_network.random_variables(tiny_run.MODEL)
    variables["params"]["head"]["bias"] = jnp.arange(8, 0, -1, jnp.float32)
    variables["params"]["head"]["kernel"] *= 0.01
    with pytest.raises(FloatingPointError, match="switching off: in the first step"):
        loop.train(config, data, tiny_run.MODEL, tmp_path, variables=variables)
    assert len(metric_logs.read(tmp_path / "train.csv")) < 40
