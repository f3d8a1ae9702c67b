"""Reads the network in the folder of a training run."""

from collections.abc import Mapping
import json
import logging
import os
import pathlib
from typing import Any

from flax import linen as nn
from flax import serialization
from flax import traverse_util
import jax
import numpy as np
import orbax.checkpoint as ocp

from jood._utils import fingerprinting
from jood._utils import processes
from jood.models import check

_LOGGER = logging.getLogger(__name__)
CONFIG = "config.json"
DIGEST = "sha256"  # in a checkpoint's position
WHICH = ("last", "best")


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
            "first: jood train --workdir=..."
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


def digest(state: Any, position: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of a state's arrays, whole in this process, and its position.

    It is part of the position, as `DIGEST`, so it is left out where that has it.
    """
    flat = traverse_util.flatten_dict(serialization.to_state_dict(state), sep="/")
    arrays = {name: leaf for name, leaf in flat.items() if hasattr(leaf, "shape")}
    undigested = {name: value for name, value in position.items() if name != DIGEST}
    text = json.dumps(undigested, sort_keys=True)
    return fingerprinting.array_digest(**arrays, position=np.array(text.encode()))


def check_whole(state: Any, position: Mapping[str, Any], step: int) -> None:
    """Checks that the checkpoint of a step is what was written there.

    The log names one without a digest, which an older version of jood wrote.

    Raises:
      ValueError: An array or the position was changed, or comes from another step.
    """
    if DIGEST not in position:
        _LOGGER.info(
            "the checkpoint of step %d cannot be checked: an older version of jood "
            "wrote it without a digest",
            step,
        )
    elif digest(state, position) != position[DIGEST]:
        raise ValueError(
            "it was changed after it was written: it does not match its SHA-256"
        )
    elif position["next_batch"] != step:
        raise ValueError(f"it is a copy of step {position['next_batch']}")


def rating(metric: str, metrics: Mapping[str, float]) -> float | None:
    """Returns a metric with the sign by which higher is better; None without it."""
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
    """Returns the variables of a run's network as NumPy arrays.

    Args:
      folder: The folder of a run.
      model: The network; its shapes are compared with those of the checkpoint.
      image_shape: (H, W, C).
      which: 'last', or 'best' on the validation's metric that the run names.

    Returns:
      'params', 'batch_stats' and what the run's objective added, such as 'ood_head'.

    Raises:
      FileNotFoundError: The folder holds no checkpoint, or none with a validation.
      ValueError: The checkpoint is damaged or of another architecture.
    """
    path = pathlib.Path(folder).resolve()
    if not path.is_dir():
        raise FileNotFoundError(f"there is no checkpoint folder {path}.")
    alone = processes.alone()
    with manager(path, create=False, multiprocessing_options=alone) as opened:
        step = _chosen(opened, path, which)
        where = path / str(step)
        try:
            target = on_one_device(opened.item_metadata(step)["state"].tree)
            arguments = ocp.args.Composite(state=ocp.args.StandardRestore(target))
            state = jax.device_get(opened.restore(step, args=arguments)["state"])
            check_whole(state, position(opened, step), step)
        except Exception as error:  # Orbax and TensorStore raise many kinds
            raise ValueError(
                f"{where} is truncated or damaged ({summary(error)}). Run the command "
                "that trained it again: it resumes from the checkpoint before."
            ) from error
    others = state.keys() - {"step", "trained", "opt_state", "rng"}
    variables = {**state["trained"], **{name: state[name] for name in others}}
    check.check_variables(model, variables, image_shape, str(where))
    return variables


def on_one_device(tree: Any) -> Any:
    """Returns where to restore arrays of some metadata: on our first device."""
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device), tree
    )


def _chosen(opened: ocp.CheckpointManager, path: pathlib.Path, which: str) -> int:
    if which not in WHICH:
        raise ValueError(f"which must be one of {', '.join(WHICH)}, got {which!r}.")
    steps = opened.all_steps()
    if not steps:
        raise FileNotFoundError(
            f"{path} holds no finished checkpoint. Train first: "
            "jood train --workdir=..."
        )
    if which == "last":
        return max(steps)
    # The metric that the run goes by now: it may have had another before.
    metric = position(opened, max(steps))["best"]
    ratings = {n: rating(metric, position(opened, n)["validation"]) for n in steps}
    # The later of equal ones.
    rated = [(value, step) for step, value in ratings.items() if value is not None]
    if not rated:
        raise FileNotFoundError(
            f"no checkpoint in {path} has a validation, so none is the best one. Take "
            "the last one, or train with --validate_every above 0."
        )
    return max(rated)[1]


def summary(error: BaseException) -> str:
    """Returns an error in one short line: Orbax's fill a page."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
