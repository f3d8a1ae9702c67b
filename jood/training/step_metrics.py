"""The metrics of the steps since the last row of the log, and what they amount to."""

from collections.abc import Callable
import math
import pathlib
import time

import jax

from jood.training.objectives.objective import Part

Metrics = dict[str, Part]


class Window:
    """Collects what steps return, on the device, until somebody asks for values."""

    def __init__(self, rate: Callable[[int], float], batch_size: int, start: int):
        """Begins after step `start`.

        Args:
          rate: number of steps done before -> learning rate of the next.
          batch_size: images per step.
          start: number of steps done.
        """
        self._rate, self._batch_size, self._last = rate, batch_size, start
        self._steps: list[Metrics] = []
        self._clock = time.monotonic()

    def add(self, metrics: Metrics) -> None:
        """Takes the metrics of the next step; does not wait for them."""
        self._steps.append(metrics)

    def resume(self) -> None:
        """Leaves the time since the last values out: it was not spent in steps."""
        self._clock = time.monotonic()

    def values(self, last_good: Callable[[], pathlib.Path | None]) -> dict[str, float]:
        """Returns means over the steps since the last call, by name, and empties.

        Args:
          last_good: gives the last complete checkpoint, for the message.

        Returns:
          The metrics, 'learning_rate' of the last step and 'images_per_second'.

        Raises:
          FloatingPointError: the loss or its gradient was not finite in a step.
        """
        steps = jax.device_get(self._steps)
        for number, metrics in enumerate(steps):
            for name in ("loss", "gradient_norm"):
                if not math.isfinite(metrics[name].total):
                    step = self._last + number + 1
                    part = metrics[name]
                    value = part.total / max(part.count, 1)
                    what = f"the {name.replace('_', ' ')} is {value}"
                    raise self.diverged(what, step, last_good())
        sums = jax.tree.map(lambda *parts: float(sum(parts)), *steps)
        self._last += len(steps)
        self._steps = []
        seconds, self._clock = time.monotonic() - self._clock, time.monotonic()
        return {
            **{k: part.total / max(part.count, 1.0) for k, part in sums.items()},
            "learning_rate": float(self._rate(self._last - 1)),
            "images_per_second": len(steps) * self._batch_size / seconds,
        }

    def diverged(
        self, what: str, step: int, latest: pathlib.Path | None
    ) -> FloatingPointError:
        """Returns the error that ends a run: what is not finite, where, what is left.

        Args:
          what: "the loss is nan".
          step: in which.
          latest: the last checkpoint, None without any.
        """
        rate = float(self._rate(step - 1))
        kept = "There is no checkpoint before it."
        if latest is not None:
            kept = f"The last good checkpoint is {latest}."
        return FloatingPointError(
            f"{what} in step {step}, at learning rate {rate:g}. {kept} Lower the "
            "learning rate, or lengthen the warm-up, in another --workdir; "
            "--init_from=FOLDER begins with the parameters of this run."
        )
