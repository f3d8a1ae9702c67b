r"""Trains a network on the embedded benchmark and compares detectors on it.

    jood quickstart --workdir=runs/quickstart
    jood quickstart --objective=outlier_exposure --outliers=embedded \
        --seeds=3 --workdir=runs/outlier_exposure

No download: real digits on real photographs. Writes tables and pictures to
WORKDIR/results. If interrupted, the same command resumes at the last epoch.
"""

from collections.abc import Mapping
import dataclasses
import pathlib

from absl import flags

from jood import cli
from jood import models
from jood.core.component import Component
from jood.data import benchmarks
from jood.detector import Detector
from jood.evaluation import benchmark_run
from jood.evaluation import preflight
from jood.methods import detector_list
from jood.report.benchmark import results as results_lib
from jood.report.benchmark.benchmark_results import BenchmarkResults
from jood.training import augmentation
from jood.training import data as data_lib
from jood.training import loop
from jood.training import objectives
from jood.training import state as state_lib
from jood.training.config import DTYPES
from jood.training.config import TrainConfig

# Small batches learn the digits in fewer epochs: about a minute on two cores.
_DEFAULT = TrainConfig(epochs=6, batch_size=32, learning_rate=0.05)
# Scores for networks of another objective, beside those that go with it.
_USUAL = {
    "MSP": "msp()",
    "Energy": "energy()",
    "KNN": "knn()",
    "FS": "feature_sim()",
}

_WORKDIR = flags.DEFINE_string(
    "workdir", "runs/quickstart", "Folder of the checkpoints and the results."
)
_BENCHMARK = cli.define_benchmark(
    _DEFAULT.benchmark,
    "Benchmark to train and score on.",
    lambda: [name for name in benchmarks.names() if benchmarks.is_embedded(name)],
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", _DEFAULT.image_size, "Side in pixels.", lower_bound=32
)
_SEED = cli.define_seed(help="The first training seed.")
_SEEDS = flags.DEFINE_integer(
    "seeds", 1, "Number of networks to train; several give mean ± std.", lower_bound=1
)
_MODEL = cli.define_model(_DEFAULT.model, "The network.")
_EPOCHS = flags.DEFINE_integer(
    "epochs", _DEFAULT.epochs, "Passes over the training set.", lower_bound=1
)
_BATCH_SIZE = cli.define_batch_size(
    default=_DEFAULT.batch_size, help="Images per training step, over all devices."
)
_LEARNING_RATE = flags.DEFINE_float(
    "learning_rate", _DEFAULT.learning_rate, "Peak, after warm-up.", 0.0
)
_OBJECTIVE = flags.DEFINE_string(
    "objective",
    _DEFAULT.objective,
    f"Objective to minimise: {', '.join(objectives.names())}, perhaps with values: "
    "logitnorm(tau=0.1). Without --detectors a few scores and its own are compared.",
)
_AUGMENT = flags.DEFINE_list(
    "augment", [], f"Some of {', '.join(augmentation.NAMES)}, in this order."
)
_OUTLIERS = flags.DEFINE_string(
    "outliers",
    "",
    "Images that are not ID, where an objective asks for some: 'embedded', a folder, "
    ".npz or a set's name.",
)
_DTYPE = flags.DEFINE_enum(
    "dtype", _DEFAULT.dtype, DTYPES, "Compute type; parameters are float32."
)
_DETECTORS = cli.define_detectors()
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
        learning_rate=_LEARNING_RATE.value,
        objective=_OBJECTIVE.value,
        augment=tuple(_AUGMENT.value),
        outliers=_OUTLIERS.value,
        dtype=_DTYPE.value,
        seed=_SEED.value,
    )
    results = pathlib.Path(_WORKDIR.value) / "results"
    configuration = cli.flag_values(without=["workdir"]) | config.as_json()
    rows = _rows(config)
    detectors = {name: row.component for name, row in rows.items()}
    texts = {name: part.spec for name, part in detectors.items()}
    if _DRY_RUN.value:
        cli.would(
            f"train {config.model} on {config.benchmark} with {config.objective}, "
            f"{config.epochs} epochs, {_SEEDS.value} seed(s)",
            f"compare {len(detectors)} detectors: {', '.join(detectors)}",
            *cli.described(rows),
            f"write {results}",
        )
        return
    printed = results_lib.finished(results, configuration, texts)
    if printed is None:
        evaluations, detector, benchmark = _run(config, detectors, results.parent)
        printed = results_lib.write(
            results,
            BenchmarkResults(
                evaluations,
                detector,
                benchmark,
                texts,
                configuration,
                sources={name: row.sources for name, row in rows.items()},
            ),
        )
    print(f"\n{printed}\nwritten to {results}")


def _rows(config: TrainConfig) -> dict[str, detector_list.Row]:
    """The detectors to compare, by name."""
    plain = config.objective == _DEFAULT.objective
    if plain or _DETECTORS.value != "default":
        return cli.detectors(_DETECTORS.value, config.benchmark, config.model)
    own = objectives.parse(config.objective).rows
    return detector_list.read_each({**_USUAL, **own})


def _run(
    config: TrainConfig, detectors: Mapping[str, Component], workdir: pathlib.Path
) -> tuple[list[benchmark_run.Evaluation], Detector, benchmarks.Benchmark]:
    """Trains and scores a network per seed; returns the first fitted detector, too."""
    benchmark = benchmarks.get(config.benchmark, image_size=config.image_size)
    model = models.create(config.model, len(benchmark.class_names), dtype=config.dtype)
    data = data_lib.with_outliers(data_lib.of_benchmark(benchmark), config)
    objective = objectives.parse(config.objective)
    shapes = state_lib.shapes(model, objective, data.image_shape)
    preflight.check(detectors, model, benchmark.image_size, shapes)
    evaluations: list[benchmark_run.Evaluation] = []
    first: Detector | None = None
    for seed in range(config.seed, config.seed + _SEEDS.value):
        one = dataclasses.replace(config, seed=seed)
        folder = workdir / "checkpoints" / f"seed{seed}"
        variables = loop.train(one, data, model, folder)
        detector, result = benchmark_run.evaluate(
            benchmark_run.make_detector(
                detectors, benchmark, model, variables, config.model
            ),
            benchmark,
        )
        first = first or detector
        evaluations.append(result)
    assert first is not None
    return evaluations, first, benchmark


if __name__ == "__main__":
    cli.run(main)
