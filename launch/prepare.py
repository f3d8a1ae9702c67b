"""Says what of a benchmark's data is there, and gets what can be got.

    python launch/prepare.py --benchmark=cifar10 --data_dir=data --check
    python launch/prepare.py --benchmark=cifar10 --data_dir=data

--check counts the images of every set and compares checksums where they are known. Its
exit code is 0 if the benchmark runs: both ID sets are there, at least one OOD set is,
and nothing that is there is broken or has a wrong checksum. Else it is 1. Absent OOD
sets and sets that are incomplete are named and do not change it.

Without --check the sets that are not whole are got first: CIFAR with TensorFlow
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

_BENCHMARK = cli.define_benchmark(None, "Whose data.")
flags.mark_flag_as_required("benchmark")
_DATA_DIR = cli.define_data_dir()
_CHECK = flags.DEFINE_bool("check", False, "Only say what is there; change nothing.")
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
    """Gets what can be got; a set that cannot does not keep the others back."""
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
