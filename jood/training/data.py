"""What a run trains on: a benchmark's ID training set or folders, a part held out."""

from collections.abc import Sequence
import dataclasses
import os

import numpy as np

from jood.core.preprocessing import Preprocessing
from jood.data import benchmarks
from jood.data import id_splits
from jood.data import own_folders
from jood.data import sources
from jood.data.benchmarks import choose_preprocessing
from jood.data.benchmarks import opening
from jood.data.sources import Skipping
from jood.data.sources import Source
from jood.data.sources.image_folder import ImageFolder
from jood.data.sources.subset import hold_out
from jood.data.sources.subset import part
from jood.training import augmentation
from jood.training import outliers
from jood.training.config import TrainConfig

IN_MEMORY_SIZE = 64  # up to this side, in pixels, images are decoded once
_FEWEST = 10  # held-out images that a validation makes sense with
_WATCHED = 20  # without images held out, the validation takes every 20th


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingData:
    """What a network is trained and validated on.

    Attributes:
      name: Name of the benchmark; 'folders' for the user's own images.
      train: Labelled images uint8; larger than the network's if they are to be cropped.
      validation: Labelled images of the network's size, held out or some of `train`.
      preprocessing: Normalises images on the device.
      class_names: One per class.
      image_size: Side of the network's images, in pixels.
      hold_out: One image in so many of the training set is validated on; 0: none is
        held out.
      folders: The folders of images and of validation images; '' without.
      outliers: Images that are not ID, uint8 and of the network's size; None without.
      outliers_from: Origin of the outliers, as `TrainConfig.outliers` names it.
    """

    name: str
    train: Source
    validation: Source
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    image_size: int
    hold_out: int = 0
    folders: tuple[str, str] = ("", "")
    outliers: Source | None = None
    outliers_from: str = ""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The network's images, (H, W, C)."""
        return self.image_size, self.image_size, len(self.preprocessing.mean)


def open_data(
    config: TrainConfig,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    preprocessing: Preprocessing | None = None,
    class_names: Sequence[str] | None = None,
    skip_corrupt: bool = False,
    in_memory: bool = True,
) -> TrainingData:
    """Opens the training set of a run.

    Args:
      config: The run's benchmark or folders, image size, augmentation and held-out
        part.
      data_dir: Folder of the data sets; None for JOOD_DATA_DIR.
      preprocessing: The one of a network to train further; None for the benchmark's,
        or for folders ImageNet's mean and standard deviation. Its means are as many as
        images get channels.
      class_names: The order of the labels in folders of the user's own; None for
        that of their names.
      skip_corrupt: Whether another image stands for one that cannot be read.
      in_memory: Whether small images are all read now, so that they are decoded once.

    Raises:
      FileNotFoundError: The training set is not there, or the outliers are not.
      ValueError: It has no labels, or a folder of data is given that is not read; or
        the outliers are images of the benchmark's OOD sets.
    """
    keep = in_memory and not skip_corrupt and config.image_size <= IN_MEMORY_SIZE
    data = _open_id(config, data_dir, preprocessing, class_names, skip_corrupt, keep)
    return with_outliers(data, config, data_dir, skip_corrupt)


def with_outliers(
    data: TrainingData,
    config: TrainConfig,
    data_dir: str | os.PathLike[str] | None = None,
    skip_corrupt: bool = False,
) -> TrainingData:
    """Returns data with the outliers of a configuration, if it names any.

    Arguments and errors are those of `open_data`.
    """
    if not config.outliers:
        return data
    source = outliers.open_outliers(
        config.outliers,
        config.benchmark,
        data.preprocessing,
        config.image_size,
        data_dir,
    )
    if skip_corrupt:
        source = Skipping(source)
    return dataclasses.replace(data, outliers=source, outliers_from=config.outliers)


def _open_id(
    config: TrainConfig,
    data_dir: str | os.PathLike[str] | None,
    preprocessing: Preprocessing | None,
    class_names: Sequence[str] | None,
    skip_corrupt: bool,
    keep: bool,
) -> TrainingData:
    """The ID images of `open_data`."""
    if config.images:
        if data_dir is not None:
            raise ValueError(
                f"--data_dir={os.fspath(data_dir)} is for benchmarks, and "
                f"--images={config.images} are your own: leave one of them out."
            )
        return _of_folders(config, preprocessing, class_names, skip_corrupt, keep)
    spec, size = benchmarks.describe(config.benchmark), config.image_size
    if benchmarks.is_embedded(config.benchmark):
        benchmark = benchmarks.get(
            config.benchmark,
            data_dir=data_dir,
            image_size=size,
            preprocessing=preprocessing,
        )
        return of_benchmark(benchmark, config.hold_out)
    fitted = choose_preprocessing.for_files(spec, preprocessing, size)

    def opened(fit: Preprocessing) -> tuple[Source, tuple[str, ...]]:
        source, names = opening.open_training_set(
            spec, data_dir, fit, skip_corrupt=skip_corrupt
        )
        return sources.materialise(source) if keep else source, names

    whole, names = opened(fitted)
    cropped = augmentation.crops(config.augment)
    wider = _before_crop(fitted, spec.image_size) if cropped else fitted
    train, validation = _parts(whole, config.hold_out)
    if wider != fitted:
        train, _ = _parts(opened(wider)[0], config.hold_out)
    return TrainingData(
        spec.name, train, validation, fitted, names, size, config.hold_out
    )


def _of_folders(
    config: TrainConfig,
    preprocessing: Preprocessing | None,
    class_names: Sequence[str] | None,
    skip_corrupt: bool,
    keep: bool,
) -> TrainingData:
    """The folders that a configuration names."""
    size = config.image_size
    fitted = id_splits.sized(preprocessing or own_folders.PHOTOGRAPHS, size)
    if fitted.fixed_size != (size, size):
        raise ValueError(
            f"image_size={size}, but the network's preprocessing makes images of "
            f"{fitted.fixed_size} pixels (height, width). Leave --image_size out."
        )
    cropped = augmentation.crops(config.augment)
    wider = _before_crop(fitted, size) if cropped else fitted

    def opened(fit: Preprocessing) -> tuple[ImageFolder, ImageFolder | None]:
        folders = config.images, config.validation or None
        return own_folders.training_sets(*folders, fit, class_names)

    def kept(source: ImageFolder) -> Source:
        given = Skipping(source) if skip_corrupt else source
        return sources.materialise(given) if keep else given

    folder, other = opened(fitted)
    whole = kept(folder)
    train, validation = _parts(whole, config.hold_out)
    if wider != fitted:
        train, _ = _parts(kept(opened(wider)[0]), config.hold_out)
    return TrainingData(
        own_folders.NAME,
        train,
        validation if other is None else kept(other),
        fitted,
        tuple(folder.class_names or ()),
        size,
        config.hold_out,
        (config.images, config.validation),
    )


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
        held_out,
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
