r"""Fine-tunes a network with LFF or SSOD and compares it with what it was before.

    jood finetune --objective=lff --seeds=3
    jood finetune --objective=ssod --seeds=3
    jood finetune --objective=lff --checkpoint=networks/resnet20 \
        --benchmark=cifar10 --data_dir=data --augment=crop,flip --weight_decay=1e-4 \
        --workdir=runs/cifar10

Without --checkpoint it first trains one network per seed, which all objectives in a
--workdir share. Writes tables and pictures to WORKDIR/OBJECTIVE/results. If
interrupted, the same command resumes. The defaults are for the embedded benchmark;
--objective=cross_entropy shows what the further epochs do alone.
"""

from collections.abc import Mapping
import dataclasses
import pathlib
import re
from typing import Any

from absl import flags

from jood import cli
from jood import models
from jood.core.component import Component
from jood.data import benchmarks
from jood.data.benchmarks import choose_preprocessing
from jood.detector import Detector
from jood.evaluation import benchmark_run
from jood.evaluation import preflight
from jood.methods import detector_list
from jood.methods.detector_list import Row
from jood.report.benchmark import results as results_lib
from jood.report.finetuning import results
from jood.training import augmentation
from jood.training import config as config_lib
from jood.training import data as data_lib
from jood.training import loop
from jood.training import objectives
from jood.training import periodic
from jood.weights import checkpoint

# LFF's Table IV, and what LFF and SSOD are about.
DETECTORS = {
    "MSP": "msp()",
    "ODIN": "odin()",
    "Energy": "energy()",
    # With most features 0, as after LFF, the 0.9-quantile is 0; 1.0 is ReAct's own.
    "ReAct": "react(clip=1.0)|energy()",
    "FeatureNorm": "feature_norm()",
    "FeatureNorm (NormRatio)": "feature_norm_selected(among='blocks')",
    "FS": "feature_sim()",
    results.NORM: "penultimate_norm()",
}
LEARNING_RATE = 0.05  # for the embedded benchmark, unless the objective has its own
_PRETRAIN = config_lib.TrainConfig(epochs=5)

_WORKDIR = flags.DEFINE_string(
    "workdir", "runs/finetune", "Folder of the runs and the results."
)
_OBJECTIVE = flags.DEFINE_string(
    "objective",
    "lff",
    f"One of {', '.join(objectives.names())}, perhaps with values: lff(mu=2).",
)
_CHECKPOINT = cli.define_checkpoint(
    help="Folder of a trained network; else one is trained."
)
_BENCHMARK = cli.define_benchmark("digits", "Benchmark to train and score on.")
_DATA_DIR = cli.define_data_dir()
_OOD = cli.define_ood()
_MODEL = cli.define_model("resnet_small_8x8", "The network, without --checkpoint.")
_PRETRAIN_EPOCHS = flags.DEFINE_integer(
    "pretrain_epochs", _PRETRAIN.epochs, "Without --checkpoint.", 1
)
_EPOCHS = flags.DEFINE_integer("epochs", 10, "Epochs of fine-tuning.", 1)
_BATCH_SIZE = cli.define_batch_size(help="Images per step.")
_LEARNING_RATE = flags.DEFINE_float(
    "learning_rate", None, "The peak; by default the objective's, or 0.05.", 0.0
)
_SCHEDULE = flags.DEFINE_enum(
    "schedule", "cosine", config_lib.SCHEDULES, "Schedule of the learning rate."
)
_DECAY_EPOCHS = flags.DEFINE_list("decay_epochs", [], "For --schedule=step.")
_DECAY_FACTOR = flags.DEFINE_float("decay_factor", 0.1, "For --schedule=step.")
_WARMUP_EPOCHS = flags.DEFINE_float(
    "warmup_epochs", 1.0, "Linear warm-up of fine-tuning.", 0.0
)
_OPTIMIZER = flags.DEFINE_enum(
    "optimizer", "nesterov", config_lib.OPTIMIZERS, "SGD's forms, or AdamW."
)
_WEIGHT_DECAY = flags.DEFINE_float("weight_decay", 5e-4, "Decay of kernels.", 0.0)
_MOMENTUM = flags.DEFINE_float("momentum", 0.9, "Momentum of SGD.")
_AUGMENT = flags.DEFINE_list(
    "augment", [], f"In fine-tuning, some of {', '.join(augmentation.NAMES)}."
)
_OUTLIERS = flags.DEFINE_string(
    "outliers", "", "Images that are not ID: a folder, .npz or set's name."
)
_OUTLIER_BATCH = flags.DEFINE_integer("outlier_batch_size", 0, "0: as ID images.", 0)
_SEED = cli.define_seed(help="The first seed.")
_SEEDS = flags.DEFINE_integer("seeds", 1, "Number of runs; several give mean ± std.", 1)
_DETECTORS = cli.define_detectors()
_DRY_RUN = cli.define_dry_run()


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """The network of one seed before fine-tuning, and where it lies."""

    folder: str
    network: checkpoint.TrainedNetwork


def main(argv: list[str]) -> None:
    """Trains, fine-tunes, scores both and writes the results."""
    del argv
    objective = objectives.parse(_OBJECTIVE.value)
    folder = pathlib.Path(_WORKDIR.value) / _slug(objective.spec)
    if _DETECTORS.value == "default":
        rows = detector_list.read_each({**DETECTORS, **objective.rows})
    else:
        backbone = _MODEL.value
        if _CHECKPOINT.value is not None:
            backbone = checkpoint.open(_CHECKPOINT.value).name
        rows = cli.detectors(_DETECTORS.value, _BENCHMARK.value, backbone)
        rows[results.NORM] = detector_list.read(DETECTORS[results.NORM])
    texts = {name: row.component.spec for name, row in rows.items()}
    described = benchmarks.describe(_BENCHMARK.value)
    if _OOD.value is not None:
        choose_preprocessing.check_ood(described, _OOD.value)
    # Bad values end the job here, not after the pre-training.
    _config(objective, described.image_size, _MODEL.value, "", _SEED.value)
    configuration = cli.flag_values(without=["workdir"])
    configuration |= cli.data_origin(_BENCHMARK.value, _DATA_DIR.value)
    configuration["objective"] = objective.spec
    if _DRY_RUN.value:
        start = _CHECKPOINT.value or f"{_MODEL.value}, pre-trained for it,"
        cli.would(
            f"fine-tune {start} with {objective.spec} on {_BENCHMARK.value}, "
            f"{_EPOCHS.value} epochs, {_SEEDS.value} seed(s)",
            f"compare before and after: {', '.join(rows)}",
            *cli.described(rows),
            f"write {folder / 'results'}",
        )
        return
    printed = results_lib.finished(folder / "results", configuration, texts)
    if printed is None:
        printed = _run(objective, folder, rows, configuration)
    print(f"\n{printed}\nwritten to {folder / 'results'}")


def _run(
    objective: objectives.Objective,
    folder: pathlib.Path,
    rows: Mapping[str, Row],
    configuration: Mapping[str, Any],
) -> str:
    detectors = {name: row.component for name, row in rows.items()}
    pairs: list[results.Pair] = []
    drawn: list[Detector] = []
    for seed in range(_SEED.value, _SEED.value + _SEEDS.value):
        start = _before(seed)
        network = start.network
        benchmark = benchmarks.get(
            _BENCHMARK.value,
            data_dir=_DATA_DIR.value,
            image_size=network.image_size,
            preprocessing=network.preprocessing,
            ood=_OOD.value,
        )
        preflight.check_classes(network.model, network.class_names, benchmark)
        after = _after(start, objective, folder / f"seed{seed}", seed)
        both = [
            _evaluated(network, variables, detectors, benchmark)
            for variables in (network.variables, after)
        ]
        pairs.append(results.Pair(*(result for _, result in both)))
        drawn = drawn or [detector for detector, _ in both]
    return results.write(
        folder / "results",
        results.FinetuningResults(
            pairs,
            before=drawn[0],
            after=drawn[1],
            sample=objective.sample,
            label=_name(objective.spec).replace("_", " ").upper(),
            benchmark=benchmark,
            detectors={name: part.spec for name, part in detectors.items()},
            configuration=configuration,
            sources={name: row.sources for name, row in rows.items()},
        ),
    )


def _before(seed: int) -> Start:
    """The given network, or one that is trained here."""
    folder = _CHECKPOINT.value
    if folder is None:
        described = benchmarks.describe(_BENCHMARK.value)
        config = dataclasses.replace(
            _PRETRAIN,
            benchmark=_BENCHMARK.value,
            image_size=described.image_size,
            model=_MODEL.value,
            epochs=_PRETRAIN_EPOCHS.value,
            batch_size=_BATCH_SIZE.value,
            seed=seed,
        )
        data = data_lib.open_data(config, data_dir=_DATA_DIR.value)
        model = models.create(config.model, len(data.class_names))
        folder = str(pathlib.Path(_WORKDIR.value) / "pretrained" / f"seed{seed}")
        loop.train(config, data, model, folder)
    return Start(folder, checkpoint.open(folder))


def _after(
    start: Start, objective: objectives.Objective, folder: pathlib.Path, seed: int
) -> dict[str, Any]:
    """The variables after fine-tuning."""
    network = start.network
    config = _config(objective, network.image_size, network.name, start.folder, seed)
    dtype = getattr(network.model, "dtype", config.dtype)
    config = dataclasses.replace(config, dtype=str(dtype))
    data = data_lib.open_data(
        config, data_dir=_DATA_DIR.value, preprocessing=network.preprocessing
    )
    return loop.train(
        config,
        data,
        network.model,
        folder,
        variables=network.variables,
        keeping=periodic.LoopOptions(validate_every=0),
    )


def _config(
    objective: objectives.Objective,
    image_size: int,
    model: str,
    init_from: str,
    seed: int,
) -> config_lib.TrainConfig:
    """The run that fine-tunes."""
    rate = _LEARNING_RATE.value
    if rate is None:
        rate = objective.fine_tuning_rate or LEARNING_RATE
    return config_lib.TrainConfig(
        benchmark=_BENCHMARK.value,
        image_size=image_size,
        model=model,
        objective=objective.spec,
        outliers=_OUTLIERS.value,
        outlier_batch_size=_OUTLIER_BATCH.value,
        init_from=init_from,
        augment=tuple(_AUGMENT.value),
        epochs=_EPOCHS.value,
        batch_size=_BATCH_SIZE.value,
        optimizer=_OPTIMIZER.value,
        learning_rate=rate,
        schedule=_SCHEDULE.value,
        warmup_epochs=_WARMUP_EPOCHS.value,
        decay_epochs=cli.numbers("decay_epochs", _DECAY_EPOCHS.value),
        decay_factor=_DECAY_FACTOR.value,
        momentum=_MOMENTUM.value,
        weight_decay=_WEIGHT_DECAY.value,
        seed=seed,
    )


def _evaluated(
    network: checkpoint.TrainedNetwork,
    variables: Mapping[str, Any],
    detectors: Mapping[str, Component],
    benchmark: benchmarks.Benchmark,
) -> tuple[Detector, benchmark_run.Evaluation]:
    """A fitted detector on a network before or after, and what it gives."""
    kept, _ = preflight.possible(detectors, network.model, variables)
    channels = len(benchmark.preprocessing.mean)
    preflight.check(kept, network.model, benchmark.image_size, variables, channels)
    detector = benchmark_run.make_detector(
        kept, benchmark, network.model, variables, network.name
    )
    return benchmark_run.evaluate(detector, benchmark, batch_size=_BATCH_SIZE.value)


def _name(text: str) -> str:
    return text.split("(")[0]


def _slug(text: str) -> str:
    """A folder's name for an objective: its own, and values that are not default."""
    if text == objectives.parse(_name(text)).spec:
        return _name(text)
    return re.sub(r"[^\w.=-]+", "_", text.replace("'", "")).strip("_")


if __name__ == "__main__":
    cli.run(main)
