"""Which checkpoints of a run are kept: the last ones, and the best one."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from orbax.checkpoint.checkpoint_managers import preservation_policy


class _Best(NamedTuple):
    """Orbax's BestN reads metrics from files of its own; these are the validation's."""

    ratings: Mapping[int, float | None]

    def should_preserve(self, checkpoints: Sequence[Any], **_: Any) -> Sequence[bool]:
        steps = [checkpoint.step for checkpoint in checkpoints]
        rated = [(r, s) for s in steps if (r := self.ratings.get(s)) is not None]
        return [bool(rated) and step == max(rated)[1] for step in steps]


def last_and_best(keep: int, ratings: Mapping[int, float | None]) -> Any:
    """Returns Orbax's policy that keeps the last checkpoints and the best one.

    Args:
      keep: Number of the last ones.
      ratings: Values by step, higher is better; None without a validation. What is
        added to them later counts.
    """
    policies = [preservation_policy.LatestN(keep), _Best(ratings)]
    return preservation_policy.AnyPreservationPolicy(policies)
