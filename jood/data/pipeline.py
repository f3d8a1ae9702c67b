"""Batches from a source, with Grain: deterministic, read ahead, re-iterable.

Training batches are a function of (seed, step) alone, so a run that stopped at a step
resumes with exactly the batches that it would have seen. Augmentation comes later, on
the device. Evaluation keeps the order and pads the last batch, with mask 0, to the
shape of the others. With several JAX processes, each reads its share of every global
batch and nothing else; together they see what one process would.
"""

from collections.abc import Iterator
import dataclasses
import logging
from typing import Any

import grain
import jax
import numpy as np

from jood.core.batch import Batch
from jood.data import collate
from jood.data import grain_reading
from jood.data import sources

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluationBatches:
    """All examples in order; can be iterated again and again.

    With `process_count` JAX processes, number `process_index` yields the rows [index,
    index + 1) * B / count of each batch; by default as `jax.distributed` has it.
    """

    source: sources.Source  # of a `Skipping`, unreadable images get mask 0
    batch_size: int  # B of every global batch; the last is padded with zeros
    _: dataclasses.KW_ONLY
    workers: int = 0  # processes that read; 0 reads with threads
    process_index: int | None = None
    process_count: int | None = None
    # Unreadable images met so far, by index: which and why.
    skipped: dict[int, str] = dataclasses.field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        _check_sizes(self.source, self.batch_size, 1)
        grain_reading.check(self.workers)

    def __len__(self) -> int:
        return -(-len(self.source) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        rows = _rows(self.batch_size, self.process_index, self.process_count)
        if isinstance(self.source, sources.ArraySource):
            for start in range(0, len(self.source), self.batch_size):
                yield _sliced(self.source, start + rows.start, len(rows))
            return
        reader = _Reader(self.source, self.batch_size, rows, len(self))
        dataset = grain.MapDataset.source(reader)
        for arrays in grain_reading.read(dataset, self.workers):
            self.skipped.update(arrays["skipped"])
            yield Batch(arrays["image"], arrays.get("label"), arrays["mask"])

    def fingerprint(self) -> str:
        """Returns that of the source, if it has one, and the batch size."""
        rows = _rows(self.batch_size, self.process_index, self.process_count)
        text = f"{sources.fingerprint(self.source)}, batch_size={self.batch_size}"
        whole = rows == range(self.batch_size)
        return text if whole else f"{text}, rows {rows.start} to {rows.stop}"


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Random access to padded batches; a thread or worker reads one at a time."""

    source: sources.Source
    batch_size: int
    rows: range  # of every batch
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        start = index * self.batch_size + self.rows.start
        end = min(start + len(self.rows), len(self.source))
        if start < end:
            examples = [self.source[i] for i in range(start, end)]
            return collate.stack(examples, len(self.rows), start)
        batch = collate.stack([self.source[0]], len(self.rows))  # for the shapes only
        zeros = {k: np.zeros_like(v) for k, v in batch.items() if k != "skipped"}
        return {**zeros, "skipped": {}}


def _sliced(source: sources.ArraySource, start: int, size: int) -> Batch:
    def rows(array: np.ndarray) -> np.ndarray:
        part = array[start : start + size]
        return np.pad(part, [(0, size - len(part))] + [(0, 0)] * (part.ndim - 1))

    labels = source.labels
    count = min(max(len(source) - start, 0), size)
    return Batch(
        image=rows(source.images),
        label=None if labels is None else rows(labels).astype(np.int32),
        mask=(np.arange(size) < count).astype(np.float32),
    )


def training_batches(source: sources.Source, *args: Any, **how: Any) -> Iterator[Batch]:
    """Yields the batches of steps start, ..., steps - 1, with labels.

    Args:
      source: Labelled examples.
      *args: Arguments of `shuffled_batches`.
      **how: Arguments of `shuffled_batches`.

    Raises:
      ValueError: There are too few examples, no labels, or images of several shapes.
    """
    for batch in shuffled_batches(source, *args, **how):
        if batch.label is None:
            raise ValueError(
                "training needs labels, but the source's examples have none."
            )
        yield batch


def shuffled_batches(
    source: sources.Source,
    batch_size: int,
    *,
    steps: int,
    seed: int,
    start: int = 0,
    workers: int = 0,
    process_index: int | None = None,
    process_count: int | None = None,
) -> Iterator[Batch]:
    """Yields the batches of steps start, ..., steps - 1, reshuffled every epoch.

    An image that cannot be read raises, or, if the source is a
    `jood.data.sources.Skipping`, the next readable one takes its place; the log says so
    once for each.

    Args:
      source: Examples, with labels or without.
      batch_size: B of the global batch; one may hold the end of one epoch and the
        start of the next.
      steps: Number of steps of the whole run.
      seed: Seed of the order.
      start: The first step to yield.
      workers: Processes that read; 0 reads with threads.
      process_index: As in `EvaluationBatches`.
      process_count: As in `EvaluationBatches`.

    Raises:
      ValueError: There are too few examples, or images of several shapes.
    """
    _check_sizes(source, batch_size, batch_size)
    grain_reading.check(workers)
    rows = _rows(batch_size, process_index, process_count)
    indices = grain.MapDataset.range(len(source)).seed(seed).shuffle().repeat()
    dataset = indices.batch(batch_size, drop_remainder=True).map(_Gather(source, rows))
    old_texts: set[str] = set()
    for arrays in grain_reading.read(dataset[start:steps], workers):
        for text in set(arrays["replaced"]) - old_texts:
            _LOGGER.warning("another image is trained on instead of %s", text)
        old_texts.update(arrays["replaced"])
        yield arrays["batch"]


@dataclasses.dataclass(frozen=True)
class _Gather:
    """Reads the examples of a batch; the next readable one stands for a skipped one."""

    source: sources.Source
    rows: range  # of every batch

    def __call__(self, indices: np.ndarray) -> dict[str, Any]:
        indices = indices[self.rows.start : self.rows.stop]
        if isinstance(self.source, sources.ArraySource):
            images, labels = self.source.images, self.source.labels
            label = None if labels is None else labels[indices]
            mask = np.ones(len(indices), np.float32)
            return {"batch": _batch(images[indices], label, mask), "replaced": []}
        examples, replaced = [], []
        for index in indices.tolist():
            example = self.source[index]
            while "skipped" in example:  # one is readable, else Skipping raises
                replaced.append(example["skipped"])
                index = (index + 1) % len(self.source)
                example = self.source[index]
            examples.append(example)
        arrays = collate.stack(examples, len(examples))
        batch = _batch(arrays["image"], arrays.get("label"), arrays["mask"])
        return {"batch": batch, "replaced": replaced}


def _batch(image: np.ndarray, label: np.ndarray | None, mask: np.ndarray) -> Batch:
    return Batch(image, None if label is None else label.astype(np.int32), mask)


def _rows(batch_size: int, index: int | None, count: int | None) -> range:
    """The rows of a global batch that belong to this process."""
    index = jax.process_index() if index is None else index
    count = jax.process_count() if count is None else count
    if not 0 <= index < count:
        raise ValueError(
            f"process_index must be in [0, process_count), got {index} of {count}."
        )
    if batch_size % count:
        raise ValueError(
            f"batch_size must be divisible by the {count} processes, got {batch_size}."
        )
    size = batch_size // count
    return range(index * size, (index + 1) * size)


def _check_sizes(source: sources.Source, batch_size: int, least: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    if len(source) < least:
        raise ValueError(
            f"the data set has {len(source)} example(s), expected at least {least}."
        )
