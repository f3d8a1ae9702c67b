"""Opens a benchmark: one that code makes, or the sets that lie below the data root.

One that reads files runs on the OOD sets that are present and says which are absent;
without its ID test set, or without any OOD set, it does not run. ID training images are
needed only by detectors that learn from them (`sources.absent`).
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import hashlib
import logging
import os
import pathlib
from typing import Any

from jood.core.preprocessing import Magnified
from jood.core.preprocessing import Preprocessing
from jood.data import sources
from jood.data.benchmarks import choose_preprocessing
from jood.data.benchmarks import on_disk
from jood.data.benchmarks.spec import Benchmark
from jood.data.benchmarks.spec import BenchmarkSpec
from jood.data.sources.absent import Absent
from jood.data.sources.resized import Fitted

_ID = ("id_train", "id_test")
_LOG = logging.getLogger(__name__)
# WordNet ids and their words, as Kaggle's copy of ImageNet has them.
SYNSETS = ("imagenet/LOC_synset_mapping.txt", "LOC_synset_mapping.txt")


def made_by(make: Callable[..., Benchmark]) -> Callable[..., Benchmark]:
    """Returns a `BenchmarkSpec.open` for a benchmark that a function makes.

    `make` takes `image_size`, if one is asked for, and the further options of
    `benchmarks.get`. A preprocessing that resizes or crops is applied to its result.
    """

    def opened(
        spec: BenchmarkSpec,
        *,
        image_size: int | None = None,
        preprocessing: Preprocessing | str | None = None,
        ood: Sequence[str] | None = None,
        ood_zoom: float = 1.0,
        **options: Any,
    ) -> Benchmark:
        check_no_folder(spec, options.pop("data_dir", None))
        options.pop("skip_corrupt", None)  # nothing is read from files
        if image_size is not None:
            options["image_size"] = image_size
        benchmark = dataclasses.replace(make(**options), name=spec.name)
        if ood is not None:
            asked_for = {name: benchmark.ood[name] for name in ood}
            benchmark = dataclasses.replace(benchmark, ood=asked_for)
        if preprocessing is not None:
            chosen = choose_preprocessing.choose(spec, preprocessing)
            benchmark = _fitted(benchmark, chosen)
        if ood_zoom == 1:
            return benchmark
        magnified = Magnified.of(benchmark.preprocessing, ood_zoom)
        larger = {n: Fitted(s, magnified) for n, s in benchmark.ood.items()}
        return dataclasses.replace(benchmark, ood=larger)

    return opened


def check_no_folder(
    spec: BenchmarkSpec, data_dir: str | os.PathLike[str] | None
) -> None:
    """Raises ValueError if a benchmark that reads no file is given a folder of data."""
    if data_dir is not None:
        raise ValueError(
            f"the benchmark {spec.name} ({spec.title}) reads nothing from disk, but a "
            f"folder of data is given: {os.fspath(data_dir)}. Leave --data_dir out, "
            "name a --benchmark that lies there, or give your own images: "
            f"--images={os.fspath(data_dir)} (a folder per class)."
        )


def _fitted(benchmark: Benchmark, preprocessing: Preprocessing) -> Benchmark:
    benchmark = dataclasses.replace(benchmark, preprocessing=preprocessing)
    if preprocessing.resize is None and preprocessing.crop is None:
        return benchmark
    return dataclasses.replace(
        benchmark,
        id_train=Fitted(benchmark.id_train, preprocessing),
        id_test=Fitted(benchmark.id_test, preprocessing),
        ood={n: Fitted(s, preprocessing) for n, s in benchmark.ood.items()},
        image_size=choose_preprocessing.side(preprocessing),
    )


def open_benchmark(
    spec: BenchmarkSpec,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: int | None = None,
    preprocessing: Preprocessing | str | None = None,
    ood: Sequence[str] | None = None,
    ood_zoom: float = 1.0,
    skip_corrupt: bool = False,
    **options: Any,
) -> Benchmark:
    """Opens the sets of a benchmark that are present; `ood` may be empty."""
    if options:
        raise ValueError(f"{spec.name} takes no options {sorted(options)}.")
    root = on_disk.data_root(data_dir)
    preprocessing = choose_preprocessing.for_files(spec, preprocessing, image_size)
    shifted = [one.name for one in spec.shifted if ood is None or one.name in ood]
    expected = [one.name for one in spec.ood if ood is None]
    expected += [name for name in ood or () if name not in shifted]
    chosen = [*expected, *(one.name for one in spec.extra if ood is None)]
    present = {
        name: place
        for name in (*_ID, *shifted, *chosen)
        if (place := on_disk.find(spec.sets[name], root)) is not None
    }
    if "id_test" not in present:
        lacking = [name for name in _ID if name not in present]
        raise _not_there(spec, "lacks its ID set", lacking, root)
    if chosen and present.keys().isdisjoint(chosen):
        raise _not_there(spec, "has none of its OOD sets", chosen, root)
    absent, absent_shifted = (
        {
            name: on_disk.where(spec.sets[name], root)
            for name in names
            if name not in present
        }
        for names in (expected, shifted)
    )
    opened, incomplete, (names, remark) = _open_sets(
        spec, present, preprocessing, root, skip_corrupt, ood_zoom
    )
    if "id_train" not in opened:
        why = str(_not_there(spec, "lacks its ID set", ["id_train"], root))
        opened["id_train"] = Absent(why)
    if absent:
        _LOG.warning("%s: OOD sets that are ABSENT: %s", spec.name, ", ".join(absent))
    if absent_shifted:
        sets = ", ".join(absent_shifted)
        _LOG.warning("%s: covariate-shifted sets that are ABSENT: %s", spec.name, sets)
    return Benchmark(
        name=spec.name,
        id_train=opened.pop("id_train"),
        id_test=opened.pop("id_test"),
        shifted={name: opened.pop(name) for name in shifted if name in opened},
        absent_shifted=absent_shifted,
        groups=spec.groups,
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
) -> tuple[sources.Source, tuple[str, ...]]:
    """Returns the ID training set, all that training needs, and its class names.

    Raises:
      FileNotFoundError: It is not below the data root.
      ValueError: The benchmark's ID images carry no labels, or others than it says.
    """
    root = on_disk.data_root(data_dir)
    place = on_disk.find(spec.id_train, root)
    if place is None:
        raise _not_there(spec, "lacks its ID set", ["id_train"], root)
    if not spec.labelled:
        raise ValueError(
            f"training needs labels, but the ID images of {spec.name} have none."
        )
    opened, _, (names, _) = _open_sets(
        spec, {"id_train": place}, preprocessing, root, skip_corrupt
    )
    return opened["id_train"], names


def open_validation_sets(
    spec: BenchmarkSpec,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: int | None = None,
    preprocessing: Preprocessing | str | None = None,
    skip_corrupt: bool = False,
) -> tuple[sources.Source, sources.Source]:
    """Returns the ID and the OOD images that a benchmark chooses hyper-parameters on.

    Raises:
      FileNotFoundError: One of the two sets is not below the data root.
      ValueError: The benchmark has none.
    """
    if spec.validation is None:
        raise ValueError(
            f"{spec.name} has no validation sets to choose hyper-parameters on; "
            "choose on synthetic images (--select_on=blur,jigsaw,mixed)."
        )
    root = on_disk.data_root(data_dir)
    names = ("id_validation", "ood_validation")
    placed = {name: on_disk.find(spec.sets[name], root) for name in names}
    if lacking := [name for name in names if placed[name] is None]:
        raise _not_there(spec, "lacks what it validates on", lacking, root)
    preprocessing = choose_preprocessing.for_files(spec, preprocessing, image_size)
    places = {name: place for name, place in placed.items() if place is not None}
    opened, *_ = _open_sets(spec, places, preprocessing, root, skip_corrupt)
    return opened["id_validation"], opened["ood_validation"]


def _open_sets(
    spec: BenchmarkSpec,
    present: Mapping[str, on_disk.SetFiles],
    preprocessing: Preprocessing,
    root: pathlib.Path,
    skip_corrupt: bool,
    ood_zoom: float = 1.0,
) -> tuple[dict[str, sources.Source], dict[str, str], tuple[tuple[str, ...], str]]:
    """Sources, 'id_train' first; what is incomplete; and what `class_names` returns."""
    opened: dict[str, sources.Source] = {}
    incomplete = {}
    folders: tuple[str, ...] | None = None
    larger = Magnified.of(preprocessing, ood_zoom)
    inside = {*_ID, "id_validation", *(one.name for one in spec.shifted)}
    for name, place in present.items():
        shown = preprocessing if name in inside else larger
        if spec.sets[name].whole:
            shown = dataclasses.replace(shown, resize=shown.fixed_size, crop=None)
        source = on_disk.open_set(
            place,
            shown,
            labelled=spec.labelled and name in inside,
            class_names=folders if name == "id_test" else None,
        )
        if name in _ID:
            folders = folders or getattr(source, "class_names", None)
        size = spec.sets[name].size
        if size is not None and len(source) != size:
            incomplete[name] = text = f"found {len(source):,} of {size:,}"
            _LOG.warning("%s: %s is INCOMPLETE: %s", spec.name, name, text)
        opened[name] = sources.Skipping(source) if skip_corrupt else source
    return opened, incomplete, class_names(spec, folders, root)


def _not_there(
    spec: BenchmarkSpec, what: str, names: Sequence[str], root: pathlib.Path
) -> FileNotFoundError:
    lines = [
        f"{spec.name} {what} below {root}:",
        *(f"  {name}: {on_disk.where(spec.sets[name], root)}" for name in names),
        f"jood prepare --benchmark={spec.name} --check lists everything.",
    ]
    return FileNotFoundError("\n".join(lines))


def class_names(
    spec: BenchmarkSpec, folders: tuple[str, ...] | None, root: pathlib.Path
) -> tuple[tuple[str, ...], str]:
    """Returns class names, and what the protocol must say of them.

    `folders` are the names of the labels in the ID sets, if they have such.

    Raises:
      ValueError: They are not the benchmark's.
    """
    if not spec.labelled:
        return (), ""
    names = tuple(folders or ())
    if spec.class_names:
        if names and names != spec.class_names:
            raise ValueError(
                f"the labels of {spec.name}'s ID training set below {root} are called "
                f"{names}, expected {spec.class_names}."
            )
        return spec.class_names, ""
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
