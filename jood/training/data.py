"""What a run trains on: the ID training set of a benchmark, and a part held out."""

import dataclasses
import os

import numpy as np

from jood.core.preprocessing import Preprocessing
from jood.data import benchmarks
from jood.data import sources
from jood.data.benchmarks import choose_preprocessing
from jood.data.benchmarks import opening
from jood.data.sources import Source
from jood.data.sources.subset import hold_out
from jood.data.sources.subset import part
from jood.training.config import TrainConfig

IN_MEMORY_SIZE = 64  # up to this side, in pixels, images are decoded once
_FEWEST = 10  # held-out images that a validation makes sense with
_WATCHED = 20  # without images held out, the validation takes every 20th


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingData:
    """What a network is trained and validated on.

    Attributes:
      name: Name of the benchmark.
      train: Labelled images uint8; larger than the network's if they are to be cropped.
      validation: Labelled images of the network's size, held out or some of `train`.
      preprocessing: Normalises images on the device.
      class_names: One per class.
      image_size: Side of the network's images, in pixels.
    """

    name: str
    train: Source
    validation: Source
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    image_size: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The network's images, (H, W, C)."""
        return self.image_size, self.image_size, len(self.preprocessing.mean)


def open_data(
    config: TrainConfig,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    preprocessing: Preprocessing | None = None,
    skip_corrupt: bool = False,
) -> TrainingData:
    """Opens the training set of a run.

    Args:
      config: The run's benchmark, image size, augmentation and held-out part.
      data_dir: Folder of the data sets; None for JOOD_DATA_DIR.
      preprocessing: The one of a network to train further; None for the benchmark's.
      skip_corrupt: Whether another image stands for one that cannot be read.

    Raises:
      FileNotFoundError: The training set is not there.
    """
    spec, size = benchmarks.describe(config.benchmark), config.image_size
    if benchmarks.is_embedded(config.benchmark):
        benchmark = benchmarks.get(
            config.benchmark, image_size=size, preprocessing=preprocessing
        )
        return of_benchmark(benchmark, config.hold_out)
    fitted = choose_preprocessing.for_files(spec, preprocessing, size)

    def opened(fit: Preprocessing) -> tuple[Source, tuple[str, ...]]:
        source, names = opening.open_training_set(
            spec, data_dir, fit, skip_corrupt=skip_corrupt
        )
        in_memory = size <= IN_MEMORY_SIZE and not skip_corrupt
        return sources.materialise(source) if in_memory else source, names

    whole, names = opened(fitted)
    cropped = "crop" in config.augment
    wider = _before_crop(fitted, spec.image_size) if cropped else fitted
    train, validation = _parts(whole, config.hold_out)
    if wider != fitted:
        train, _ = _parts(opened(wider)[0], config.hold_out)
    return TrainingData(spec.name, train, validation, fitted, names, size)


def of_benchmark(benchmark: benchmarks.Benchmark, held_out: int = 0) -> TrainingData:
    """Returns the training data of a benchmark that is open already."""
    name, images = benchmark.name, benchmark.id_train
    if "label" not in images[0]:
        raise ValueError(f"training needs labels; the ID images of {name} have none.")
    return TrainingData(
        name,
        *_parts(images, held_out),
        benchmark.preprocessing,
        benchmark.class_names,
        benchmark.image_size,
    )


def _before_crop(fitted: Preprocessing, own_side: int) -> Preprocessing:
    """The square that a random crop is cut from: that of the resized shorter side.

    Small images that are enlarged (CIFAR's to 224) are enlarged further, as ImageNet's
    are, 256 for 224: the zeros that are else put around them would be background.
    """
    if fitted.crop is None and isinstance(fitted.resize, tuple):
        side = max(fitted.resize)
        wider = round(side * 8 / 7) if side > own_side else side
        return dataclasses.replace(fitted, resize=(wider, wider))
    if fitted.crop is None or fitted.resize is None:
        return fitted
    side = fitted.resize if isinstance(fitted.resize, int) else min(fitted.resize)
    return dataclasses.replace(fitted, crop=max(side, fitted.crop))


def _parts(source: Source, held_out: int) -> tuple[Source, Source]:
    if not held_out:
        watched = np.arange(0, len(source), min(_WATCHED, len(source)))
        return source, part(source, watched)
    if len(source) < _FEWEST * held_out:
        raise ValueError(
            f"holding out one image in {held_out} leaves fewer than {_FEWEST} of "
            f"{len(source)} for the validation. Choose a smaller --hold_out."
        )
    kept, held = hold_out(source, held_out)
    return part(source, kept.indices), part(source, held.indices)
