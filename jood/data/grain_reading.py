"""Reading ahead with Grain, in threads or in worker processes.

Threads are the default: Pillow releases Python's global lock while it decodes and
resizes, so they keep all cores of a desktop busy, start at once and share the batch
without a copy. Worker processes, which take seconds to start, pay where Python itself
is the bottleneck (a source that paints, many cores on small images).
"""

import atexit
from collections.abc import Iterator
import contextlib
import gc
import threading
import time
from typing import Any

from absl import flags
import grain
import jax
import numpy as np

from jood._utils import affinity
from jood._utils import arguments
from jood._utils import stop_signals

_MOST_THREADS = 16


def check(workers: Any) -> None:
    """Raises ValueError unless `workers` is an integer >= 0."""
    if workers != 0 or isinstance(workers, bool):
        arguments.check_count("workers, if not 0 for threads,", workers)


def read(dataset: grain.MapDataset, workers: int = 0) -> Iterator[Any]:
    """Yields the elements of a dataset, whole batches, in order, some read ahead.

    `workers` is the number of processes that read; 0 reads with threads of this one.

    Raises:
      RuntimeError: A worker process died.
    """
    if workers:
        yield from _in_processes(dataset, workers)
        return
    threads = min(max(affinity.cores(), 2), _MOST_THREADS)
    # Grain's own default reads 500 elements ahead, each of which is a batch here.
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 2)
    with contextlib.closing(iter(dataset.to_iter_dataset(ahead))) as iterator:
        yield from iterator


def _in_processes(dataset: grain.MapDataset, workers: int) -> Iterator[Any]:
    _let_grain_read_its_flags()
    ahead = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
    options = grain.MultiprocessingOptions(min(workers, len(dataset)))
    elements = _Closing(dataset.to_iter_dataset(ahead).mp_prefetch(options))
    try:
        for _ in range(len(dataset)):  # to ask for one more would wait for their end
            try:
                element = elements.next()
            except RuntimeError as error:
                if "Worker process was terminated" not in str(error):
                    raise
                raise RuntimeError(
                    f"a worker process died ({error}). Usual causes: too little "
                    "memory, or too little in /dev/shm (docker run --shm-size=2g), or "
                    "a script without `if __name__ == '__main__':`, which each worker "
                    "runs again. With workers=0, threads read instead."
                ) from error
            # Grain's arrays lie in shared memory, of which containers have little, and
            # where those stay that somebody holds when the interpreter ends.
            element = jax.tree.map(
                lambda x: np.array(x) if isinstance(x, np.ndarray) else x, element
            )
            yield element
    finally:
        elements.close_soon()


class _Closing:
    """A Grain iterator over worker processes that leaves nothing behind."""

    def __init__(self, dataset: grain.IterDataset) -> None:
        self._iterator = iter(dataset)
        atexit.register(self.close)  # later Grain's own modules are gone

    def next(self) -> Any:
        return next(self._iterator)

    def close_soon(self) -> None:
        """Closes in a thread: workers look up only twice a second whether to end."""
        if self._iterator is not None:
            atexit.unregister(self.close)
            threading.Thread(target=self.close, name=stop_signals.CLEANER).start()

    def close(self) -> None:
        """Ends the workers; deletes what is left of their shared memory."""
        if self._iterator is not None:
            self._iterator.close()
            self._iterator = None
            gc.collect()  # Grain's last arrays hang in a cycle of references,
            time.sleep(0.3)  # and a thread of its own removes their files


def _let_grain_read_its_flags() -> None:
    """Marks Grain's absl flags as set where nobody parsed flags, as in a notebook.

    Reading an unparsed flag raises. Parsing later changes Grain's flags all the same.
    """
    if not flags.FLAGS.is_parsed():
        for name in flags.FLAGS:
            if name.startswith("grain_"):
                flags.FLAGS[name].present = True
