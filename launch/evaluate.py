r"""Compares detectors on a benchmark, with a trained network.

    python launch/evaluate.py --checkpoint=runs/a --output=runs/a_results \
        --detectors="msp, fs_ta, mine=ta(k=0.1)|react(q=0.9)|energy()"
    python launch/evaluate.py --checkpoint=networks/densenet --benchmark=cifar10 \
        --data_dir=data --output=runs/densenet

The network runs once per image, however many detectors are asked.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

from absl import flags

from jood import cli
from jood._utils import atomic_files
from jood.data import benchmarks
from jood.evaluation import benchmark_run
from jood.evaluation import paper_grids
from jood.evaluation import preflight
from jood.report.benchmark import results
from jood.weights import checkpoint
from jood.weights import run_checkpoint

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    None,
    "Folder of a network: --output of launch/convert.py, or --workdir of "
    "launch/train.py.",
    required=True,
)
_WHICH = flags.DEFINE_enum(
    "which",
    "last",
    run_checkpoint.WHICH,
    "Of a training run, the last checkpoint or the best on its validation.",
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "New folder for the results.", required=True
)
_BENCHMARK = flags.DEFINE_enum(
    "benchmark", None, benchmarks.names(), "What to score; else what it was trained on."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of the data sets; else JOOD_DATA_DIR."
)
_OOD = flags.DEFINE_list("ood", None, "OOD sets to score; else all that are present.")
_CORRUPT = flags.DEFINE_enum(
    "corrupt",
    "raise",
    ("raise", "skip"),
    "What to do with images that cannot be read: stop, or leave out and count them.",
)
_WORKERS = flags.DEFINE_integer(
    "workers", 0, "Processes that read images; 0 reads with threads.", lower_bound=0
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 128, "Images per step, all devices.", lower_bound=1
)
_CACHE = flags.DEFINE_string(
    "cache",
    None,
    "Folder that keeps training features for later runs; else they are not kept.",
)
_SELECT = flags.DEFINE_bool(
    "select",
    False,
    "Also choose TA's k and stage, λ, and HIMPLoS's mask and clip, on Gaussian noise "
    "against ID images held out from the training set; adds rows and the curves.",
)
_EXAMINE = flags.DEFINE_string(
    "examine",
    None,
    "Row whose worst mistakes the report shows; else that with the best mean AUROC.",
)
_DETECTORS = cli.define_detectors()
flags.declare_key_flag("detectors")  # lists it in --help
_DRY_RUN = cli.define_dry_run()


def main(argv: list[str]) -> None:
    """Loads a network, scores the benchmark and writes the results."""
    del argv
    atomic_files.check_new(_OUTPUT.value)
    network = checkpoint.open(_CHECKPOINT.value, _WHICH.value)
    benchmark = _open_benchmark(network)
    preflight.check_classes(network.model, network.class_names, benchmark)
    detectors = cli.detectors(_DETECTORS.value, benchmark.name, network.name)
    if _DETECTORS.value in cli.GROUPS:
        detectors, out = preflight.possible(
            detectors, benchmark, network.model, network.variables
        )
        for reason in sorted(set(out.values())):
            names = [name for name, why in out.items() if why == reason]
            print(f"left out, since {reason}: {', '.join(names)}")
    preflight.check(
        detectors, benchmark, network.model, network.name, network.variables
    )
    curves = {}
    if _SELECT.value:
        detector = _detector(detectors, benchmark, network)
        curves = paper_grids.run(detector, benchmark, _BATCH_SIZE.value)
        chosen = {name: curve.best.spec for name, curve in curves.items()}
        detectors = {**detectors, **chosen}
    if _EXAMINE.value not in (None, *detectors):
        raise ValueError(
            f"--examine={_EXAMINE.value} is no row; rows: {', '.join(detectors)}."
        )
    if _DRY_RUN.value:
        sets = {"fit on": benchmark.id_train, "ID": benchmark.id_test, **benchmark.ood}
        cli.would(
            f"score {network.name} of {_CHECKPOINT.value} on {benchmark.name}: "
            + ", ".join(f"{name} {len(source):,}" for name, source in sets.items()),
            f"compare {len(detectors)} detectors: {', '.join(detectors)}",
            f"write {_OUTPUT.value}",
        )
        return
    _, result = benchmark_run.evaluate(
        _detector(detectors, benchmark, network),
        benchmark,
        batch_size=_BATCH_SIZE.value,
        workers=_WORKERS.value,
        cache=_CACHE.value,
    )
    printed = results.write(
        _OUTPUT.value,
        [result],
        benchmark=benchmark,
        detectors=detectors,
        configuration={
            "benchmark": benchmark.name,
            "checkpoint": _CHECKPOINT.value,
            "which": _WHICH.value,
            "batch_size": _BATCH_SIZE.value,
            "data_dir": _DATA_DIR.value,
            "ood": list(benchmark.ood),
            "corrupt": _CORRUPT.value,
            "select": _SELECT.value,
            "model": network.name,
            "image_size": benchmark.image_size,
            "preprocessing": dataclasses.asdict(benchmark.preprocessing),
            "trained": dict(network.source),
        },
        model=network.model,
        variables=network.variables,
        curves=curves,
        examine=_EXAMINE.value,
    )
    for name, curve in curves.items():
        print(f"\n{name}: {curve.method}, on noise\n{curve.text()}")
    for name, images in result.skipped.items():
        print(f"\nskipped in {name}:\n  " + "\n  ".join(images))
    print(f"\n{printed}\nwaited for data {result.waiting:.1%} of the time")
    print(f"written to {_OUTPUT.value}")


def _open_benchmark(network: checkpoint.TrainedNetwork) -> benchmarks.Benchmark:
    """The benchmark that is asked for, with the network's own preprocessing."""
    return benchmarks.get(
        cli.benchmark_name(_BENCHMARK.value, network.source, _CHECKPOINT.value),
        data_dir=_DATA_DIR.value,
        image_size=network.image_size,
        preprocessing=network.preprocessing,
        ood=_OOD.value,
        skip_corrupt=_CORRUPT.value == "skip",
    )


def _detector(
    detectors: Mapping[str, str],
    benchmark: benchmarks.Benchmark,
    network: checkpoint.TrainedNetwork,
) -> Any:
    return benchmark_run.make_detector(
        detectors, benchmark, network.model, network.variables, network.name
    )


if __name__ == "__main__":
    cli.run(main)
