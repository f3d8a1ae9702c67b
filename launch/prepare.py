"""Says which sets of a benchmark are on disk, and fetches those that it can.

    jood prepare --benchmark=cifar10 --data_dir=data --check
    jood prepare --benchmark=cifar10 --data_dir=data

--check counts the images of every set and compares checksums where they are known. Its
exit code is 0 if the benchmark runs: both ID sets are there, at least one OOD set is,
and no set is broken or has a wrong checksum. Else it is 1. Absent OOD sets and
incomplete sets are named and do not change it.

Without --check the sets that are not whole are fetched first: CIFAR with TensorFlow
Datasets (pip install 'jood[prepare]'; reading needs no TensorFlow), others from
archives whose checksums are known. For the rest it says where to get them and where to
put them.
"""

import pathlib
import sys

from absl import flags

from jood import cli
from jood.data import benchmarks
from jood.data.benchmarks import check
from jood.data.benchmarks import download
from jood.data.benchmarks import on_disk
from jood.data.benchmarks.spec import BenchmarkSpec

_BENCHMARK = cli.define_benchmark(None, "Benchmark of the data.")
flags.mark_flag_as_required("benchmark")
_DATA_DIR = cli.define_data_dir()
_CHECK = flags.DEFINE_bool("check", False, "Only say what is on disk; change nothing.")
_SETS = flags.DEFINE_list(
    "sets", None, "Only prepare these (id_train, svhn, ...), not all; with commas."
)


def main(argv: list[str]) -> None:
    """Prepares, then prints what is there; exits with 1 if the benchmark cannot run."""
    del argv
    spec = benchmarks.describe(_BENCHMARK.value)
    print(f"{spec.name}: {spec.title}\n{spec.paper}")
    if benchmarks.is_embedded(spec.name):
        print("It reads nothing from the data folder: nothing to prepare.")
        return
    if not _CHECK.value and _DATA_DIR.value:
        pathlib.Path(_DATA_DIR.value).expanduser().mkdir(parents=True, exist_ok=True)
    root = on_disk.data_root(_DATA_DIR.value)
    if not _CHECK.value:
        _prepare(spec, root, _SETS.value or list(spec.sets))
    findings = check.inspect(spec, root)
    print(f"\n{check.text(findings, root)}")
    if not check.runs(findings):
        sys.exit("\nThe benchmark cannot run with this.")


def _prepare(spec: BenchmarkSpec, root: pathlib.Path, chosen: list[str]) -> None:
    """Fetches the sets that it can; one that fails does not stop the others."""
    for name in chosen:
        if name not in spec.sets:
            raise ValueError(f"{spec.name} has no set {name}; its: {list(spec.sets)}.")
    for name in chosen:
        finding = check.inspect_set(spec, name, root)
        one = finding.spec
        if finding.state == check.PRESENT and not finding.is_wrong:
            continue
        try:
            if one.tfds and finding.state == check.ABSENT:
                download.prepare_tfds(one.tfds, root)
            elif one.tfds:
                print(f"{name}: {finding.path} is not whole; move it away to prepare.")
            for archive in one.archives:
                print(f"{name}: {archive.url}")
                download.fetch(archive, root)
        except (OSError, ValueError) as error:
            print(f"{name}: {error}")


if __name__ == "__main__":
    cli.run(main)
