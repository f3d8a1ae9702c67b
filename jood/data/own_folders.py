"""Folders of the user's own images in place of a benchmark: to train, to compare.

ID images lie in a folder per class; those of an OOD set in any folder, or in whatever
else `jood.data.inputs` reads. `benchmark` makes of them what `jood.data.benchmarks.get`
returns, so that every job that takes a benchmark takes them.
"""

from collections.abc import Iterable, Mapping, Sequence
import os

from jood.core.preprocessing import Preprocessing
from jood.data import id_splits
from jood.data import inputs
from jood.data.benchmarks.spec import Benchmark
from jood.data.sources import Skipping
from jood.data.sources import Source
from jood.data.sources import folder_hints
from jood.data.sources.image_folder import ImageFolder

NAME = "folders"  # in the place of a benchmark's name, also for the presets
# The mean and standard deviation of ImageNet's pixels, with which photographs are
# usually normalised.
PHOTOGRAPHS = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

Path = str | os.PathLike[str]


def training_sets(
    images: Path,
    validation: Path | None,
    preprocessing: Preprocessing,
    class_names: Sequence[str] | None = None,
) -> tuple[ImageFolder, ImageFolder | None]:
    """Opens labelled images to train on, and others to validate on.

    Args:
      images: A folder with a folder per class.
      validation: A folder of other images of these classes; None for none.
      preprocessing: Brings images to one size.
      class_names: The order of the labels; None for the sorted folders of `images`.

    Raises:
      FileNotFoundError: A folder is not there.
      ValueError: There is no image, the folders are not the classes, or both hold the
        same file.
    """
    train = _labelled(images, preprocessing, class_names)
    if validation is None:
        return train, None
    held = _labelled(validation, preprocessing, train.class_names)
    id_splits.check_apart(train, held, "validated on images that it was trained on")
    return train, held


def benchmark(
    splits: id_splits.IdSplits,
    ood: Mapping[str, Path],
    image_size: int,
    *,
    skip_corrupt: bool = False,
) -> Benchmark:
    """Makes a benchmark of the user's own images.

    Args:
      splits: ID images to fit on, and to test on ('calibration').
      ood: Images of no class, by the name of their set, as `inputs.find` takes them.
      image_size: Side of the network's images, in pixels.
      skip_corrupt: Whether to skip images that cannot be read; else they raise.

    Raises:
      OSError: A path of an OOD set is not there.
      ValueError: There is no image, or an ID image is in an OOD set.
    """
    opened = ood_sets(
        ood, splits.preprocessing, splits.files, skip_corrupt=skip_corrupt
    )
    return Benchmark(
        name=NAME,
        id_train=splits.fit,
        id_test=splits.calibration,
        ood=opened,
        near=(),
        class_names=splits.class_names,
        preprocessing=splits.preprocessing,
        image_size=image_size,
        protocol=(
            f"ID: images of {splits.name}, detectors are fitted on "
            f"{len(splits.fit):,}, {len(splits.calibration):,} others are scored."
        ),
    )


def to_evaluate(
    images: Path | None,
    validation: Path | None,
    names: Sequence[str],
    ood: Mapping[str, str],
    preprocessing: Preprocessing,
    image_size: int,
    *,
    class_names: Sequence[str] | None,
    num_classes: int,
    skip_corrupt: bool,
) -> tuple[Benchmark, list[str]]:
    """Returns a benchmark of images to fit and to score on, and remarks on it.

    Args:
      images: A folder to fit detectors on; None takes a half of `validation`.
      validation: A folder of ID images to score; None takes a fifth of `images`.
      names: OOD sets that were named without a folder, which cannot be opened here.
      ood: Folders of OOD images by name.
      preprocessing: The network's.
      image_size: The side of its images, in pixels.
      class_names: Its classes, if they have names.
      num_classes: Number of its classes.
      skip_corrupt: Whether unreadable images are left out.

    Raises:
      ValueError: No OOD set has a folder, or images and classes do not fit.
    """
    if names or not ood:
        given = f"NAME={names[0]}" if names else "other=data/other"
        raise ValueError(
            "say which images of no class the detectors shall be tested on, each "
            f"set with a name: --ood={given}."
        )
    splits = id_splits.of_folders(
        images or validation or "",
        validation if images else None,
        preprocessing,
        image_size,
        class_names=class_names,
        num_classes=num_classes,
        share=0.2 if images else 0.5,
        skip_corrupt=skip_corrupt,
        flag="--validation" if images else "",
    )
    half = f"detectors are fitted on a half of {validation}, for want of --images."
    remarks = [*([] if images else [half]), *splits.remarks]
    return benchmark(splits, ood, image_size, skip_corrupt=skip_corrupt), remarks


def ood_sets(
    ood: Mapping[str, Path],
    preprocessing: Preprocessing,
    id_files: Iterable[str] = (),
    *,
    skip_corrupt: bool = False,
) -> dict[str, Source]:
    """Opens sets of images of no class.

    Args:
      ood: Their paths by the name of the set, as `inputs.find` takes them.
      preprocessing: Brings images to one size.
      id_files: Paths of ID images, none of which may be among them.
      skip_corrupt: Whether to skip images that cannot be read; else they raise.

    Raises:
      OSError: A path is not there.
      ValueError: There is no image, or an ID image is among them.
    """
    opened: dict[str, Source] = {}
    known = {os.path.realpath(path) for path in id_files}
    for name, where in ood.items():
        source, names = inputs.find(os.fspath(where), preprocessing)
        both = sorted(known & {os.path.realpath(path) for path in names})
        if both:
            raise ValueError(
                f"{len(both)} image(s) of the OOD set {name} ({where}) are among the "
                f"ID images too, such as {both[0]}. An image is one or the other."
            )
        opened[name] = Skipping(source) if skip_corrupt else source
    return opened


def split_ood(items: Sequence[str] | None) -> tuple[list[str], dict[str, str]]:
    """Reads a list such as ['near', 'mine=photos/unknown'].

    Returns:
      Names of a benchmark's sets, and the paths of own sets by their names.

    Raises:
      ValueError: A name or a path is empty, or a name stands twice.
    """
    names: list[str] = []
    own: dict[str, str] = {}
    for item in items or ():
        name, sign, where = item.partition("=")
        if sign and not (name and where):
            raise ValueError(f"an OOD set of your own is name=folder, got {item!r}.")
        if name in (*names, *own, "id_train", "id_test"):
            raise ValueError(f"there are two sets called {name!r}: rename one of them.")
        if sign:
            own[name] = where
        else:
            names.append(name)
    return names, own


def _labelled(
    folder: Path, preprocessing: Preprocessing, class_names: Sequence[str] | None
) -> ImageFolder:
    """A folder with a folder per class."""
    try:
        source = ImageFolder(
            folder,
            preprocessing=preprocessing,
            labelled=True,
            class_names=class_names,
        )
    except ValueError as error:
        if "labelled=True" not in str(error):
            raise
        raise ValueError(
            f"the images of {folder} have no labels: training needs a folder per "
            f"class, such as {folder}/cat and {folder}/dog."
        ) from None
    if class_names is None and folder_hints.parts(folder, source.paths):
        hint = folder_hints.hint(folder, source.paths, (), ())
        raise ValueError(
            f"the folders of {folder} are taken for classes, but are called "
            f"{', '.join(source.class_names or ())}.{hint}"
        )
    return source
