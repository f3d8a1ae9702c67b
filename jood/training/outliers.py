"""Outliers: auxiliary images that are not ID, which some objectives train with.

They may be anything but what the network is tested on afterwards, so a set that is one
of the benchmark's OOD sets is refused.
"""

import os
import pathlib

from jood._utils import unknown_name
from jood.core.preprocessing import Preprocessing
from jood.data import benchmarks
from jood.data import id_splits
from jood.data import inputs
from jood.data import own_folders
from jood.data import sources
from jood.data.benchmarks import on_disk
from jood.data.benchmarks import painted_outliers
from jood.data.benchmarks.set_spec import SetSpec
from jood.data.sources import Source

_ID = ("id_train", "id_test")


def open_outliers(
    where: str,
    benchmark: str,
    preprocessing: Preprocessing,
    image_size: int,
    data_dir: str | os.PathLike[str] | None = None,
) -> Source:
    """Opens images to train with as outliers.

    Args:
      where: A folder, an .npz archive or anything else that `jood.data.inputs.find`
        reads; the name of an OOD set of some benchmark, below the data root; or
        'embedded', the photograph and textures of
        `jood.data.benchmarks.painted_outliers`.
      benchmark: Name of the benchmark that is trained on, whose OOD sets are refused.
      preprocessing: The network's.
      image_size: Side of the network's images, in pixels.
      data_dir: The data root; None for JOOD_DATA_DIR.

    Raises:
      OSError: They are not there.
      ValueError: They are one of the benchmark's OOD sets, or no such set is known.
    """
    fitted = id_splits.sized(preprocessing, image_size)
    specs: dict[str, SetSpec] = {}
    if benchmark != own_folders.NAME:
        sets = benchmarks.describe(benchmark).sets
        specs = {name: spec for name, spec in sets.items() if name not in _ID}
    if where == painted_outliers.NAME:
        return _embedded(fitted, image_size)
    if not _is_path(where):
        return _named(where, benchmark, specs, fitted, data_dir)
    path = pathlib.Path(where).expanduser()
    for name, there in _places(specs, data_dir).items():
        if there in (path.resolve(), *path.resolve().parents):
            raise _refused(where, benchmark, name)
    source, _ = inputs.find(where, fitted)
    if specs and benchmarks.is_embedded(benchmark):
        tested = benchmarks.get(benchmark, image_size=image_size).ood
        print_of = sources.fingerprint(source)
        for name, other in tested.items():
            if sources.fingerprint(other) == print_of:
                raise _refused(where, benchmark, name)
    return source


def _is_path(where: str) -> bool:
    pattern = any(sign in where for sign in "/.*")
    return pattern or pathlib.Path(where).expanduser().exists()


def _embedded(fitted: Preprocessing, image_size: int) -> Source:
    if (channels := len(fitted.mean)) != 3:
        raise ValueError(
            f"the embedded outliers have 3 channels, the network's images {channels}. "
            "Choose others."
        )
    return sources.materialise(painted_outliers.outliers(image_size))


def _named(
    name: str,
    benchmark: str,
    specs: dict[str, SetSpec],
    fitted: Preprocessing,
    data_dir: str | os.PathLike[str] | None,
) -> Source:
    """A set that some benchmark tests on, and this one does not."""
    known = {
        other: spec
        for each in benchmarks.names()
        if not benchmarks.is_embedded(each)
        for other, spec in benchmarks.describe(each).sets.items()
        if other not in _ID
    }
    if name in specs:
        raise _refused(name, benchmark, name)
    if name not in known:
        known_names = [painted_outliers.NAME, *known]
        raise unknown_name.unknown("set of outliers, and no path", name, known_names)
    root = on_disk.data_root(data_dir)
    files = on_disk.find(known[name], root)
    if files is None:
        raise FileNotFoundError(
            f"the outliers {name} are not there: {on_disk.where(known[name], root)}."
        )
    tested = _places(specs, data_dir)
    for other, place in tested.items():
        if place == files.path.resolve():
            raise _refused(name, benchmark, other)
    return on_disk.open_set(files, fitted, labelled=False)


def _places(
    specs: dict[str, SetSpec], data_dir: str | os.PathLike[str] | None
) -> dict[str, pathlib.Path]:
    """Where the sets of a benchmark lie, of those that are there."""
    try:
        root = on_disk.data_root(data_dir)
    except FileNotFoundError:
        return {}
    placed = {name: on_disk.find(spec, root) for name, spec in specs.items()}
    return {name: one.path.resolve() for name, one in placed.items() if one is not None}


def _refused(where: str, benchmark: str, name: str) -> ValueError:
    return ValueError(
        f"the outliers {where} are the OOD set {name!r} that {benchmark} is tested on: "
        "a network trained with them would have seen its test images. Choose others."
    )
