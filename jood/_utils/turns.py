"""Programs that take turns while they are timed: what slows one slows all."""

from collections.abc import Callable, Mapping
import statistics
import time
from typing import Any

import jax


def medians(programs: Mapping[str, Callable[[], Any]], runs: int) -> dict[str, float]:
    """Returns the median seconds of each program, by name.

    Args:
      programs: What is run; each runs once before it is timed, so that it is compiled.
      runs: Timed runs of each.
    """
    for run in programs.values():
        jax.block_until_ready(run())
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(runs):
        for name, run in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}
