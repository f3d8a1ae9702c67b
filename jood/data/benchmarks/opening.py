"""Opens a paper's benchmark: its sources, and what of it is not here.

A benchmark runs on the OOD sets that are present and says which are absent; without
its ID sets, or without any OOD set, it does not run.
"""

from collections.abc import Sequence
import hashlib
import logging
import os
import pathlib

from jood.core.preprocessing import Preprocessing
from jood.data.benchmarks import choose_preprocessing
from jood.data.benchmarks import on_disk
from jood.data.benchmarks.set_spec import SetSpec
from jood.data.benchmarks.spec import Benchmark
from jood.data.benchmarks.spec import BenchmarkSpec
from jood.data.sources import Skipping
from jood.data.sources import Source

_LOG = logging.getLogger(__name__)
# WordNet ids and what they are called, as Kaggle's copy of ImageNet has it.
SYNSETS = ("imagenet/LOC_synset_mapping.txt", "LOC_synset_mapping.txt")


def open_benchmark(
    spec: BenchmarkSpec,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    image_size: int | None = None,
    preprocessing: Preprocessing | str | None = None,
    ood: Sequence[str] | None = None,
    skip_corrupt: bool = False,
) -> Benchmark:
    """Opens what is present of a benchmark; see `benchmarks.get`."""
    root = on_disk.data_root(data_dir)
    preprocessing = choose_preprocessing.for_files(spec, preprocessing, image_size)
    chosen = expected = [one.name for one in spec.ood]
    if ood is None:
        chosen = [*expected, *(one.name for one in spec.extra)]
    else:
        choose_preprocessing.check_ood(spec, ood)
        chosen = expected = list(ood)
    found = {name: on_disk.find(one, root) for name, one in spec.sets.items()}
    _check_present(spec, chosen, found, root)
    absent = {
        name: on_disk.where(spec.sets[name], root)
        for name in expected
        if found[name] is None
    }
    opened: dict[str, Source] = {}
    incomplete = {}
    folders: tuple[str, ...] | None = None
    for name in ("id_train", "id_test", *chosen):
        place, one = found[name], spec.sets[name]
        if place is None:
            continue
        source = on_disk.open_set(
            place,
            preprocessing,
            labelled=spec.labelled and name in ("id_train", "id_test"),
            class_names=folders if name == "id_test" else None,
        )
        if name == "id_train":
            folders = getattr(source, "class_names", None)
        if one.size is not None and len(source) != one.size:
            incomplete[name] = _count(source, one)
        opened[name] = Skipping(source) if skip_corrupt else source
    names, remark = class_names(spec, folders, root)
    if absent:
        _LOG.warning("%s: OOD sets that are ABSENT: %s", spec.name, ", ".join(absent))
    for name, text in incomplete.items():
        _LOG.warning("%s: %s is INCOMPLETE: %s", spec.name, name, text)
    return Benchmark(
        name=spec.name,
        id_train=opened.pop("id_train"),
        id_test=opened.pop("id_test"),
        ood=opened,
        near=tuple(spec.near),
        class_names=names,
        preprocessing=preprocessing,
        image_size=choose_preprocessing.side(preprocessing),
        protocol=spec.protocol + remark,
        paper=tuple(one.name for one in spec.ood),
        absent=absent,
        incomplete=incomplete,
    )


def open_training_set(
    spec: BenchmarkSpec,
    data_dir: str | os.PathLike[str] | None,
    preprocessing: Preprocessing,
    *,
    skip_corrupt: bool = False,
) -> tuple[Source, tuple[str, ...]]:
    """Opens the ID training set alone, which is all that training needs.

    Returns:
      The labelled source, and the names of its classes.

    Raises:
      FileNotFoundError: it is not below the data root.
      ValueError: the benchmark's ID images carry no labels, or others than it says.
    """
    root = on_disk.data_root(data_dir)
    place = on_disk.find(spec.id_train, root)
    if place is None:
        raise _lacks_id_sets(spec, ["id_train"], root)
    if not spec.labelled:
        raise ValueError(
            f"training needs labels, but the ID images of {spec.name} have none."
        )
    source = on_disk.open_set(place, preprocessing, labelled=True)
    folders = getattr(source, "class_names", None)
    if spec.id_train.size is not None and len(source) != spec.id_train.size:
        count = _count(source, spec.id_train)
        _LOG.warning("%s: id_train is INCOMPLETE: %s", spec.name, count)
    names, _ = class_names(spec, folders, root)
    return Skipping(source) if skip_corrupt else source, names


def _count(source: Source, spec: SetSpec) -> str:
    return f"found {len(source):,} of {spec.size:,}"


def _check_present(
    spec: BenchmarkSpec,
    chosen: Sequence[str],
    found: dict[str, on_disk.Found | None],
    root: pathlib.Path,
) -> None:
    lacking = [name for name in ("id_train", "id_test") if found[name] is None]
    if lacking:
        raise _lacks_id_sets(spec, lacking, root)
    if not any(found[name] for name in chosen):
        raise FileNotFoundError(
            f"{spec.name} has none of its OOD sets below {root}:\n"
            f"{_missing(spec, chosen, root)}"
        )


def _lacks_id_sets(
    spec: BenchmarkSpec, names: Sequence[str], root: pathlib.Path
) -> FileNotFoundError:
    return FileNotFoundError(
        f"{spec.name} lacks its ID set below {root}:\n{_missing(spec, names, root)}"
    )


def _missing(spec: BenchmarkSpec, names: Sequence[str], root: pathlib.Path) -> str:
    lines = [f"  {name}: {on_disk.where(spec.sets[name], root)}" for name in names]
    check = f"python launch/prepare.py --benchmark={spec.name} --check"
    return "\n".join([*lines, f"{check} lists everything."])


def class_names(
    spec: BenchmarkSpec, folders: tuple[str, ...] | None, root: pathlib.Path
) -> tuple[tuple[str, ...], str]:
    """Returns class names, and what the protocol must say of them.

    Args:
      spec: the benchmark.
      folders: names of the labels in the ID training set, in their order, where it
        has such.
      root: of the data.

    Raises:
      ValueError: they are not the benchmark's.
    """
    if not spec.labelled:
        return (), ""
    names = tuple(folders or ())
    if spec.class_names and names in ((), spec.class_names):
        return spec.class_names, ""
    if spec.class_names:
        raise ValueError(
            f"the labels of {spec.name}'s ID training set below {root} are called "
            f"{names}, expected {spec.class_names}."
        )
    if len(names) != spec.num_classes:
        raise ValueError(
            f"{spec.name} has {spec.num_classes} classes, found {len(names)} class "
            f"folders in its ID training set below {root}: labels are numbered by the "
            "folders' sorted names, so all must be there."
        )
    remark = ""
    digest = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
    if digest != spec.classes_sha256:
        remark = f" The classes are NOT those of the published {spec.name}."
        _LOG.warning("%s:%s", spec.name, remark)
    for path in (root / name for name in SYNSETS):
        if path.is_file():
            lines = (line.split(" ", 1) for line in path.read_text().splitlines())
            titles = {line[0]: line[1].split(",")[0] for line in lines if line[1:]}
            return tuple(titles.get(name, name) for name in names), remark
    return names, remark
