"""The spread of a component's own score: what `fuse(weights='scale')` divides by."""

from typing import Any

import numpy as np

from jood.core import stats
from jood.core.component import Component
from jood.core.component import Statistic


def with_spread(part: Component) -> Component:
    """Adds one pass that fits the standard deviation of a part's own score."""
    count = len(part.passes)

    def spread(fitted: tuple[Any, ...]) -> Statistic:
        moments = stats.moments(lambda acts: part.apply(fitted, acts)[:, None])

        def finalize(state: Any) -> np.float32:
            std = np.sqrt(stats.variance(state))[0]
            # Below that a spread is float32 rounding, not a difference of images.
            if not std > 1e-6 * abs(state["mean"][0]):
                raise ValueError(
                    f"weights='scale' needs scores that vary, but {part.spec} is "
                    "constant on the training data. Give numbers as weights."
                )
            return np.float32(std)

        return moments._replace(finalize=finalize)

    return part._replace(
        apply=lambda fitted, acts: part.apply(fitted[:count], acts),
        passes=(*part.passes, spread),
    )
