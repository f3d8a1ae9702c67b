"""Checkpoints of a run, with Orbax: atomic, resumable, tied to one configuration.

A checkpoint is a folder named by its step, with two parts: `state`, a `TrainState`, and
`position`, the place in the data with the validation's metrics there. It is written in
the background and appears complete or not at all, so a killed run resumes from the last
whole one. A SHA-256 of both in the position reveals later damage; damaged checkpoints
are set aside.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import itertools
import json
import logging
import os
import pathlib
from typing import Any, NamedTuple

import filelock
from flax import serialization
from flax import traverse_util
import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from jood._utils import processes
from jood._utils import sharding
from jood.models import check
from jood.training import run_folder
from jood.training.state import TrainState
from jood.weights import run_checkpoint

_LOGGER = logging.getLogger(__name__)
# What TensorStore says of a machine, not of a file.
_PASSING = ("RESOURCE_EXHAUSTED", "PERMISSION_DENIED", "UNAVAILABLE")


class Checkpoints:
    """Saves and restores the states of one run; use it as a context manager.

    Args:
      folder: The run's folder, which all its processes see.
      config: The run's configuration, JSON values, which the folder belongs to.
      position: Settings that decide the batches, JSON values, kept in each checkpoint.
      keep: Number of newest checkpoints that are kept.
      best: Metric of the validation by which the best one is kept, too; '': none is.

    Raises:
      ValueError: The folder belongs to a run with another configuration.
      OSError: The folder cannot be written, or another process trains in it.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        config: dict[str, Any],
        position: Mapping[str, Any],
        keep: int = 2,
        best: str = "",
    ):
        self._folder = pathlib.Path(folder).resolve()
        self._position, self._best = dict(position), best
        self._lock = lock = filelock.FileLock(self._folder / ".lock", blocking=False)
        try:
            processes.first_does(lambda: run_folder.claim(self._folder, config, lock))
        except Exception:
            self._lock.release()
            raise
        self._ratings: dict[int, float | None] = {}
        self._policy = last_and_best(keep, self._ratings)
        self._manager = self._opened()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.wait()
        except OSError:
            if kind is None:  # else the first error is the one to tell
                raise
        finally:
            self._manager.close()
            self._lock.release()

    def save(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        """Starts to write a state with a validation's metrics ({} without one).

        Raises:
          OSError: This checkpoint, or the one before, could not be written.
        """
        step = int(state.step)
        if step == self._manager.latest_step():
            return
        self._ratings[step] = run_checkpoint.rating(self._best, metrics)
        about = {"next_batch": step, "best": self._best, "validation": dict(metrics)}
        position = json.loads(json.dumps({**self._position, **about}))
        whole = sharding.on_host(state.as_saved())
        position[run_checkpoint.DIGEST] = run_checkpoint.digest(whole, position)
        parts = ocp.args.Composite(
            state=ocp.args.StandardSave(state.as_saved()),
            position=ocp.args.JsonSave(position),
        )
        with self._writing():
            self._manager.save(step, args=parts)

    def wait(self) -> None:
        """Returns when everything is written; raises OSError if it could not be."""
        with self._writing():
            self._manager.wait_until_finished()

    def latest(self) -> pathlib.Path | None:
        """Returns the folder of the newest complete checkpoint, None without any."""
        self._manager.reload()
        steps = self._manager.all_steps()
        return self._folder / str(max(steps)) if steps else None

    def last_good(self) -> pathlib.Path | None:
        """Returns the latest checkpoint once the one being written is complete."""
        with contextlib.suppress(OSError):  # the caller has another error to report
            self.wait()
        return self.latest()

    def restore(self, state: TrainState) -> TrainState:
        """Returns the newest whole state, placed as the given one; else that one.

        Raises:
          ValueError: The newest whole checkpoint is of another architecture or of other
            data, or none is whole.
          OSError: The machine failed, not a checkpoint.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for index, step in enumerate(steps):
            checkpoint = self._read(step, state)
            if processes.all_agree(checkpoint is not None):
                assert checkpoint is not None
                self._check_position(checkpoint[1], step)
                for damaged in steps[:index]:
                    self._put_aside(damaged)
                return checkpoint[0]
        if steps:
            numbers = ", ".join(map(str, steps))
            raise ValueError(
                f"none of the checkpoints in {self._folder} is whole: {numbers}. "
                "Restore one from a backup, or delete the folder to start over."
            )
        return state

    def _opened(self) -> ocp.CheckpointManager:
        manager = run_checkpoint.manager(
            self._folder, cleanup_tmp_directories=True, preservation_policy=self._policy
        )
        for step in manager.all_steps():
            with contextlib.suppress(Exception):  # a damaged one is not the best
                metrics = run_checkpoint.position(manager, step)["validation"]
                self._ratings[step] = run_checkpoint.rating(self._best, metrics)
        return manager

    def _read(self, step: int, state: TrainState) -> tuple[TrainState, Any] | None:
        """A checkpoint's state and position, or None if it is damaged."""
        wanted = state.as_saved()
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, wanted)
        arguments = ocp.args.Composite(state=ocp.args.StandardRestore(target))
        try:
            tree = self._manager.item_metadata(step)["state"].tree
            problems = check.differences(_shapes(wanted), _shapes(tree))
            if not any(problems.values()):
                restored = self._manager.restore(step, args=arguments)["state"]
                jax.block_until_ready(restored)
                position = run_checkpoint.position(self._manager, step)
                whole = sharding.on_host(restored)
                run_checkpoint.check_whole(whole, position, step)
                return state.from_saved(restored), position
        except Exception as error:  # Orbax and TensorStore raise many kinds
            self._check_damage(step, error)
            return None
        raise ValueError(
            f"{self._folder / str(step)} is of another architecture, optimiser or "
            f"objective than this run:\n{check.listed(problems)}"
        )

    def _check_damage(self, step: int, error: Exception) -> None:
        """Warns of damage; raises OSError if it is the machine that failed."""
        summary = run_checkpoint.summary(error)
        passing = isinstance(error, (PermissionError, TimeoutError, MemoryError))
        if passing or any(code in str(error) for code in _PASSING):
            raise OSError(
                f"cannot read the checkpoint {self._folder / str(step)} ({summary}). "
                "It is left as it is; mend that, and the same command resumes."
            ) from error
        _LOGGER.warning(
            "the checkpoint of step %d is truncated or damaged (%s)", step, summary
        )

    def _put_aside(self, step: int) -> None:
        """Renames a damaged checkpoint: training will write that step again."""
        aside = self._folder / f"{step}.damaged"
        self._manager.close()
        if processes.is_first():
            numbers = itertools.count(2)
            while aside.exists():
                aside = self._folder / f"{step}.damaged{next(numbers)}"
            (self._folder / str(step)).rename(aside)
        processes.wait(f"step {step} is set aside")
        self._ratings.pop(step, None)
        self._manager = self._opened()

    def _check_position(self, position: Mapping[str, Any], step: int) -> None:
        if differ := run_folder.changes(position, self._position, "then"):
            raise ValueError(
                f"{self._folder / str(step)} was trained on other data ({differ}). "
                "Bring the data back, or begin another run: "
                f"--init_from={self._folder} and another --workdir."
            )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # Orbax and TensorStore raise many kinds
            raise OSError(
                f"cannot write a checkpoint to {self._folder} "
                f"({run_checkpoint.summary(error)}). The last whole one is "
                f"{self.latest() or 'missing'}. Free space or make the folder "
                "writable; the same command resumes."
            ) from error


class _Best(NamedTuple):
    """Orbax's BestN reads metrics from files of its own; these are the validation's."""

    ratings: Mapping[int, float | None]

    def should_preserve(self, checkpoints: Sequence[Any], **_: Any) -> Sequence[bool]:
        steps = [checkpoint.step for checkpoint in checkpoints]
        rated = [(r, s) for s in steps if (r := self.ratings.get(s)) is not None]
        return [bool(rated) and step == max(rated)[1] for step in steps]


def last_and_best(keep: int, ratings: Mapping[int, float | None]) -> Any:
    """Returns the policy that keeps so many last checkpoints and the best rated one."""
    policies = [preservation_policy.LatestN(keep), _Best(ratings)]
    return preservation_policy.AnyPreservationPolicy(policies)


def _shapes(nested: Any) -> dict[str, tuple[int, ...]]:
    flat = traverse_util.flatten_dict(serialization.to_state_dict(nested), sep="/")
    return {k: tuple(v.shape) for k, v in flat.items() if hasattr(v, "shape")}
