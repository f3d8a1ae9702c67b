"""The network that a run began with, for objectives with a `reference`.

It never changes, so that it is written once, as `start` in the run's folder, and not
into every checkpoint. A resumed run reads it there: what it was copied from may have
been trained further since.
"""

import os
import pathlib

import jax
import orbax.checkpoint as ocp

from jood._utils import sharding
from jood.training.objectives.objective import Objective
from jood.training.state import TrainState
from jood.weights import run_checkpoint

FOLDER = "start"


def check(objective: Objective, trained: bool) -> None:
    """Raises ValueError if an objective needs a trained network and there is none.

    Args:
      objective: The run's.
      trained: Whether the run begins with a trained network and its classifier.
    """
    if objective.reference is not None and not trained:
        raise ValueError(
            f"{objective.spec} asks the network that the run begins with, expected a "
            "trained one, but its weights or its classifier are random. Name one with "
            "--init_from (without --new_head), or train with an objective that asks "
            "none first: cross_entropy, or lff(reference='current')."
        )


def kept(folder: str | os.PathLike[str], state: TrainState) -> TrainState:
    """Returns a state with the network that the run in a folder began with.

    A run that is not begun yet writes it; every process of a run calls this.

    Raises:
      ValueError: The run was begun, and that network is missing or damaged.
      OSError: It cannot be written.
    """
    if not state.start:
        return state
    path = pathlib.Path(folder).resolve() / FOLDER
    with ocp.StandardCheckpointer() as checkpointer:
        if not int(state.step):
            try:
                # From the host: the first process writes arrays that all have whole.
                checkpointer.save(path, sharding.on_host(state.start), force=True)
                checkpointer.wait_until_finished()
            except Exception as error:  # Orbax and TensorStore raise many kinds
                raise OSError(
                    f"cannot write the network that the run begins with to {path} "
                    f"({run_checkpoint.summary(error)}). Free space or make the folder "
                    "writable; the same command resumes."
                ) from error
            return state
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, state.start)
        try:
            return state.replace(start=checkpointer.restore(path, target))
        except Exception as error:  # Orbax and TensorStore raise many kinds
            raise ValueError(
                f"{path}, the network that this run began with, is missing or damaged "
                f"({run_checkpoint.summary(error)}). Restore it from a backup, or "
                f"begin another run: --init_from={path.parent}, another --workdir."
            ) from error
