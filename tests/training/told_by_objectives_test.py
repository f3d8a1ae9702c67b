"""What objectives tell of a run: refusals at its start, advice after an epoch."""

import logging
import re

from helpers import random_run
import numpy as np
import pytest

from jood.training import loop
from jood.training import objectives
from jood.training import periodic

pytestmark = pytest.mark.slow
ADVICE = r"queue is {} full after the first of 2 epochs\. Outliers begin only when"


def train(folder, run, **keeping):
    config, data = run
    options = periodic.LoopOptions(**keeping)
    return loop.train(config, data, random_run.MODEL, folder, keeping=options)


@pytest.mark.parametrize(
    "keeping",
    [
        {},
        {"log_every": 1},
        {"log_every": 3, "checkpoint_every": 100, "validate_every": 0},
    ],
)
def test_queues_that_do_not_fill_are_told_after_the_first_epoch(
    tmp_path, caplog, keeping
):
    """Whatever rows the log has: four images of each class come in a step."""
    with caplog.at_level(logging.WARNING, "jood"):
        train(tmp_path / "long", random_run.of("vos(queue=100, draws=8)"), **keeping)
    (told,) = (r.getMessage() for r in caplog.records if "queue" in r.getMessage())
    assert re.search(ADVICE.format("1[0-2]%"), told)  # before the fourth step


def test_a_class_without_images_is_told_and_queues_that_fill_are_not(tmp_path, caplog):
    text = "vos(queue=2, draws=8)"
    with caplog.at_level(logging.WARNING, "jood"):
        train(tmp_path / "all", random_run.of(text))
        assert "queue" not in caplog.text
        train(tmp_path / "two", random_run.of(text, classes=2))
    assert re.search(ADVICE.format("0%"), caplog.text)
    assert "see whether a class lacks images" in caplog.text


@pytest.fixture
def anchors(tmp_path):
    """A file of text embeddings of three classes."""
    path = tmp_path / "texts.npz"
    np.savez(path, text=np.random.default_rng(0).normal(size=(3, 5)))
    return str(path)


def test_what_an_objective_refuses_is_told_before_anything_is_written(
    tmp_path, anchors
):
    refused = {
        "leave outlier_batch_size out": random_run.of(
            "mixoe", outliers=True, outlier_batch_size=6
        ),
        "grid=32 is more than the 16 x 16 pixels": random_run.of(
            f"tagfog(anchors={anchors!r}, grid=32)"
        ),
        "tagfog needs anchors": random_run.of("tagfog"),
        "mos needs at most as many groups as classes": random_run.of("mos"),
        "must be divisible by the 2 devices, got 9": random_run.of(
            "cross_entropy", batch_size=9
        ),
    }
    for message, run in refused.items():
        with pytest.raises(ValueError, match=message):
            train(tmp_path / "run", run)
        assert not (tmp_path / "run").exists(), message


def test_looking_beforehand_traces_no_step_twice(tmp_path, monkeypatch):
    traces = []

    def counting() -> objectives.Objective:
        plain = objectives.cross_entropy()

        def loss(outputs, key):
            traces.append(outputs)
            return plain.loss(outputs, key)

        return plain._replace(spec="counting()", loss=loss)

    monkeypatch.setattr(
        objectives, "_FACTORIES", {**objectives._FACTORIES, "counting": counting}
    )
    train(tmp_path / "run", random_run.of("counting", epochs=1))
    assert len(traces) == 1
