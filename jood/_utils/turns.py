"""Programs that take turns while they are timed: what slows one slows all."""

from collections.abc import Callable, Mapping
import time
from typing import Any, TypeVar

import jax
import numpy as np

Name = TypeVar("Name")


def seconds(run: Callable[[], Any]) -> float:
    """Returns the wall time of one run, what it computes on a device included."""
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def core_seconds(run: Callable[[], Any]) -> float:
    """Returns the time of all cores of one run, which other work hardly changes."""
    start = time.process_time()
    jax.block_until_ready(run())
    return time.process_time() - start


def both_seconds(run: Callable[[], Any]) -> tuple[float, float]:
    """Returns the wall time and the time of all cores of one run."""
    start = time.process_time()
    wall = seconds(run)
    return wall, time.process_time() - start


def measured(
    programs: Mapping[Name, Callable[[], Any]],
    runs: int,
    measure: Callable[[Callable[[], Any]], Any] = seconds,
) -> dict[Name, np.ndarray]:
    """Returns what each run gave, float [runs, ...], by name.

    Args:
      programs: Programs by name; each runs once before it counts, to be compiled.
      runs: Number of runs of each that count.
      measure: Function that runs a program and returns a number or several.
    """
    for run in programs.values():
        measure(run)
    by_program: dict[Name, list[Any]] = {name: [] for name in programs}
    for _ in range(runs):
        for name, run in programs.items():
            by_program[name].append(measure(run))
    return {name: np.array(values) for name, values in by_program.items()}


def medians(programs: Mapping[str, Callable[[], Any]], runs: int) -> dict[str, float]:
    """Returns the median wall time of each program in seconds, by name."""
    by_program = measured(programs, runs)
    return {name: float(np.median(times)) for name, times in by_program.items()}
