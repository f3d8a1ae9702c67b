"""Trains a network on the embedded benchmark and compares detectors on it.

    python launch/quickstart.py --workdir=runs/quickstart

No download: real digits on real photographs. Writes tables and pictures to
WORKDIR/results. Interrupted, the same command goes on from the last epoch.
"""

import dataclasses
import pathlib
from typing import Any

from absl import flags

from jood import cli
from jood import models
from jood.data import benchmarks
from jood.evaluation import benchmark_run
from jood.evaluation import preflight
from jood.report.benchmark import results as results_lib
from jood.training import data as data_lib
from jood.training import loop
from jood.training.config import DTYPES
from jood.training.config import TrainConfig

_DEFAULT = TrainConfig()

_WORKDIR = flags.DEFINE_string(
    "workdir", "runs/quickstart", "Folder of the checkpoints and the results."
)
_BENCHMARK = flags.DEFINE_enum(
    "benchmark",
    _DEFAULT.benchmark,
    [name for name in benchmarks.names() if benchmarks.is_embedded(name)],
    "What to train and score on.",
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", _DEFAULT.image_size, "Side in pixels.", lower_bound=32
)
_SEED = flags.DEFINE_integer("seed", 0, "The first training seed.", lower_bound=0)
_SEEDS = flags.DEFINE_integer(
    "seeds", 1, "How many networks to train; several give mean ± std.", lower_bound=1
)
_MODEL = flags.DEFINE_enum("model", _DEFAULT.model, models.names(), "The network.")
_EPOCHS = flags.DEFINE_integer(
    "epochs", _DEFAULT.epochs, "Passes over the training set.", lower_bound=1
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", _DEFAULT.batch_size, "Images per step, all devices.", lower_bound=1
)
_DTYPE = flags.DEFINE_enum(
    "dtype", _DEFAULT.dtype, DTYPES, "Compute type; parameters are float32."
)
_DETECTORS = cli.define_detectors()
flags.declare_key_flag("detectors")  # lists it in --help
_DRY_RUN = cli.define_dry_run()


def main(argv: list[str]) -> None:
    """Trains one network per seed, scores them and writes the results."""
    del argv
    config = TrainConfig(
        benchmark=_BENCHMARK.value,
        image_size=_IMAGE_SIZE.value,
        model=_MODEL.value,
        epochs=_EPOCHS.value,
        batch_size=_BATCH_SIZE.value,
        dtype=_DTYPE.value,
        seed=_SEED.value,
    )
    results = pathlib.Path(_WORKDIR.value) / "results"
    configuration = {**config.as_json(), "seeds": _SEEDS.value}
    detectors = cli.detectors(_DETECTORS.value, config.benchmark, config.model)
    if _DRY_RUN.value:
        cli.would(
            f"train {config.model} on {config.benchmark}, {config.epochs} epochs, "
            f"{_SEEDS.value} seed(s)",
            f"compare {len(detectors)} detectors: {', '.join(detectors)}",
            f"write {results}",
        )
        return
    printed = results_lib.finished(results, configuration, detectors)
    if printed is None:
        printed = run(config, detectors, configuration, results)
    print(f"\n{printed}\nwritten to {results}")


def run(
    config: TrainConfig,
    detectors: dict[str, str],
    configuration: dict[str, Any],
    results: pathlib.Path,
) -> str:
    """Trains, evaluates and writes; returns the table as text."""
    benchmark = benchmarks.get(config.benchmark, image_size=config.image_size)
    model = models.create(config.model, len(benchmark.class_names), dtype=config.dtype)
    preflight.check(detectors, benchmark, model, config.model)
    evaluations, trained = [], []
    for seed in range(config.seed, config.seed + configuration["seeds"]):
        folder = results.parent / "checkpoints" / f"seed{seed}"
        one = dataclasses.replace(config, seed=seed)
        data = data_lib.of_benchmark(benchmark)
        trained.append(loop.train(one, data, model, folder))
        detector = benchmark_run.make_detector(
            detectors, benchmark, model, trained[-1], config.model
        )
        _, result = benchmark_run.evaluate(
            detector, benchmark, batch_size=config.batch_size
        )
        evaluations.append(result)
    return results_lib.write(
        results,
        evaluations,
        benchmark=benchmark,
        detectors=detectors,
        configuration=configuration,
        model=model,
        variables=trained[0],
    )


if __name__ == "__main__":
    cli.run(main)
