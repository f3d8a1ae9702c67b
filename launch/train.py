r"""Trains a network on a benchmark's ID set or your own folders, or fine-tunes one.

    jood train --benchmark=digits --model=resnet_small --workdir=runs/a
    jood train --images=data/train --validation=data/val --workdir=runs/b
    jood train --images=data/train --validation=data/val \
        --init_from=networks/resnet50 --new_head --learning_rate=0.01 --workdir=runs/c
    jood train --objective=lff --init_from=runs/a --epochs=5 \
        --learning_rate=0.02 --workdir=runs/a_lff
    jood train --flagfile=recipe:lff_cifar10_resnet34 --data_dir=data --workdir=runs/lff

The same command resumes a run that stopped; SIGTERM saves and ends it. Several
hosts: docs/training.md.
"""

import dataclasses
from typing import Any

from absl import flags
import jax

from jood import cli
from jood import models
from jood._utils import processes
from jood._utils import sharding
from jood.core.preprocessing import Preprocessing
from jood.data import benchmarks
from jood.training import augmentation
from jood.training import config as config_lib
from jood.training import data as data_lib
from jood.training import loop
from jood.training import objectives
from jood.training import periodic
from jood.training import validation
from jood.weights import checkpoint

_DEFAULT = config_lib.TrainConfig()
_OWN_SIZE = 64  # image size of networks for own images, from random weights

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run: checkpoints and log.", required=True
)
_BENCHMARK = cli.define_benchmark(
    help="Benchmark of the ID set to train on; without --images by default digits."
)
_IMAGES = flags.DEFINE_string(
    "images",
    None,
    "Instead of a benchmark: folder of your own images, a folder per class.",
)
flags.DEFINE_string(
    "validation",
    None,
    "With --images: folder of other images of these classes to validate on.",
)
flags.DEFINE_string(
    "outliers", "", "Auxiliary images that are not ID: a folder, .npz or a set's name."
)
flags.DEFINE_integer("outlier_batch_size", 0, "Per step; 0: as --batch_size.", 0)
_MEAN = flags.DEFINE_list(
    "mean",
    None,
    "With --images and random weights: per channel, of pixels in [0, 1]; one number "
    "reads gray images. Else ImageNet's.",
)
_STD = flags.DEFINE_list("std", None, "With --mean.")
_DATA_DIR = cli.define_data_dir()
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size",
    None,
    "Side in pixels; else the network's, the benchmark's, or 64 with --images.",
    8,
)
_MODEL = cli.define_model(None, "The network; else that of --init_from.")
_INIT_FROM = flags.DEFINE_string(
    "init_from",
    "",
    "Folder of a trained network to begin with: --output of jood convert, or "
    "--workdir of another run; else random weights.",
)
flags.DEFINE_bool(
    "new_head", False, "Give it a new classifier, since it had other classes."
)
flags.DEFINE_string(
    "objective",
    _DEFAULT.objective,
    f"Objective to minimise: {', '.join(objectives.names())}, or with values of its "
    "own: lff(delta=0.01, mu=2), ssod(gamma=0.9, balance='dr').",
)
flags.DEFINE_list(
    "augment", [], f"Some of {', '.join(augmentation.NAMES)}, in this order."
)
flags.DEFINE_list(
    "jitter",
    [f"{strength:g}" for strength in _DEFAULT.jitter],
    "Strengths of the augmentation 'jitter': brightness, contrast, saturation, hue.",
)
flags.DEFINE_float(
    "jitter_probability",
    _DEFAULT.jitter_probability,
    "Share of the images that 'jitter' changes.",
)
flags.DEFINE_integer(
    "hold_out",
    0,
    "Hold one image in so many out for validation; 0 trains on all, and validates on "
    "some of them.",
    0,
)
flags.DEFINE_integer("epochs", _DEFAULT.epochs, "Passes over the training set.", 1)
cli.define_batch_size(default=_DEFAULT.batch_size)
flags.DEFINE_integer("accumulate", 1, "Parts of a batch; averages gradients.", 1)
flags.DEFINE_enum(
    "optimizer", _DEFAULT.optimizer, config_lib.OPTIMIZERS, "SGD's, AdamW or LARS."
)
flags.DEFINE_float("learning_rate", _DEFAULT.learning_rate, "Peak, after warm-up.", 0.0)
flags.DEFINE_enum(
    "schedule",
    _DEFAULT.schedule,
    config_lib.SCHEDULES,
    "Schedule of the rate: cosine to 0, times --decay_factor at each of "
    "--decay_epochs, constant, or SupContrast's or BiT's.",
)
flags.DEFINE_float("warmup_epochs", _DEFAULT.warmup_epochs, "Linear warm-up.", 0.0)
flags.DEFINE_list("decay_epochs", [], "For --schedule=step.")
flags.DEFINE_float("decay_factor", _DEFAULT.decay_factor, "For --schedule=step.")
flags.DEFINE_float("weight_decay", _DEFAULT.weight_decay, "Decay of kernels.", 0.0)
flags.DEFINE_float(
    "clip_norm", _DEFAULT.clip_norm, "Longest gradient (L2 norm); 0: any.", 0.0
)
flags.DEFINE_float("momentum", _DEFAULT.momentum, "Momentum of SGD.")
flags.DEFINE_enum(
    "dtype", _DEFAULT.dtype, config_lib.DTYPES, "Compute type; parameters are float32."
)
cli.define_seed()

flags.DEFINE_integer(
    "log_every", 0, "Steps between rows of the log; 0 logs at the end of epochs.", 0
)
_VALIDATE_EVERY = flags.DEFINE_integer(
    "validate_every", 1, "Epochs between validations; 0 for never.", 0
)
flags.DEFINE_integer(
    "checkpoint_every", 0, "Steps between checkpoints; 0 saves at the end of epochs.", 0
)
flags.DEFINE_integer("keep", 2, "Newest checkpoints that are kept.", 1)
_BEST = flags.DEFINE_string(
    "best",
    None,
    "Metric of the validation by which the best checkpoint is kept; else the FPR95 "
    "against noise of Energy, or of SSOD's OOD factor.",
)
flags.DEFINE_bool(
    "split_state", False, "Split parameters and optimiser state over the devices."
)
_WORKERS = cli.define_workers()
_CORRUPT = cli.define_corrupt(
    help="Action on images that cannot be read: stop, or train on others.",
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "host:port of process 0, for a run of several processes."
)
_PROCESSES = flags.DEFINE_integer("processes", None, "Their number.", 1)
_PROCESS_INDEX = flags.DEFINE_integer("process_index", None, "This one's.", 0)
_CLUSTER = flags.DEFINE_bool(
    "cluster", False, "Several processes, as SLURM, a TPU pod, ... started them."
)
_DRY_RUN = cli.define_dry_run()


def main(argv: list[str]) -> None:
    """Packs the flags into a TrainConfig and trains."""
    del argv
    processes.begin(
        _COORDINATOR.value,
        _PROCESSES.value,
        _PROCESS_INDEX.value,
        cluster=_CLUSTER.value,
    )
    network = checkpoint.open(_INIT_FROM.value) if _INIT_FROM.value else None
    config = _config(network)
    data = data_lib.open_data(
        config,
        data_dir=_DATA_DIR.value,
        preprocessing=_preprocessing(network),
        class_names=None if network is None or config.new_head else network.class_names,
        skip_corrupt=_CORRUPT.value == "skip",
        in_memory=not _DRY_RUN.value,
    )
    if _DRY_RUN.value:
        steps = len(data.train) // config.batch_size
        cli.would(
            f"train {config.model} with {config.objective} on {len(data.train):,} "
            f"images of {data.name}, {config.image_size} px, "
            f"{len(data.class_names)} classes",
            f"for {config.epochs} epochs of {steps} steps, or what is left of them in "
            f"{_WORKDIR.value}, on {jax.device_count()} device(s)",
            f"as {config}",
        )
        return
    objective = objectives.parse(config.objective)
    detectors = {**validation.DETECTORS, **objective.validation}
    model = _model(config, network, len(data.class_names))
    validate = validation.Validation(
        model,
        data.preprocessing,
        data.validation,
        sharding.data_mesh(),
        config.batch_size,
        detectors,
        _WORKERS.value,
    )
    loop.train(
        config,
        data,
        model,
        _WORKDIR.value,
        validate=validate,
        keeping=_keeping(validate, ["energy", *objective.validation][-1]),
    )
    if processes.is_first():
        print(f"trained; checkpoints and log are in {_WORKDIR.value}")


def _config(network: checkpoint.TrainedNetwork | None) -> config_lib.TrainConfig:
    model, size = _MODEL.value, _IMAGE_SIZE.value
    if network is not None:
        if model not in (None, network.name):
            raise ValueError(
                f"--init_from={_INIT_FROM.value} is a {network.name}, not the "
                f"--model={model}. Leave --model out."
            )
        model, size = network.name, size or network.image_size
    if size is None:
        own = _IMAGES.value is not None
        size = _OWN_SIZE if own else benchmarks.describe(_benchmark()).image_size
    values = _values_of(config_lib.TrainConfig)
    values |= {
        "benchmark": _BENCHMARK.value or "",
        "images": _IMAGES.value or "",
        "validation": values["validation"] or "",
        "image_size": size,
        "model": model or _DEFAULT.model,
        "augment": tuple(values["augment"]),
        "decay_epochs": cli.numbers("decay_epochs", values["decay_epochs"]),
        "jitter": cli.numbers("jitter", values["jitter"]),
    }
    return config_lib.TrainConfig(**values)


def _benchmark() -> str:
    return _BENCHMARK.value or _DEFAULT.benchmark


def _preprocessing(network: checkpoint.TrainedNetwork | None) -> Preprocessing | None:
    """The one that is trained with; None for what is usual for the images."""
    mean, std = _MEAN.value, _STD.value
    if mean is None and std is None:
        return None if network is None else network.preprocessing
    if network is not None or _IMAGES.value is None or not (mean and std):
        raise ValueError(
            "--mean and --std are for --images and random weights, both together: a "
            "network of --init_from and a benchmark have their own."
        )
    return Preprocessing(cli.numbers("mean", mean), cli.numbers("std", std))


def _model(
    config: config_lib.TrainConfig,
    network: checkpoint.TrainedNetwork | None,
    classes: int,
) -> Any:
    if network is None:
        return models.create(config.model, classes, dtype=config.dtype)
    return network.model.clone(num_classes=classes, dtype=config.dtype)


def _keeping(
    validate: validation.Validation, main_detector: str
) -> periodic.LoopOptions:
    best = _BEST.value
    if best is None:
        best = f"noise_fpr95_{main_detector}"
    elif not _VALIDATE_EVERY.value:
        raise ValueError(f"--best={best} needs --validate_every above 0.")
    elif best not in validate.names:
        raise ValueError(
            f"--best must be a metric of the validation, one of "
            f"{', '.join(validate.names)}; got {best!r}."
        )
    return periodic.LoopOptions(**{**_values_of(periodic.LoopOptions), "best": best})


def _values_of(record: type) -> dict[str, Any]:
    """The flags that are named after the fields of a record."""
    names = [field.name for field in dataclasses.fields(record)]
    return {name: flags.FLAGS[name].value for name in names if name in flags.FLAGS}


if __name__ == "__main__":
    cli.run(main)
