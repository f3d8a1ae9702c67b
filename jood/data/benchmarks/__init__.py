"""Benchmarks: an ID set to train and test on, and named OOD sets.

`get(name)` returns a `Benchmark`, `names()` lists them, `describe(name)` gives the
description of one. The embedded ones need nothing; the papers' read their sets below a
data root, `data_dir` or JOOD_DATA_DIR, which `launch/prepare.py --check` inspects.
"""

from collections.abc import Sequence
import os
from typing import Any

from jood._utils import unknown_name
from jood.core.preprocessing import Preprocessing
from jood.data.benchmarks import choose_preprocessing
from jood.data.benchmarks import embedded
from jood.data.benchmarks import opening
from jood.data.benchmarks import openood
from jood.data.benchmarks import papers
from jood.data.benchmarks.spec import Benchmark as Benchmark
from jood.data.benchmarks.spec import BenchmarkSpec as BenchmarkSpec
from jood.data.sources import Source
from jood.methods import preset_values

_SPECS = {spec.name: spec for spec in (*embedded.SPECS, *papers.SPECS, *openood.SPECS)}


def names() -> tuple[str, ...]:
    """Returns the names that `get` knows."""
    return tuple(_SPECS)


def register(spec: BenchmarkSpec) -> None:
    """Makes a benchmark known, to flags and presets too; its name must be new."""
    unknown_name.check_new("benchmark", spec.name, _SPECS)
    preset_values.register(spec.name, spec.presets or preset_values.FALLBACK)
    _SPECS[spec.name] = spec


def is_embedded(name: str) -> bool:
    """Returns whether a benchmark reads nothing below the data root."""
    return describe(name).open is not None


def describe(name: str) -> BenchmarkSpec:
    """Returns what a benchmark consists of; ValueError for an unknown name."""
    if name not in _SPECS:
        raise unknown_name.unknown("benchmark", name, _SPECS)
    return _SPECS[name]


def get(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: int | None = None,
    preprocessing: Preprocessing | str | None = None,
    ood: Sequence[str] | None = None,
    ood_zoom: float = 1.0,
    skip_corrupt: bool = False,
    **options: Any,
) -> Benchmark:
    """Returns a benchmark with the sets that are present.

    Args:
      name: One of `names()`.
      data_dir: Folder of the data sets; None for JOOD_DATA_DIR.
      image_size: Side of the images in pixels; None for the benchmark's own.
      preprocessing: The network's, if it was trained with another mean and standard
        deviation; if it neither resizes nor crops, the benchmark's does. A name
        chooses among `describe(name).preprocessing`.
      ood: Names of the OOD and covariate-shifted sets to open, the OOD sets in their
        order; None for the paper's, and the further ones that are present.
      ood_zoom: Factor by which OOD images are enlarged about their centre before they
        are resized (Feature Sim, Table 18); ID images stay as they are.
      skip_corrupt: Whether to skip and count unreadable images; else they raise.
      **options: Further options of an embedded benchmark, such as `seed`.

    Raises:
      ValueError: The name is unknown or an option is bad.
      FileNotFoundError: There is no data folder, an ID set is missing, or all OOD sets.
    """
    spec = describe(name)
    if ood is not None:
        choose_preprocessing.check_ood(spec, ood)
    return _open(
        spec,
        data_dir=data_dir,
        image_size=image_size,
        preprocessing=preprocessing,
        ood=ood,
        ood_zoom=ood_zoom,
        skip_corrupt=skip_corrupt,
        **options,
    )


def get_id_sets(name: str, **options: Any) -> Benchmark:
    """Returns a benchmark as `get` does, without its OOD sets, present or not."""
    return _open(describe(name), ood=(), **options)


def get_validation(name: str, **options: Any) -> tuple[Source, Source]:
    """Returns the ID and OOD images that a benchmark chooses hyper-parameters on.

    Raises:
      ValueError: The name is unknown, or the benchmark has no such sets.
      FileNotFoundError: There is no data folder, or one of the sets is missing.
    """
    return opening.open_validation_sets(describe(name), **options)


def _open(spec: BenchmarkSpec, **options: Any) -> Benchmark:
    return (spec.open or opening.open_benchmark)(spec, **options)
