"""The folder of a run: what belongs to it, and the network in it, for others to read.

config.json      what the run is; no other run may use the folder
120/, 240/       checkpoints by step (`jood.training.checkpoints`)
train.csv, validation.csv, events.*      the log (`jood.training.logs`)
starts.jsonl     a line per start: versions, devices, the step
"""

from collections.abc import Mapping
import datetime
import json
import os
import pathlib
from typing import Any

from flax import linen as nn
import jax
import orbax.checkpoint as ocp

from jood import provenance
from jood.models import check
from jood.training import processes
from jood.training.config import TrainConfig

CONFIG, STARTS = "config.json", "starts.jsonl"
WHICH = ("last", "best")


def claim(folder: pathlib.Path, config: Mapping[str, Any]) -> None:
    """Makes a folder that of a run, or finds out that it is that already.

    A run that has no checkpoint yet has nothing to lose, so that another takes its
    place: a command with a mistake in it can be mended and given again.

    Raises:
      ValueError: it belongs to a run with another configuration; all differences are
        listed. Or it holds checkpoints, and nothing says of which run.
      OSError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path, partial = folder / CONFIG, folder / f"{CONFIG}.partial"
        partial.write_text(json.dumps(config, indent=2) + "\n")  # also tries to write
        begun = any(entry.name[:1].isdigit() for entry in folder.iterdir())
        if begun:
            partial.unlink()
        else:
            partial.replace(path)
    except OSError as error:
        raise not_writable(folder, error) from error
    if not path.exists():
        raise ValueError(
            f"{folder} holds checkpoints but no {CONFIG}, so it is unknown of which "
            "run. Restore the file, or choose another --workdir."
        )
    # What an older jood did not know of has the value that it has by default.
    found = {**TrainConfig().as_json(), **read_config(folder)}
    config = json.loads(json.dumps(config))
    differ = [
        f"{k}: there {found.get(k)!r}, now {config.get(k)!r}"
        for k in sorted(found.keys() | config.keys())
        if found.get(k) != config.get(k)
    ]
    if differ:
        raise ValueError(
            f"{folder} belongs to a run with another configuration "
            f"({'; '.join(differ)}). Choose another --workdir or delete that folder."
        )


def note_start(folder: pathlib.Path, step: int) -> None:
    """Appends to `starts.jsonl` what a part of a run computes with, and since when.

    Raises:
      OSError: the folder cannot be written.
    """
    start = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "step": step,
        "devices": jax.device_count(),
        "kind": jax.devices()[0].device_kind,
        "processes": jax.process_count(),
        "versions": provenance.versions(),
    }
    try:
        with (folder / STARTS).open("a") as file:
            file.write(json.dumps(start) + "\n")
    except OSError as error:
        raise not_writable(folder, error) from error


def not_writable(folder: pathlib.Path, error: OSError) -> OSError:
    """Returns the error that says which folder could not be written, and why."""
    return OSError(
        f"cannot write to the run's folder {folder}: {error.strerror or error}. Choose "
        "another --workdir, or make it writable."
    )


def read_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the configuration of the run in a folder, as JSON values.

    Raises:
      FileNotFoundError: the folder holds no run.
      ValueError: the file is damaged.
    """
    path = pathlib.Path(folder) / CONFIG
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no checkpoint folder {folder}: {CONFIG} is missing. Train "
            "first: python launch/train.py --workdir=..."
        )
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}), so it is unknown which run the folder "
            "belongs to. Restore the file, or choose another --workdir."
        ) from None


def manager(folder: pathlib.Path, **options: Any) -> ocp.CheckpointManager:
    """Returns Orbax's manager of the checkpoints in a run's folder."""
    return ocp.CheckpointManager(
        folder,
        options=ocp.CheckpointManagerOptions(**options),
        item_handlers={
            "state": ocp.StandardCheckpointHandler(),
            "position": ocp.JsonCheckpointHandler(),
        },
    )


def position(opened: ocp.CheckpointManager, step: int) -> dict[str, Any]:
    """Returns what a checkpoint says of the data, and its validation's metrics."""
    arguments = ocp.args.Composite(position=ocp.args.JsonRestore())
    return dict(opened.restore(step, args=arguments)["position"])


def rating(metric: str, metrics: Mapping[str, float]) -> float | None:
    """Returns the value of a metric with its sign turned so that higher is better.

    FPR and losses are better low. None if it is not among the metrics.
    """
    if metric not in metrics:
        return None
    low = "fpr" in metric or "loss" in metric
    return -metrics[metric] if low else metrics[metric]


def load_variables(
    folder: str | os.PathLike[str],
    model: nn.Module,
    image_shape: tuple[int, ...],
    which: str = "last",
) -> dict[str, Any]:
    """Returns the variables of a run's network, to evaluate a model with.

    Args:
      folder: of a run.
      model: the network; its shapes are compared with the checkpoint's.
      image_shape: (H, W, C).
      which: 'last', or 'best' on the validation's metric that the run names.

    Returns:
      'params' and 'batch_stats', and 'ood_head' if the run trained one; NumPy arrays.

    Raises:
      FileNotFoundError: the folder holds no checkpoint, or none with a validation.
      ValueError: the checkpoint is of another architecture (all differences are
        listed), or is damaged.
    """
    path = pathlib.Path(folder).resolve()
    if not path.is_dir():
        raise FileNotFoundError(f"there is no checkpoint folder {path}.")
    alone = processes.alone()
    with manager(path, create=False, multiprocessing_options=alone) as opened:
        step = _chosen(opened, path, which)
        where = path / str(step)
        # Onto this machine's first device, whatever the run was sharded over.
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        try:
            target = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(
                    leaf.shape, leaf.dtype, sharding=device
                ),
                opened.item_metadata(step)["state"].tree,
            )
            arguments = ocp.args.Composite(state=ocp.args.StandardRestore(target))
            state = opened.restore(step, args=arguments)["state"]
        except Exception as error:  # Orbax and TensorStore raise many kinds
            raise ValueError(
                f"{where} is truncated or damaged ({summary(error)}). Run the command "
                "that trained it again: it goes on from the checkpoint before."
            ) from error
    variables = {**state["trained"], "batch_stats": state["batch_stats"]}
    check.check_variables(model, variables, image_shape, str(where))
    return jax.device_get(variables)


def _chosen(opened: ocp.CheckpointManager, path: pathlib.Path, which: str) -> int:
    if which not in WHICH:
        raise ValueError(f"which must be one of {', '.join(WHICH)}, got {which!r}.")
    steps = opened.all_steps()
    if not steps:
        raise FileNotFoundError(
            f"{path} holds no finished checkpoint. Train first: "
            "python launch/train.py --workdir=..."
        )
    if which == "last":
        return max(steps)
    # The metric that the run goes by now: it may have had another before.
    metric = position(opened, max(steps))["best"]
    rated = {}
    for step in steps:
        value = rating(metric, position(opened, step)["validation"])
        if value is not None:
            rated[step] = (value, step)  # of equal ones the later
    if not rated:
        raise FileNotFoundError(
            f"no checkpoint in {path} has a validation, so none is the best one. Take "
            "the last one, or train with --validate_every above 0."
        )
    return max(rated, key=lambda step: rated[step])


def summary(error: BaseException) -> str:
    """Returns an error in one short line: Orbax's fill a page."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
