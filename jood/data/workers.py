"""Reading ahead with Grain, in threads or in worker processes.

Threads are the default: Pillow leaves Python's global lock alone while it decodes
and resizes, so they keep all cores of a desktop busy, start at once and share the
batch without a copy. Worker processes pay where Python itself is the bottleneck (a
source that paints, many cores on small images): each is a new interpreter, which
takes seconds to start.
"""

from collections.abc import Iterator
import gc
import os
from typing import Any

from absl import flags
import grain
import jax
import numpy as np

from jood import core

_MOST_THREADS = 16


def check(workers: Any) -> None:
    """Raises ValueError unless `workers` is an integer >= 0."""
    if workers != 0 or isinstance(workers, bool):
        core.check_count("workers, if not 0 for threads,", workers)


def read(dataset: grain.MapDataset, workers: int = 0) -> Iterator[Any]:
    """Yields the elements of a dataset in order, some read ahead.

    Args:
      dataset: whose elements are whole batches.
      workers: processes that read; 0 reads with threads of this one.

    Raises:
      RuntimeError: a worker process died.
    """
    iterator = iter(_threaded(dataset) if not workers else _spread(dataset, workers))
    try:
        while True:
            try:
                element = next(iterator)
            except StopIteration:
                return
            except RuntimeError as error:
                if "Worker process was terminated" not in str(error):
                    raise
                raise RuntimeError(
                    f"a worker process died ({error}). Usual causes: too little memory, "
                    "or too little in /dev/shm (docker run --shm-size=2g), or a script "
                    "without `if __name__ == '__main__':`, which each worker runs "
                    "again. With workers=0, threads read instead."
                ) from error
            if workers:  # leave the shared memory, which goes with Grain's array
                element = jax.tree.map(
                    lambda x: np.array(x) if isinstance(x, np.ndarray) else x, element
                )
            yield element
    finally:
        iterator.close()
        del iterator
        if workers:
            # Grain's last arrays hang in a cycle of references. What is not deleted
            # before the interpreter ends stays in shared memory, with a complaint.
            gc.collect()


def _threaded(dataset: grain.MapDataset) -> grain.IterDataset:
    threads = min(max(_cores(), 2), _MOST_THREADS)
    # Grain's own default reads 500 elements ahead, each of which is a batch here.
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 2)
    return dataset.to_iter_dataset(ahead)


def _spread(dataset: grain.MapDataset, workers: int) -> grain.IterDataset:
    _let_grain_read_its_flags()
    ahead = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
    options = grain.MultiprocessingOptions(min(workers, len(dataset)))
    return dataset.to_iter_dataset(ahead).mp_prefetch(options)


def _let_grain_read_its_flags() -> None:
    """Marks Grain's absl flags as set, to their defaults, where nobody parsed flags.

    A notebook and pytest do not, and reading an unparsed flag raises. Other flags are
    left alone; parsing them later changes Grain's all the same.
    """
    if not flags.FLAGS.is_parsed():
        for name in flags.FLAGS:
            if name.startswith("grain_"):
                flags.FLAGS[name].present = True


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
