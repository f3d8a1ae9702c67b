"""Checks that a run's data and model agree with its configuration.

A configuration is kept beside the checkpoints and read by whoever opens them, so it
must be true: the loop does what it says, or refuses, with all differences at once.
"""

from collections.abc import Iterator
from typing import Any

from flax import linen as nn

from jood import models
from jood.training import augmentation
from jood.training.config import TrainConfig
from jood.training.data import TrainingData
from jood.weights.checkpoint import TrainedNetwork


def check(config: TrainConfig, data: TrainingData, model: nn.Module) -> None:
    """Compares a configuration with the data and the model that are to be trained.

    Raises:
      ValueError: They differ; the message names each field.
    """
    problems = [*_of_data(config, data), *_of_model(config, data, model)]
    if problems:
        raise ValueError(
            "the configuration does not agree with what the run is given: "
            f"{'; '.join(problems)}. Change one of the two."
        )


def check_preprocessing(
    config: TrainConfig, data: TrainingData, network: TrainedNetwork
) -> None:
    """Raises ValueError if data are not normalised as a network was trained with."""
    own, used = network.preprocessing, data.preprocessing
    if (own.mean, own.std) != (used.mean, used.std):
        raise ValueError(
            f"the network in init_from={config.init_from} was trained with mean "
            f"{own.mean} and std {own.std}, but the data are opened with {used.mean} "
            f"and {used.std}. Open them with its own: open_data(config, "
            "preprocessing=network.preprocessing)."
        )


def architecture(
    config: TrainConfig, data: TrainingData, model: nn.Module
) -> dict[str, Any] | None:
    """Returns a model's fields where it is not simply `config.model`; else None."""
    if config.model not in models.names():
        return None
    usual = models.create(config.model, len(data.class_names), dtype=config.dtype)
    own = models.describe(model)
    return None if own == models.describe(usual) else own


def _of_data(config: TrainConfig, data: TrainingData) -> Iterator[str]:
    given = {
        "benchmark": data.name,
        "images": data.folders[0],
        "validation": data.folders[1],
        "image_size": data.image_size,
        "hold_out": data.hold_out,
        "outliers": data.outliers_from,
    }
    for name, value in given.items():
        if getattr(config, name) != value:
            yield f"{name} is {getattr(config, name)!r}, that of the data {value!r}"
    shape, wanted = data.train[0]["image"].shape, data.image_shape
    wider = augmentation.crops(config.augment) and min(shape[:2]) >= data.image_size
    if shape != wanted and not (wider and shape[2:] == wanted[2:]):
        yield (
            f"images of {shape} (height, width, channels) are neither {wanted} nor "
            "larger ones that 'crop' or 'resized_crop' of augment would cut"
        )


def _of_model(config: TrainConfig, data: TrainingData, model: nn.Module) -> list[str]:
    problems = []
    classes = len(data.class_names)
    num_classes = getattr(model, "num_classes", classes)
    if num_classes != classes:
        problems.append(f"the model has {num_classes} classes, the data {classes}")
    if getattr(model, "dtype", config.dtype) != config.dtype:
        problems.append(f"dtype is {config.dtype!r}, that of the model {model.dtype!r}")
    if config.model in models.names():
        wanted = type(models.create(config.model, max(classes, 1)))
        if type(model) is not wanted:
            problems.append(
                f"model is {config.model!r}, a {wanted.__name__}, but what is to be "
                f"trained is a {type(model).__name__} (a network of your own needs a "
                "name that no model of jood has)"
            )
    elif models.describe(model) is not None:
        problems.append(
            f"model is {config.model!r}, which no model of jood is called, but what is "
            f"to be trained is a {type(model).__name__} of jood"
        )
    return problems
