"""Trains a network on the embedded benchmark and compares detectors on it.

    python launch/quickstart.py --workdir=runs/quickstart

No download: real digits on real photographs. Writes tables and pictures to
WORKDIR/results. Interrupted, the same command goes on from the last epoch.
"""

import dataclasses
import pathlib

from absl import flags

from jood import cli
from jood import evaluation
from jood import models
from jood import presets
from jood.data import benchmarks
from jood.report import heatmaps
from jood.report import tables
from jood.report import writing
from jood.training import loop
from jood.training.config import DTYPES
from jood.training.config import TrainConfig

_DEFAULT = TrainConfig()

_WORKDIR = flags.DEFINE_string(
    "workdir", "runs/quickstart", "Folder of the checkpoints and the results."
)
_BENCHMARK = flags.DEFINE_enum(
    "benchmark", _DEFAULT.benchmark, benchmarks.names(), "What to train and score on."
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


def main(argv: list[str]) -> None:
    """Trains one network per seed, scores them and writes the results."""
    del argv
    workdir = pathlib.Path(_WORKDIR.value)
    benchmark = benchmarks.get(_BENCHMARK.value)
    detectors = cli.detectors(_DETECTORS.value, benchmark.name)
    config = TrainConfig(
        benchmark=benchmark.name,
        model=_MODEL.value,
        epochs=_EPOCHS.value,
        batch_size=_BATCH_SIZE.value,
        dtype=_DTYPE.value,
    )
    model = models.create(config.model, len(benchmark.class_names), dtype=config.dtype)
    results, first = [], None
    for seed in range(_SEED.value, _SEED.value + _SEEDS.value):
        run = dataclasses.replace(config, seed=seed)
        folder = workdir / "checkpoints" / f"seed{seed}"
        variables = loop.train(run, benchmark, model, folder)
        detector = evaluation.make_detector(detectors, benchmark, model, variables)
        results.append(
            evaluation.evaluate(detector, benchmark, batch_size=config.batch_size)[1]
        )
        first = first or variables
    assert first is not None
    table = tables.build(results, list(detectors), benchmark.near)
    k = float(presets.values(benchmark.name)["k"])
    printed = writing.write(
        workdir / "results",
        table,
        specs=detectors,
        configuration={**config.as_json(), "seed": _SEED.value, "seeds": _SEEDS.value},
        evaluation=results[0],
        shown=[n for n in presets.SHOWN if n in detectors] or list(detectors)[:6],
        figures={"heatmaps": heatmaps.draw(benchmark, model, first, k)},
        replace=True,
    )
    print(f"\n{printed}\nwritten to {workdir / 'results'}")


if __name__ == "__main__":
    cli.run(main)
