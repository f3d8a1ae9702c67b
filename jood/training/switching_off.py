"""Ends a run whose network is switching off, instead of training it to the end.

A loss term that shrinks features, or a learning rate that is too high, can drive ReLUs
below 0 for good: the features become 0 and the accuracy falls to chance. Few zeros
alone do no harm; LFF's networks have many. Here both are watched.
"""

from collections.abc import Callable, Mapping
import os
import pathlib
from typing import NamedTuple

import jax

from jood.training import metric_logs
from jood.training.step_metrics import Metrics

_FALLEN = 0.5  # of the best accuracy
_LEFT = 0.5  # of the features that were not 0 then
_EPOCHS = 2  # in a row, since a high learning rate shakes any network at first


class Health(NamedTuple):
    """A network's state: accuracy on training batches, share of features that are 0."""

    when: str
    accuracy: float
    zeros: float

    def is_failing(self, best: "Health") -> bool:
        """Whether the accuracy has fallen and the zeros have risen since `best`."""
        fallen = self.accuracy < _FALLEN * best.accuracy
        return fallen and 1 - self.zeros < _LEFT * (1 - best.zeros)


class Guard:
    """Compares the end of each epoch with the best that the run has been.

    Args:
      folder: The run's folder; for a resumed run, the epochs in its log count.
      start: Number of steps done.
      per_epoch: Steps of an epoch.
    """

    def __init__(self, folder: str | os.PathLike[str], start: int, per_epoch: int):
        self._per_epoch = per_epoch
        self._best = Health("", 0.0, 0.0)
        self._failing = 0
        log = pathlib.Path(folder) / f"{metric_logs.TRAIN}.csv"
        for row in metric_logs.read(log, start) if start and log.exists() else []:
            if "zero_features" in row and int(row["step"]) % per_epoch == 0:
                self._see(self._health(int(row["step"]), row))

    def begin(self, metrics: Metrics) -> None:
        """Takes the metrics of the first step: the network before fine-tuning."""
        first = jax.device_get(metrics)
        means = (first[name].mean for name in ("accuracy", "zero_features"))
        now = Health("in the first step", *map(float, means))
        self._best = max(self._best, now, key=lambda health: health.accuracy)

    def check(
        self,
        step: int,
        values: Mapping[str, float],
        last_good: Callable[[], pathlib.Path | None],
    ) -> None:
        """Looks at a row of the log, where it ends an epoch.

        Raises:
          FloatingPointError: The network is switching off, with advice.
        """
        if step % self._per_epoch:
            return
        now = self._health(step, values)
        self._see(now)
        if self._failing < _EPOCHS:
            return
        best = self._best
        raise FloatingPointError(
            f"the network is switching off: {best.when} the accuracy was "
            f"{best.accuracy:.1%} with {best.zeros:.0%} of the features 0; {now.when} "
            f"it is {now.accuracy:.1%} with {now.zeros:.0%}. Lengthen the warm-up "
            "(--warmup_epochs), lower the learning rate or the weight of the "
            "objective's term (lff(lam=0.3)), or begin with a better network, in "
            f"another --workdir. The last checkpoint is {last_good()}."
        )

    def _health(self, step: int, row: Mapping[str, float | str]) -> Health:
        when = f"in epoch {step // self._per_epoch}"
        return Health(when, float(row["accuracy"]), float(row["zero_features"]))

    def _see(self, now: Health) -> None:
        self._failing = self._failing + 1 if now.is_failing(self._best) else 0
        self._best = max(self._best, now, key=lambda health: health.accuracy)
