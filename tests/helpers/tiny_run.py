"""A run of seconds: a narrow network on a few of the embedded images."""

import dataclasses

from jood import models
from jood.data import benchmarks
from jood.training import config
from jood.training import data as data_lib

# A constant rate: a step is the same program however many epochs a run has.
CONFIG = config.TrainConfig(
    benchmark="digits_tiny",
    epochs=2,
    batch_size=64,
    warmup_epochs=0.5,
    schedule="constant",
)
STEPS = 4  # of an epoch
MODEL = models.create("resnet_small", 8, width=8, stage_sizes=(1, 1))


def few(examples=256):
    """The benchmark with so many training images."""
    whole = benchmarks.get("digits_tiny")
    images, labels = whole.id_train.images, whole.id_train.labels
    train = dataclasses.replace(
        whole.id_train, images=images[:examples], labels=labels[:examples]
    )
    return dataclasses.replace(whole, id_train=train)


def data(examples=256, held_out=0):
    return data_lib.of_benchmark(few(examples), held_out)
