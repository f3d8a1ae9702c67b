"""Sends batches to the device ahead, and measures the time spent waiting for data."""

import collections
from collections.abc import Callable, Iterable, Iterator
import time
from typing import Any, TypeVar

from jood._utils import fingerprinting

T = TypeVar("T")
U = TypeVar("U")

IN_FLIGHT = 2  # batches: one that the device works on, one that is on its way


def prefetched(batches: Iterable[T], put: Callable[[T], U]) -> Iterator[U]:
    """Yields put(batch) of every batch, the next one put before it is asked for.

    `put` sends a batch to the device and does not wait, as `jax.device_put` does.
    """
    under_way: collections.deque[U] = collections.deque()
    for batch in batches:
        under_way.append(put(batch))
        if len(under_way) == IN_FLIGHT:
            yield under_way.popleft()
    yield from under_way


class Timed:
    """Batches that measure how long their user waits for them, in all iterations."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches: Any = batches  # of which not all have a length
        self.waited = 0.0  # seconds spent in reading, that of the first batch included
        self.total = 0.0  # seconds from the start of an iteration to its last batch

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        iterator, last = iter(self.batches), time.perf_counter()
        while True:
            asked = time.perf_counter()
            batch = next(iterator, _END)
            now = time.perf_counter()
            self.waited += now - asked
            self.total += now - last
            last = now
            if batch is _END:
                return
            yield batch

    @property
    def share(self) -> float:
        """The fraction of the time that was spent waiting for data; 0 before any."""
        return self.waited / self.total if self.total else 0.0

    def fingerprint(self) -> str:
        """Returns that of the batches."""
        return fingerprinting.fingerprint(self.batches)


_END = object()
