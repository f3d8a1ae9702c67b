"""Benchmarks: an ID set to train and test on, and named OOD sets to tell from it.

`get(name)` returns a `Benchmark`, `names()` lists them, `describe(name)` says what one
consists of. All benchmarks are of one type, so whatever evaluates one evaluates all.
The embedded ones need nothing; the papers' read their sets below a data root,
`data_dir` or the environment variable JOOD_DATA_DIR, and `launch/prepare.py --check`
says what of them is there.
"""

from collections.abc import Sequence
import os
from typing import Any

from jood._utils import unknown_name
from jood.core.preprocessing import Preprocessing
from jood.data.benchmarks import choose_preprocessing
from jood.data.benchmarks import embedded
from jood.data.benchmarks import opening
from jood.data.benchmarks import papers
from jood.data.benchmarks.spec import Benchmark as Benchmark
from jood.data.benchmarks.spec import BenchmarkSpec as BenchmarkSpec
from jood.methods import preset_values

_SPECS = {spec.name: spec for spec in (*embedded.SPECS, *papers.SPECS)}


def names() -> tuple[str, ...]:
    """Returns the names that `get` knows."""
    return tuple(_SPECS)


def register(spec: BenchmarkSpec) -> None:
    """Makes a benchmark known: to this module, to flags and to the presets.

    Raises:
      ValueError: The name is taken.
    """
    unknown_name.check_new("benchmark", spec.name, _SPECS)
    preset_values.register(spec.name, spec.presets or preset_values.FALLBACK)
    _SPECS[spec.name] = spec


def is_embedded(name: str) -> bool:
    """Returns whether a benchmark reads nothing below the data root."""
    return describe(name).open is not None


def describe(name: str) -> BenchmarkSpec:
    """Returns what a benchmark consists of; opens nothing.

    Raises:
      ValueError: the name is unknown; the near ones are listed.
    """
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
    skip_corrupt: bool = False,
    **options: Any,
) -> Benchmark:
    """Returns a benchmark with the sets that are present.

    Args:
      name: one of `names()`.
      data_dir: folder of the data sets; None for JOOD_DATA_DIR. The embedded ones
        read none.
      image_size: side of the images in pixels; None for the benchmark's own.
      preprocessing: the network's, if it was trained with another mean and standard
        deviation; if it neither resizes nor crops, the benchmark's does. A name
        chooses among `describe(name).preprocessing`.
      ood: names of the OOD sets to open, in their order; None for the paper's, and
        the further ones that are present.
      skip_corrupt: whether images that cannot be read are left out and counted; else
        they raise.
      **options: what an embedded benchmark takes besides, such as `seed`.

    Raises:
      ValueError: an unknown name (the near ones are listed), or a bad option.
      FileNotFoundError: there is no data folder, an ID set is missing, or all OOD
        sets are; the message says what is looked for where and where to get it.
    """
    if ood is not None:
        choose_preprocessing.check_ood(describe(name), ood)
    return _open(
        name,
        data_dir=data_dir,
        image_size=image_size,
        preprocessing=preprocessing,
        ood=ood,
        skip_corrupt=skip_corrupt,
        **options,
    )


def get_id_sets(name: str, **options: Any) -> Benchmark:
    """Returns a benchmark without its OOD sets, which need not be present.

    Args:
      name: One of `names()`.
      **options: As for `get`, without `ood`.

    Raises:
      ValueError, FileNotFoundError: As for `get`.
    """
    return _open(name, ood=(), **options)


def _open(name: str, **options: Any) -> Benchmark:
    spec = describe(name)
    return (spec.open or opening.open_benchmark)(spec, **options)
