"""The one loop that scores: all batches at once, or a source batch by batch.

`Detector` stands above this module: here it is whatever can score images by name.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from jood.core.batch import Batch
from jood.data.sources import ArraySource
from jood.data.sources import Source
from jood.data.sources.subset import Subset

# Grain takes a while to import, so what reads images is imported where it is used.


class NamedScores(Protocol):
    """What scores images, as a `Detector` does."""

    def run_named(self, images: Any) -> Any:
        """Scores float32 [B] by detector name, and predictions; see `Detector`."""


class Whole(NamedTuple):
    """What all batches give together.

    Attributes:
      scores: float32 [N] by detector name; {} if there is no batch.
      correct: bool [N], whether each image is classified correctly; None without
        labels.
      prediction: int32 [N], the class that the network predicts.
    """

    scores: dict[str, np.ndarray]
    correct: np.ndarray | None
    prediction: np.ndarray


def concatenated(run: Callable[[Batch], Any], batches: Iterable[Batch]) -> Whole:
    """Scores every batch.

    Args:
      run: a batch -> its scores by detector name, and predictions.
      batches: images; rows with mask 0 are skipped.
    """
    scores: dict[str, list[np.ndarray]] = {}
    correct, prediction = [], [np.zeros(0, np.int32)]
    for batch in batches:
        output = run(batch)
        keep = np.asarray(batch.mask) > 0
        for name, values in output.scores.items():
            scores.setdefault(name, []).append(values[keep])
        prediction.append(output.prediction[keep])
        if batch.label is not None:
            correct.append((np.asarray(batch.label) == output.prediction)[keep])
    return Whole(
        {name: np.concatenate(values) for name, values in scores.items()},
        np.concatenate(correct) if correct else None,
        np.concatenate(prediction),
    )


class Summary(NamedTuple):
    """Everything that a detector gives for the readable images of a source.

    Attributes:
      scores: float32 [N] by detector name; 'score' for a single one.
      accuracy: the fraction that the network classifies correctly; None without
        labels.
      skipped: images that could not be read, each with the reason.
      prediction: int32 [N], the class that the network predicts.
    """

    scores: dict[str, np.ndarray]
    accuracy: float | None
    skipped: list[str]
    prediction: np.ndarray


def collect(
    detector: NamedScores,
    source: Source,
    batch_size: int,
    *,
    workers: int = 0,
    what: str = "",
) -> Summary:
    """Returns what a detector gives for a source that fits into memory as scores.

    Args and errors are those of `scored`; progress is shown.
    """
    from jood.data.device_batches import sharded

    batches = sharded(source, batch_size, what=what, workers=workers)
    whole = concatenated(lambda b: detector.run_named(b.image), batches)
    accuracy = None if whole.correct is None else float(whole.correct.mean())
    skipped = list(batches.batches.skipped.values())
    return Summary(whole.scores, accuracy, skipped, whole.prediction)


class Scored(NamedTuple):
    """What a detector gives for n images of a source.

    Attributes:
      first: index of the first of them in the source; the others follow.
      readable: bool [n], whether an image could be read; the rest is valid there only.
      scores: float32 [n] by detector name; 'score' for a single one.
      prediction: int32 [n], the class that the network predicts.
      labels: int32 [n], or None.
      skipped: reason why an image could not be read, by index in the source.
    """

    first: int
    readable: np.ndarray
    scores: dict[str, np.ndarray]
    prediction: np.ndarray
    labels: np.ndarray | None
    skipped: dict[int, str]


def scored(
    detector: NamedScores,
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
      source: images; if it skips unreadable ones, these are reported.
      batch_size: images per step, over all devices.
      start: index of the first image to score.
      workers: processes that read and decode images; 0 reads with threads.
      what: text of the progress bar.
      disable: whether to show none; see `progress.bar`.

    Raises:
      NotFittedError, ValueError: as `Detector.run` and `EvaluationBatches`.
    """
    from jood.data.device_batches import sharded

    rest = _from(source, start)
    batches = sharded(rest, batch_size, what=what, workers=workers, disable=disable)
    offset = 0
    for batch in batches:
        output = detector.run_named(batch.image)
        count = min(batch_size, len(rest) - offset)
        skipped = batches.batches.skipped  # also of batches that are read ahead
        yield Scored(
            first=start + offset,
            readable=np.asarray(batch.mask)[:count] > 0,
            scores={name: values[:count] for name, values in output.scores.items()},
            prediction=output.prediction[:count],
            labels=None if batch.label is None else np.asarray(batch.label)[:count],
            skipped={
                start + i: skipped[i]
                for i in range(offset, offset + count)
                if i in skipped
            },
        )
        offset += count


def _from(source: Source, start: int) -> Source:
    if not start:
        return source
    if isinstance(source, ArraySource):
        labels = None if source.labels is None else source.labels[start:]
        return ArraySource(source.images[start:], labels)
    return Subset(source, np.arange(start, len(source)))
