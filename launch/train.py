"""Trains a classifier on a benchmark's ID training set.

    python launch/train.py --benchmark=digits --model=resnet_small --workdir=runs/a

The same command goes on where an interrupted run stopped.
"""

from absl import flags

from jood import cli
from jood import models
from jood.data import benchmarks
from jood.training import config as config_lib
from jood.training import loop

_DEFAULT = config_lib.TrainConfig()

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the checkpoints.", required=True
)
_BENCHMARK = flags.DEFINE_enum(
    "benchmark", _DEFAULT.benchmark, benchmarks.names(), "Whose ID set to train on."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of the data sets; else JOOD_DATA_DIR."
)
_WORKERS = flags.DEFINE_integer(
    "workers", 0, "Processes that read images; 0 reads with threads.", lower_bound=0
)
_CORRUPT = flags.DEFINE_enum(
    "corrupt",
    "raise",
    ("raise", "skip"),
    "What to do with images that cannot be read: stop, or train on others instead.",
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", None, "Side in pixels; else the benchmark's own.", lower_bound=32
)
_MODEL = flags.DEFINE_enum("model", _DEFAULT.model, models.names(), "The network.")
_EPOCHS = flags.DEFINE_integer(
    "epochs", _DEFAULT.epochs, "Passes over the training set.", lower_bound=1
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", _DEFAULT.batch_size, "Images per step, all devices.", lower_bound=1
)
_LEARNING_RATE = flags.DEFINE_float(
    "learning_rate", _DEFAULT.learning_rate, "Peak, after warm-up.", lower_bound=0.0
)
_SCHEDULE = flags.DEFINE_enum(
    "schedule",
    _DEFAULT.schedule,
    config_lib.SCHEDULES,
    "Of the learning rate: cosine to 0, or x0.1 at each of --decay_epochs.",
)
_WARMUP_EPOCHS = flags.DEFINE_float(
    "warmup_epochs", _DEFAULT.warmup_epochs, "Linear warm-up.", lower_bound=0.0
)
_DECAY_EPOCHS = flags.DEFINE_list("decay_epochs", [], "For --schedule=step.")
_WEIGHT_DECAY = flags.DEFINE_float(
    "weight_decay", _DEFAULT.weight_decay, "Of kernels.", lower_bound=0.0
)
_MOMENTUM = flags.DEFINE_float("momentum", _DEFAULT.momentum, "Of SGD.")
_DTYPE = flags.DEFINE_enum(
    "dtype", _DEFAULT.dtype, config_lib.DTYPES, "Compute type; parameters are float32."
)
_SEED = flags.DEFINE_integer(
    "seed", _DEFAULT.seed, "Of initialisation and data order.", lower_bound=0
)


def main(argv: list[str]) -> None:
    """Packs the flags into a TrainConfig and trains."""
    del argv
    config = config_lib.TrainConfig(
        benchmark=_BENCHMARK.value,
        image_size=_IMAGE_SIZE.value
        or benchmarks.describe(_BENCHMARK.value).image_size,
        model=_MODEL.value,
        epochs=_EPOCHS.value,
        batch_size=_BATCH_SIZE.value,
        learning_rate=_LEARNING_RATE.value,
        schedule=_SCHEDULE.value,
        warmup_epochs=_WARMUP_EPOCHS.value,
        decay_epochs=tuple(float(epoch) for epoch in _DECAY_EPOCHS.value),
        momentum=_MOMENTUM.value,
        weight_decay=_WEIGHT_DECAY.value,
        dtype=_DTYPE.value,
        seed=_SEED.value,
    )
    benchmark = benchmarks.get(
        config.benchmark,
        data_dir=_DATA_DIR.value,
        image_size=config.image_size,
        skip_corrupt=_CORRUPT.value == "skip",
    )
    model = models.create(config.model, len(benchmark.class_names), dtype=config.dtype)
    loop.train(config, benchmark, model, _WORKDIR.value, workers=_WORKERS.value)
    print(f"trained; checkpoints are in {_WORKDIR.value}")


if __name__ == "__main__":
    cli.run(main)
