"""How far a long loop is: a bar on a terminal, a line now and then in a log file.

Where stderr is not a terminal, a line is logged (logger 'jood', level INFO, which jobs
print and notebooks do not) every half a minute at most, and one at the end.
"""

from collections.abc import Iterable, Iterator
import contextlib
import dataclasses
import datetime
import logging
import sys
import time
from typing import Any, TypeVar

import tqdm

from jood._utils import fingerprinting
from jood._utils import processes

T = TypeVar("T")

EVERY = 30.0  # seconds between two lines of a loop, at least
_LOGGER = logging.getLogger(__name__)


class Lines(contextlib.AbstractContextManager["Lines"]):
    """Logs how far a loop is, with the methods of a tqdm bar that jood uses."""

    def __init__(self, what: str, total: int | None, unit: str, initial: int = 0):
        self._what, self._total, self._unit = what, total, unit
        self._initial = self._count = initial
        self._began = self._logged_at = time.monotonic()
        self._more = ""

    def update(self, count: int) -> None:
        """Counts so many more; logs a line if the last one is old enough."""
        self._count += count
        now = time.monotonic()
        if now - self._logged_at < EVERY or self._count == self._total:
            return
        self._logged_at = now
        of = left = ""
        if self._total:
            of = f" of {self._total:,}"
            left = f", {_duration((self._total - self._count) / self._rate())} left"
        self._log(f"{self._count:,}{of} {self._unit}, {self._speed()}{left}")

    def set_postfix(self, **values: str) -> None:
        """Sets the text at the end of the next lines."""
        self._more = "".join(f", {name} {value}" for name, value in values.items())

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None and self._count > self._initial:
            seconds = _duration(time.monotonic() - self._began)
            amount = f"{self._count - self._initial:,} {self._unit}"
            self._log(f"{amount} in {seconds}, {self._speed()}")

    def _rate(self) -> float:
        seconds = max(time.monotonic() - self._began, 1e-9)
        return max(self._count - self._initial, 1e-9) / seconds

    def _speed(self) -> str:
        rate = self._rate()
        return f"{rate:,.{0 if rate >= 10 else 2}f} {self._unit}/s"

    def _log(self, text: str) -> None:
        if processes.is_first():
            clock = time.strftime("%H:%M:%S")
            _LOGGER.info("%s %s: %s%s", clock, self._what, text, self._more)


def bar(
    what: str,
    total: int | None,
    *,
    unit: str = "images",
    initial: int = 0,
    disable: bool | None = None,
) -> Any:
    """Returns a tqdm bar or `Lines`, to be used as a context.

    Args:
      what: the work that is done, in a few words.
      total: number of units of work; None if unknown.
      unit: name of these units, in the plural.
      initial: number of units that an earlier run did.
      disable: True shows nothing, False draws a bar; None draws it on a terminal and
        logs lines elsewhere.
    """
    if disable is None and not sys.stderr.isatty():
        return Lines(what, total, unit, initial)
    return tqdm.tqdm(
        desc=what,
        total=total,
        initial=initial,
        unit=f" {unit}",
        unit_scale=True,
        disable=bool(disable),
    )


def counted(
    batches: Iterable[T],
    size: int,
    what: str,
    total: int,
    disable: bool | None = None,
) -> Iterator[T]:
    """Yields batches of `size` images, `total` in all, and shows how many are done."""
    left = total
    with bar(what, total, disable=disable) as shown:
        for batch in batches:
            yield batch
            shown.update(min(size, left))
            left -= min(size, left)


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """Batches that show how far each iteration of them is; see `counted`."""

    batches: Any
    size: int
    what: str
    total: int

    def __iter__(self) -> Iterator[Any]:
        return counted(self.batches, self.size, self.what, self.total)

    def fingerprint(self) -> str:
        """Returns that of the batches."""
        return fingerprinting.fingerprint(self.batches)


def _duration(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))
