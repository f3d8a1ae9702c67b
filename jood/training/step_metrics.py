"""The metrics of the steps since the last row of the log, and their means."""

from collections.abc import Callable
import math
import pathlib
import time

import jax

from jood.training.objectives.objective import Part

Metrics = dict[str, Part]


class Window:
    """Collects what steps return, on the device, until the values are asked for.

    Args:
      rate: Number of steps done before -> learning rate of the next.
      batch_size: Images per step.
      start: Number of steps done.
    """

    def __init__(self, rate: Callable[[int], float], batch_size: int, start: int):
        self._rate, self._batch_size, self._last = rate, batch_size, start
        self._steps: list[Metrics] = []
        self._clock = time.monotonic()

    def add(self, metrics: Metrics) -> None:
        """Takes the metrics of the next step; does not wait for them."""
        self._steps.append(metrics)

    def resume(self) -> None:
        """Leaves out the time since the last values: it was not spent in steps."""
        self._clock = time.monotonic()

    def values(self, last_good: Callable[[], pathlib.Path | None]) -> dict[str, float]:
        """Returns means over the steps since the last call, and begins anew.

        Raises:
          FloatingPointError: The loss or its gradient was not finite in a step; the
            message names the last good checkpoint.
        """
        steps, self._steps = jax.device_get(self._steps), []
        for step, metrics in enumerate(steps, start=self._last + 1):
            for name in ("loss", "gradient_norm"):
                if not math.isfinite(value := _mean(metrics[name])):
                    what = f"the {name.replace('_', ' ')} is {value}"
                    raise self.diverged(what, step, last_good())
        sums = jax.tree.map(lambda *parts: float(sum(parts)), *steps)
        self._last += len(steps)
        seconds, self._clock = time.monotonic() - self._clock, time.monotonic()
        return {
            **{name: _mean(part) for name, part in sums.items()},
            "learning_rate": float(self._rate(self._last - 1)),
            "images_per_second": len(steps) * self._batch_size / seconds,
        }

    def diverged(
        self, what: str, step: int, latest: pathlib.Path | None
    ) -> FloatingPointError:
        """Returns the error that ends a run: what is not finite, and since when."""
        kept = f"The last good checkpoint is {latest}."
        return FloatingPointError(
            f"{what} in step {step}, at learning rate {float(self._rate(step - 1)):g}. "
            f"{kept if latest else 'There is no checkpoint before it.'} Lower the "
            "learning rate, or lengthen the warm-up, in another --workdir; "
            "--init_from=FOLDER begins with the parameters of this run."
        )


def _mean(part: Part) -> float:
    return part.total / max(part.count, 1.0)
