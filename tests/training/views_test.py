"""What an objective has the network look at: views, outliers, and which epoch it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jood import models
from jood.core.preprocessing import Preprocessing
from jood.training import augmentation
from jood.training import objectives
from jood.training import state as state_lib
from jood.training import step as step_lib
from jood.training.batches import TrainingBatch
from jood.training.config import TrainConfig
from jood.training.optimizer import make_optimizer

MODEL = models.create("resnet_small", 3, width=4, stage_sizes=(1, 1))
OPTIMIZER = make_optimizer(TrainConfig(warmup_epochs=0), 10)
PREPROCESSING = Preprocessing((0.5,) * 3, (0.25,) * 3)
B, M = 4, 6  # ID images and outliers


def batch():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (B, 16, 16, 3)).astype(np.uint8)
    outliers = rng.integers(0, 256, (M, 16, 16, 3)).astype(np.uint8)
    return TrainingBatch(image, np.arange(B, dtype=np.int32) % 3, np.ones(B), outliers)


def asking():
    """Two views, then the outliers; logs what reaches the loss."""

    def images(augmented, batch, key):
        first, second, third = jax.random.split(key, 3)
        views = [augmented(first), augmented(second), augmented(third, batch.outliers)]
        return jnp.concatenate(views), {
            "difference": jnp.abs(views[0] - views[1]).sum()
        }

    def loss(outputs, key):
        logits = outputs.acts.logits
        assert logits.shape == (2 * B + M, 3)
        assert outputs.labels.shape == (B,)
        one = jnp.float32(1)
        return logits.mean(), {
            "epoch": objectives.Part(outputs.epoch, one),
            "difference": objectives.Part(outputs.drawn["difference"], one),
            "mean_width": objectives.Part(
                jnp.float32(outputs.added["sizes"]["K"]), one
            ),
        }

    def init(key, width, classes):
        return {"sizes": {"D": jnp.float32(width), "K": jnp.float32(classes)}}

    return objectives.Objective(
        "asking()", loss, init=init, state=("sizes",), images=images
    )


def make(objective, **options):
    state = state_lib.create_state(MODEL, objective, OPTIMIZER, (16, 16, 3), 0)
    flips = augmentation.build(("crop", "flip"), 16)
    step = step_lib.make_step(
        MODEL, objective, OPTIMIZER, PREPROCESSING, flips, **options
    )
    return state, jax.jit(step)


@pytest.mark.slow
def test_views_outliers_widths_and_the_epoch_reach_the_loss():
    state, step = make(asking(), steps_per_epoch=4)
    state, metrics = step(state.replace(step=jnp.int32(6)), batch())
    assert metrics["epoch"].total == 1.5
    assert metrics["difference"].total > 0
    assert metrics["mean_width"].total == 3
    # Of the ID rows alone, however many images the network looked at.
    assert metrics["accuracy"].count == metrics["loss"].count == B
    assert metrics["zero_features"].count == B * 8


@pytest.mark.slow
def test_parts_of_a_batch_take_their_outliers_with_them():
    state, step = make(asking_for_half(), accumulate=2)
    _, metrics = step(state, batch())
    assert metrics["rows"].total == 2 * (B // 2 + M // 2)


def asking_for_half():
    def images(augmented, batch, key):
        other = augmented(key, batch.outliers)
        return jnp.concatenate([augmented(key), other]), None

    def loss(outputs, key):
        rows = jnp.float32(len(outputs.acts.logits))
        return outputs.acts.logits.mean(), {
            "rows": objectives.Part(rows, jnp.float32(1))
        }

    return objectives.Objective("half()", loss, images=images)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"outliers": "x"}, r"cross_entropy\(\) trains without outliers, got 'x'"),
        ({"outlier_batch_size": 4}, "outlier_batch_size needs outliers"),
        ({"outlier_batch_size": -1}, "outlier_batch_size must be a whole number >= 0"),
    ],
)
def test_outliers_that_nobody_reads_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**fields)
