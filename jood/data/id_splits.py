"""The ID images that a detector is made from: to fit, to calibrate, to check.

The three share no image. What a detector promises of new images holds if the network
was not trained on the calibration images either (it is more certain of its training
images), so a benchmark's come from its test set, and a user can name a folder of them.
"""

from collections.abc import Sequence
import dataclasses
import os

import numpy as np

from jood.core.preprocessing import Preprocessing
from jood.data import benchmarks
from jood.data.sources import Skipping
from jood.data.sources import Source
from jood.data.sources import file_lists
from jood.data.sources import folder_hints
from jood.data.sources.image_folder import ImageFolder
from jood.data.sources.subset import part


@dataclasses.dataclass(frozen=True, eq=False)
class IdSplits:
    """Disjoint sets of ID images."""

    name: str  # of the benchmark or folder
    fit: Source  # to learn from; labelled where labels are known
    calibration: Source
    check: Source | None  # to check the promise on
    preprocessing: Preprocessing  # the network's, which gives images one size
    class_names: tuple[str, ...]  # () if they are unknown
    remarks: Sequence[str] = ()  # sentences that the user should read
    files: Sequence[str] = ()  # paths of all images, where they are files of a folder


def of_benchmark(
    name: str,
    preprocessing: Preprocessing,
    image_size: int,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    share: float = 0.5,
    seed: int = 0,
    skip_corrupt: bool = False,
) -> IdSplits:
    """Returns a benchmark's training set to fit, and its test set in two parts.

    Args:
      name: The benchmark; its OOD sets need not be there.
      preprocessing: The network's preprocessing.
      image_size: Side of the network's images, in pixels.
      data_dir: Folder of the data sets; None for JOOD_DATA_DIR.
      share: Fraction of the test set to calibrate on; the rest is to check.
      seed: Seed of the random parts.
      skip_corrupt: Whether to skip images that cannot be read; else they raise.

    Raises:
      FileNotFoundError: An ID set is not there.
      ValueError: The name is unknown, or the images do not fit the network.
    """
    benchmark = benchmarks.get_id_sets(
        name,
        data_dir=data_dir,
        image_size=image_size,
        preprocessing=preprocessing,
        skip_corrupt=skip_corrupt,
    )
    rest, held = split(benchmark.id_test, share, seed)
    fit = sized(benchmark.preprocessing, image_size)
    return IdSplits(name, benchmark.id_train, held, rest, fit, benchmark.class_names)


def of_folders(
    images: str | os.PathLike[str],
    calibration: str | os.PathLike[str] | None,
    preprocessing: Preprocessing,
    image_size: int,
    *,
    class_names: Sequence[str] | None = None,
    num_classes: int = 0,
    share: float = 0.2,
    seed: int = 0,
    skip_corrupt: bool = False,
    flag: str = "--calibration",
) -> IdSplits:
    """Returns a folder's images to fit, and others to calibrate on.

    Args:
      images: Folder of ID images, one folder per class or without labels.
      calibration: Folder of ID images that the network was not trained on; None takes
        a random part of `images`.
      preprocessing: The network's, made `sized`.
      image_size: Side of the network's images, in pixels.
      class_names: The network's; None if they are unknown.
      num_classes: The network's number of classes.
      share: Fraction of `images` to calibrate on, without a folder for that.
      seed: Seed of the random part.
      skip_corrupt: Whether to skip images that cannot be read; else they raise.
      flag: The flag that `calibration` comes from, for the remark that it is missing;
        '' makes none.

    Raises:
      FileNotFoundError: A folder is not there.
      ValueError: There is no image, or both folders hold the same file.
    """
    fit = sized(preprocessing, image_size)
    first, remarks = _folder(images, fit, class_names, num_classes)
    names = tuple(class_names or first.class_names or ())
    files = first.whole_paths()

    def opened(source: ImageFolder) -> Source:
        return Skipping(source) if skip_corrupt else source

    if calibration is not None:
        # With the first folder's names, so that both number the classes alike.
        known = names if first.labelled is not False else class_names
        second, more = _folder(calibration, fit, known, num_classes)
        check_apart(first, second, "calibrated on images that it was fitted on")
        files += second.whole_paths()
        remarks += [text for text in more if text not in remarks]
        kept, held = opened(first), opened(second)
    else:
        kept, held = split(opened(first), share, seed)
        if flag:
            remarks.append(
                f"{len(held):,} images of {images}, drawn at random, are held out from "
                "fitting. If the network was trained on them, new images raise more "
                f"false alarms than these: give {flag}=FOLDER of ID images that it was "
                "not trained on."
            )
    return IdSplits(str(images), kept, held, None, fit, names, remarks, files)


def split(source: Source, share: float, seed: int) -> tuple[Source, Source]:
    """Splits a source at random into (kept, held out), each in the source's order.

    `share` is the fraction to hold out, in (0, 1); at least one example is, and one is
    kept.

    Raises:
      ValueError: `share` is out of range, or there are fewer than two examples.
    """
    count = len(source)
    if not 0 < share < 1 or count < 2:
        raise ValueError(
            "holding out needs a share in (0, 1) of at least two images, got "
            f"{share=} of {count}."
        )
    held = min(max(round(share * count), 1), count - 1)
    order = np.random.default_rng(seed).permutation(count)
    return part(source, np.sort(order[held:])), part(source, np.sort(order[:held]))


def sized(preprocessing: Preprocessing, image_size: int) -> Preprocessing:
    """Returns a preprocessing that gives images of any size the network's.

    One that neither resizes nor crops gets a resize of the shorter side and a centre
    crop, which leave images of that size as they are.

    Raises:
      ValueError: It resizes, but not to one size.
    """
    if preprocessing.resize is None and preprocessing.crop is None:
        return dataclasses.replace(preprocessing, resize=image_size, crop=image_size)
    if preprocessing.fixed_size is None:
        raise ValueError(
            f"the network's preprocessing resizes images but leaves them of different "
            f"sizes: {preprocessing}. Convert it with a --crop."
        )
    return preprocessing


def _folder(
    path: str | os.PathLike[str],
    preprocessing: Preprocessing,
    class_names: Sequence[str] | None,
    num_classes: int,
) -> tuple[ImageFolder, list[str]]:
    """A folder, with labels if its folders are named as the network's classes."""
    plain = ImageFolder(path, preprocessing=preprocessing, labelled=False)
    if not all("/" in name for name in plain.paths):
        return plain, []
    folders = sorted({name.split("/")[0] for name in plain.paths})
    known = class_names or (folders if len(folders) == num_classes else ())
    other = sorted(set(folders) - set(known))
    if other:
        without = [name for name in known if name not in folders]
        lacking = f"; classes without a folder: {file_lists.some(without)}"
        not_classes = (
            f" (no classes: {file_lists.some(other)}{lacking if without else ''})"
        )
        remark = (
            f"the {len(folders)} folders of {path} are not named as the network's "
            f"{num_classes} classes, so its images carry no labels"
            f"{not_classes if known else ''}."
            f"{folder_hints.hint(path, plain.paths, other, known)}"
        )
        return plain, [remark]
    folder = ImageFolder(path, preprocessing=preprocessing, class_names=known)
    if class_names:
        return folder, []
    shown = ", ".join(f"{name} = {i}" for i, name in enumerate(known[:3]))
    remark = (
        f"the network carries no class names, so the {len(known)} folders of {path} "
        f"are taken for its classes in the order of the alphabet ({shown}, ...). If "
        "that is not the order of its logits, convert it again with --class_names."
    )
    return folder, [remark]


def check_apart(first: ImageFolder, second: ImageFolder, never: str) -> None:
    """Raises ValueError if two folders share a file; `never` says what that would be.

    Links count as what they point to.
    """

    def files(folder: ImageFolder) -> set[str]:
        return {os.path.realpath(path) for path in folder.whole_paths()}

    if both := sorted(files(first) & files(second)):
        raise ValueError(
            f"{len(both)} image(s) are in both {first.folder} and {second.folder} "
            f"(such as {both[0]}); nothing is {never}."
        )
