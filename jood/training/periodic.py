"""When things are due: steps, epochs, and what is done after which step."""

import dataclasses
from typing import NamedTuple

from jood._utils import arguments


@dataclasses.dataclass(frozen=True)
class LoopOptions:
    """What may change when a run resumes: it decides no parameter.

    Attributes:
      log_every: Steps between two rows of the log; 0 logs at the end of epochs.
      validate_every: Epochs between two validations; 0 never validates.
      checkpoint_every: Steps between two checkpoints; 0 saves at the end of epochs.
      keep: Number of newest checkpoints that are kept.
      best: Metric of the validation by which the best one is kept, too; '': none is.
      split_state: Whether large parameters and their optimiser state are split.
      workers: Processes that read and decode images; 0 reads with threads.
      progress: Whether to draw a progress bar; None draws it on a terminal and logs
        lines elsewhere.
    """

    log_every: int = 0
    validate_every: int = 1
    checkpoint_every: int = 0
    keep: int = 2
    best: str = ""
    split_state: bool = False
    workers: int = 0
    progress: bool | None = None

    def __post_init__(self) -> None:
        for name in ("log_every", "validate_every", "checkpoint_every", "workers"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}.")
        arguments.check_count("keep", self.keep)


class Due(NamedTuple):
    """What is done after a step."""

    log: bool
    validate: bool
    save: bool


@dataclasses.dataclass(frozen=True)
class Plan:
    """The steps of a run.

    Attributes:
      steps_per_epoch: Whole batches of an epoch.
      total: Number of steps of the whole run.
      keeping: Intervals of logs, validations and checkpoints.
    """

    steps_per_epoch: int
    total: int
    keeping: LoopOptions

    def due(self, step: int) -> Due:
        """Returns what is due after `step` steps; with a save the log always is."""
        keeping, epoch, last = self.keeping, self.steps_per_epoch, step == self.total
        between = keeping.validate_every * epoch
        validate = between > 0 and (last or step % between == 0)
        save = step % (keeping.checkpoint_every or epoch) == 0 or validate or last
        log = step % (keeping.log_every or epoch) == 0 or save
        return Due(log, validate, save)
