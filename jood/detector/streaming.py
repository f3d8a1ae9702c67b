"""Scores the images of a source in order, one batch after another."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jood.data.device_batches import sharded
from jood.data.sources import ArraySource
from jood.data.sources import Source
from jood.data.sources.subset import Subset
from jood.detector import SINGLE
from jood.detector import Detector


class Scored(NamedTuple):
    """What a detector gave for n images of a source.

    Attributes:
      first: index of the first of them in the source; the others follow.
      readable: bool [n], whether an image could be read; the rest is valid there only.
      scores: float32 [n] by detector name; 'score' for a single one.
      prediction: int32 [n], the class that the network answers.
      labels: int32 [n], or None.
      skipped: by index in the source, why an image could not be read.
    """

    first: int
    readable: np.ndarray
    scores: dict[str, np.ndarray]
    prediction: np.ndarray
    labels: np.ndarray | None
    skipped: dict[int, str]


def scored(
    detector: Detector,
    source: Source,
    batch_size: int,
    *,
    start: int = 0,
    workers: int = 0,
    what: str = "",
    disable: bool | None = True,
) -> Iterator[Scored]:
    """Yields what a detector gives for a source, batch by batch.

    Args:
      detector: fitted, if its component learns from data.
      source: of the images; of one that skips unreadable ones, these are told.
      batch_size: images per step, over all devices.
      start: index of the first image to score.
      workers: processes that read and decode images; 0 reads with threads.
      what: to say in a progress bar.
      disable: whether to draw none; None draws it on a terminal only.

    Raises:
      NotFittedError, ValueError: as `Detector.run` and `EvaluationBatches`.
    """
    rest = _from(source, start)
    batches = sharded(rest, batch_size, what=what, workers=workers, disable=disable)
    done = 0
    for batch in batches:
        output = detector.run(batch.image)
        count = min(batch_size, len(rest) - done)
        names = isinstance(output.scores, dict)
        scores = output.scores if names else {SINGLE: output.scores}
        told = batches.batches.skipped  # also of batches that are read ahead
        yield Scored(
            first=start + done,
            readable=np.asarray(batch.mask)[:count] > 0,
            scores={name: values[:count] for name, values in scores.items()},
            prediction=output.prediction[:count],
            labels=None if batch.label is None else np.asarray(batch.label)[:count],
            skipped={
                start + i: told[i] for i in range(done, done + count) if i in told
            },
        )
        done += count


class Summary(NamedTuple):
    """Everything that a detector gave for the readable images of a source.

    Attributes:
      scores: float32 [N] by detector name.
      accuracy: the fraction that the network classifies rightly; None without labels.
      skipped: which images could not be read, and why.
    """

    scores: dict[str, np.ndarray]
    accuracy: float | None
    skipped: list[str]


def collect(
    detector: Detector,
    source: Source,
    batch_size: int,
    *,
    workers: int = 0,
    what: str = "",
) -> Summary:
    """Returns what a detector gives for a source that fits into memory as scores.

    Args and errors are those of `scored`; a progress bar is drawn on a terminal.
    """
    scores: dict[str, list[np.ndarray]] = {}
    right: list[np.ndarray] = []
    skipped: list[str] = []
    for part in scored(
        detector, source, batch_size, workers=workers, what=what, disable=None
    ):
        for name, values in part.scores.items():
            scores.setdefault(name, []).append(values[part.readable])
        if part.labels is not None:
            right.append((part.labels == part.prediction)[part.readable])
        skipped += part.skipped.values()
    accuracy = float(np.concatenate(right).mean()) if right else None
    whole = {name: np.concatenate(values) for name, values in scores.items()}
    return Summary(whole, accuracy, skipped)


def _from(source: Source, start: int) -> Source:
    if not start:
        return source
    if isinstance(source, ArraySource):
        labels = None if source.labels is None else source.labels[start:]
        return ArraySource(source.images[start:], labels)
    return Subset(source, np.arange(start, len(source)))
