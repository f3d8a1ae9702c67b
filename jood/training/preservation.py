"""Which checkpoints of a run are kept: the last ones, and the best one."""

from collections.abc import Sequence
import dataclasses
from typing import Any


@dataclasses.dataclass
class LastAndBest:
    """Orbax's preservation policy: the last checkpoints and the best one.

    Attributes:
      keep: number of the last ones.
      ratings: by step, higher is better; None without a validation.
    """

    keep: int
    ratings: dict[int, float | None]

    def should_preserve(
        self, checkpoints: Sequence[Any], *, context: Any
    ) -> Sequence[bool]:
        del context
        steps = [checkpoint.step for checkpoint in checkpoints]
        rated = {s: r for s in steps if (r := self.ratings.get(s)) is not None}
        best = max(rated, key=lambda s: (rated[s], s), default=None)
        return [step in steps[-self.keep :] or step == best for step in steps]
