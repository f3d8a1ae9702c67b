"""Measures `jood evaluate`, from start to end, against the forward passes alone.

    jood measure_evaluate --checkpoint=networks/densenet --benchmark=cifar10 \
        --data_dir=data

The evaluation is a process of its own with all that it does: it imports, compiles, fits
the detectors on the ID training images, scores every set and writes the report. The
forward passes are the runs of the network, plain and edited, that the detectors need: a
batch is timed before and after the evaluation, and its median is taken for each batch
that the evaluation reads.
"""

import pathlib
import tempfile
from typing import Any

from absl import flags
import jax
import numpy as np

import jood
from jood import cli
from jood._utils import compiling
from jood._utils import fresh_process
from jood._utils import measuring
from jood._utils import turns
from jood.core.backbones import edited_runs
from jood.data import benchmarks
from jood.data import device_batches
from jood.evaluation import benchmark_run
from jood.evaluation import preflight
from jood.weights import checkpoint

_CHECKPOINT = cli.define_checkpoint(required=True)
_BENCHMARK = cli.define_benchmark("cifar10", "Benchmark to score.")
_DATA_DIR = cli.define_data_dir()
_OOD = cli.define_ood()
_DETECTORS = cli.define_detectors("forward")
_BATCH_SIZE = cli.define_batch_size()
_RUNS = flags.DEFINE_integer("runs", 9, "Timed batches, before and after.", 1)
_OUTPUT = cli.define_output(required=False, help=measuring.OUTPUT)


def main(argv: list[str]) -> None:
    """Times batches, the evaluation, batches again, and prints the ratio."""
    del argv
    network = checkpoint.open(_CHECKPOINT.value)
    benchmark = benchmarks.get(
        _BENCHMARK.value,
        data_dir=_DATA_DIR.value,
        ood=_OOD.value,
        image_size=network.image_size,
        preprocessing=network.preprocessing,
    )
    sets = benchmark.id_train, benchmark.id_test, *benchmark.ood.values()
    batches = sum(-(-len(one) // _BATCH_SIZE.value) for one in sets)
    parts = _detectors(network, benchmark)
    detector = benchmark_run.ask(parts, benchmark, network)
    program = {"batch": _forward(detector, benchmark)}
    times = [*turns.measured(program, _RUNS.value)["batch"]]
    seconds = turns.seconds(_evaluate)
    times += [*turns.measured(program, _RUNS.value)["batch"]]
    alone = float(np.median(times)) * batches
    images = sum(map(len, sets))
    rows: list[dict[str, Any]] = [
        {"what": name, "s": own, "images/s": images / own, "x network": own / alone}
        for name, own in {"network": alone, "evaluate": seconds}.items()
    ]
    runs = edited_runs.prefixes(detector.component.edits)
    what = (
        f"{len(parts)} detectors, {network.name}, {benchmark.name}, {images:,} images, "
        f"{len(benchmark.id_train):,} of them to fit on, batch {_BATCH_SIZE.value}; "
        f"network: the {len(runs)} runs that they need"
    )
    measuring.report(what, rows, _OUTPUT.value)


def _detectors(
    network: checkpoint.TrainedNetwork, benchmark: benchmarks.Benchmark
) -> dict[str, jood.Component]:
    """The detectors that the evaluation compares, by name."""
    named = cli.detectors(_DETECTORS.value, benchmark.name, network.name)
    parts = {name: row.component for name, row in named.items()}
    if _DETECTORS.value in cli.GROUPS:
        given = network.model, network.variables, benchmark.id_train
        parts, _ = preflight.possible(parts, *given)
    preflight.check_forward(parts)
    return parts


def _forward(detector: jood.Detector, benchmark: benchmarks.Benchmark) -> Any:
    """One batch through all runs of the network, compiled as detectors are."""
    asked_by, component = detector.backbone.asked_by, detector.component

    def logits(variables: Any, images: Any) -> Any:
        return edited_runs.every_logits(asked_by(component, variables, images))

    batches = device_batches.sharded(benchmark.id_test, _BATCH_SIZE.value, disable=True)
    given = jax.device_put((detector.variables, next(iter(batches)).image))
    program = compiling.jit(logits).lower(*given).compile()
    return lambda: program(*given)


def _evaluate() -> None:
    """Runs the job in a process of its own, and throws its results away."""
    with tempfile.TemporaryDirectory() as folder:
        line = [
            str(pathlib.Path(__file__).with_name("evaluate.py")),
            f"--checkpoint={_CHECKPOINT.value}",
            f"--benchmark={_BENCHMARK.value}",
            f"--detectors={_DETECTORS.value}",
            f"--batch_size={_BATCH_SIZE.value}",
            f"--output={pathlib.Path(folder, 'results')}",
        ]
        line += [f"--data_dir={_DATA_DIR.value}"] if _DATA_DIR.value else []
        line += [f"--ood={','.join(_OOD.value)}"] if _OOD.value else []
        fresh_process.run(*line)


if __name__ == "__main__":
    cli.run(main)
