"""Checkpoints of a run, with Orbax: atomic, resumable, tied to one configuration.

A run's folder holds `config.json` beside the checkpoints of its last steps. A
checkpoint appears complete or not at all, so a killed run goes on from the last
whole one.
"""

import json
import os
import pathlib
from typing import Any

from flax import linen as nn
import jax
import orbax.checkpoint as ocp

from jood.models import check
from jood.training.state import TrainState

KEPT = 2  # the newest ones
_CONFIG = "config.json"


class Checkpoints:
    """Saves and restores the states of one run; use it as a context manager."""

    def __init__(self, folder: str | os.PathLike[str], config: dict[str, Any]):
        """Opens or creates a run's folder.

        Raises:
          ValueError: the folder belongs to a run with another configuration; all
            differences are listed.
        """
        self._folder = pathlib.Path(folder).resolve()
        self._folder.mkdir(parents=True, exist_ok=True)
        _check_config(self._folder / _CONFIG, config)
        self._manager = _manager(self._folder)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.wait_until_finished()
        self._manager.close()

    def save(self, state: TrainState) -> None:
        """Starts to write a checkpoint; training may go on meanwhile."""
        self._manager.save(int(state.step), args=ocp.args.StandardSave(state))

    def restore(self, state: TrainState) -> TrainState:
        """Returns the newest state, or the given one if there is none."""
        step = self._manager.latest_step()
        if step is None:
            return state
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
        return self._manager.restore(step, args=ocp.args.StandardRestore(target))


def read_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the configuration of the run in a folder, as JSON values.

    Raises:
      FileNotFoundError: the folder holds no run.
    """
    path = pathlib.Path(folder) / _CONFIG
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no checkpoint folder {folder}: {_CONFIG} is missing. Train "
            "first: python launch/train.py --workdir=..."
        )
    return json.loads(path.read_text())


def load_variables(
    folder: str | os.PathLike[str], model: nn.Module, image_shape: tuple[int, ...]
) -> dict[str, Any]:
    """Returns the variables of the newest checkpoint, to evaluate a model with.

    Args:
      folder: of a run.
      model: the network; its shapes are compared with the checkpoint's.
      image_shape: (H, W, C).

    Raises:
      FileNotFoundError: the folder holds no checkpoint.
      ValueError: the checkpoint is of another architecture; all differences are
        listed.
    """
    path = pathlib.Path(folder).resolve()
    if not path.is_dir():
        raise FileNotFoundError(f"there is no checkpoint folder {path}.")
    with _manager(path) as manager:
        step = manager.latest_step()
        if step is None:
            raise FileNotFoundError(
                f"{path} holds no finished checkpoint. Train first: "
                "python launch/train.py --workdir=..."
            )
        # Onto this machine's first device, whatever the run was sharded over.
        device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        target = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device),
            manager.item_metadata(step).tree,
        )
        state = manager.restore(step, args=ocp.args.StandardRestore(target))
    variables = {"params": state["params"], "batch_stats": state["batch_stats"]}
    check.check_variables(model, variables, image_shape, str(path))
    return jax.device_get(variables)


def _manager(folder: pathlib.Path) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(
        folder,
        options=ocp.CheckpointManagerOptions(max_to_keep=KEPT),
        item_handlers=ocp.StandardCheckpointHandler(),
    )


def _check_config(path: pathlib.Path, config: dict[str, Any]) -> None:
    if not path.exists():
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(config, indent=2) + "\n")
        partial.rename(path)
        return
    found = json.loads(path.read_text())
    keys = sorted(found.keys() | config.keys())
    differ = [
        f"{k}: there {found.get(k)!r}, now {config.get(k)!r}"
        for k in keys
        if found.get(k) != config.get(k)
    ]
    if differ:
        raise ValueError(
            f"{path.parent} belongs to a run with another configuration "
            f"({'; '.join(differ)}). Choose another --workdir or delete that folder."
        )
