"""One pass over each set of a benchmark: all detectors' scores, and ID accuracy."""

from collections.abc import Mapping
import dataclasses
import math
import os
from typing import Any

from flax import linen as nn
import numpy as np

from jood import metrics
from jood.core import compose
from jood.core.component import Component
from jood.data.benchmarks.spec import Benchmark
from jood.data.device_batches import ShardedBatches
from jood.data.device_batches import sharded
from jood.data.sources import Source
from jood.detector import Detector
from jood.detector import streaming
from jood.evaluation import preflight
from jood.methods import detector_text


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What the detectors gave on a benchmark.

    Attributes:
      accuracy: fraction of ID test images that the unmodified network classifies
        correctly; NaN if they carry no labels.
      id_scores: float32 [N] by detector.
      ood_scores: float32 [M] by OOD set and detector.
      skipped: images that could not be read and have no score: which and why, by set
        ('id_train', 'id_test' or an OOD set) and place in the set.
      waiting: fraction of the time that was spent waiting for data.
    """

    accuracy: float
    id_scores: dict[str, np.ndarray]
    ood_scores: dict[str, dict[str, np.ndarray]]
    skipped: dict[str, dict[int, str]] = dataclasses.field(default_factory=dict)
    waiting: float = 0.0

    def scores(self, name: str, detector: str) -> np.ndarray:
        """Returns a detector's scores of 'id_test' or of an OOD set, float32 [N]."""
        own = self.id_scores if name == "id_test" else self.ood_scores[name]
        return own[detector]

    def places(self, name: str) -> np.ndarray:
        """Returns where in its set each scored image is, int [N]; see `scores`."""
        left_out = list(self.skipped.get(name, ()))
        some = next(iter(self.id_scores))
        every = np.arange(len(self.scores(name, some)) + len(left_out))
        return np.delete(every, left_out)

    def metrics(self) -> dict[str, dict[str, dict[str, float]]]:
        """Returns {detector: {OOD set: {metric: fraction}}}."""
        return {
            name: {
                ood: metrics.evaluate(inside, scores[name])
                for ood, scores in self.ood_scores.items()
            }
            for name, inside in self.id_scores.items()
        }


def make_detector(
    detectors: Mapping[str, Component | str],
    benchmark: Benchmark,
    model: nn.Module,
    variables: Mapping[str, Any],
    backbone: str = "",
) -> Detector:
    """Returns one unfitted `Detector` that asks all of them at once.

    A score that saturates in float32 is replaced by its `Component.ranking`, which
    gives every metric the same value, except for the ties.

    Args:
      detectors: components by name, or texts (`jood.parse`), in which presets take the
        benchmark's values.
      benchmark: the benchmark, which gives preprocessing and class names.
      model: the network.
      variables: its parameters and statistics.
      backbone: the network's name, for presets that have values for it.
    """
    parts = {
        name: detector_text.parse(part, benchmark.name, backbone)
        if isinstance(part, str)
        else part
        for name, part in detectors.items()
    }
    return Detector(
        compose.bundle(**{name: part.ranking or part for name, part in parts.items()}),
        model,
        variables,
        preprocessing=benchmark.preprocessing,
        class_names=benchmark.class_names or None,
        head=preflight.head(model),
    )


def evaluate(
    detector: Detector,
    benchmark: Benchmark,
    *,
    batch_size: int = 128,
    workers: int = 0,
    progress: bool | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> tuple[Detector, Evaluation]:
    """Fits a bundle on the ID training set and scores every test set.

    The network runs once per image, however many detectors are asked; nothing is
    fitted or chosen on a test set.

    Args:
      detector: a bundle on a network, as `make_detector` returns it, or a user's own.
      benchmark: the sets.
      batch_size: images per step, over all devices.
      workers: processes that read and decode images; 0 reads with threads.
      progress: whether to draw progress bars; None draws them on a terminal only.
      cache: folder that keeps training features for later runs; see `Detector.fit`.

    Returns:
      The fitted detector, and what it gave.
    """
    disable = None if progress is None else not progress

    def batches(source: Source, what: str) -> ShardedBatches:
        return sharded(source, batch_size, what=what, workers=workers, disable=disable)

    training = batches(benchmark.id_train, "fit id_train")
    fitted = detector.fit(training, cache=cache)
    sets = {"id_test": benchmark.id_test, **benchmark.ood}
    tests = {name: batches(source, f"score {name}") for name, source in sets.items()}
    scores, correct = {}, {}
    for name, test in tests.items():
        scores[name], correct[name] = streaming.concatenated(
            lambda batch: fitted.run_named(batch.image), test
        )
    every = {"id_train": training, **tests}
    waited = sum(part.timed.waited for part in every.values())
    total = sum(part.timed.total for part in every.values())
    right = correct["id_test"]
    return fitted, Evaluation(
        accuracy=math.nan if right is None else float(right.mean()),
        id_scores=scores.pop("id_test"),
        ood_scores=scores,
        skipped={n: s for n, part in every.items() if (s := part.batches.skipped)},
        waiting=waited / total if total else 0.0,
    )
