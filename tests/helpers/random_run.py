"""A run of a few steps on random images: for objectives through the whole loop."""

import numpy as np

from jood import models
from jood.core.preprocessing import Preprocessing
from jood.data.sources import ArraySource
from jood.training import config
from jood.training import data as data_lib

MODEL = models.create("resnet_small", 3, width=4, stage_sizes=(1, 1))
PER_EPOCH, BATCH = 4, 12


def of(objective, *, outliers=False, classes=3, **fields):
    """A configuration and random images of three classes, 12 in a step.

    Args:
      objective: Its text.
      outliers: Whether there are some, half as many as ID images.
      classes: How many of the three have images.
      **fields: Others of the configuration.
    """
    rng = np.random.default_rng(0)
    count = BATCH * PER_EPOCH
    images = rng.integers(0, 256, (count, 16, 16, 3)).astype(np.uint8)
    source = ArraySource(images, np.arange(count) % classes)
    where = "others" if outliers else ""
    data = data_lib.TrainingData(
        "digits_tiny",
        source,
        source,
        Preprocessing((0.5,) * 3, (0.25,) * 3),
        ("a", "b", "c"),
        16,
        outliers=ArraySource(255 - images[::2]) if outliers else None,
        outliers_from=where,
    )
    given = {"epochs": 2, "batch_size": BATCH, "warmup_epochs": 0.5, **fields}
    return config.TrainConfig(
        benchmark="digits_tiny",
        image_size=16,
        objective=objective,
        outliers=where,
        **given,
    ), data
