"""One pass over each set of a benchmark: all detectors' scores, and ID accuracy."""

from collections.abc import Mapping, Sequence
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
from jood.detector.calibration import warn_if_constant
from jood.evaluation import preflight
from jood.methods import detector_list
from jood.weights.checkpoint import TrainedNetwork


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What the detectors gave on a benchmark.

    Attributes:
      accuracy: fraction of ID test images that the unmodified network classifies
        correctly; NaN if they carry no labels.
      id_scores: float32 [N] by detector.
      ood_scores: float32 [M] by OOD set and detector.
      skipped: reason why an image could not be read and has no score, by set
        ('id_train', 'id_test' or an OOD set) and place in the set.
      waiting: fraction of the time that was spent waiting for data.
      shifted: float32 [M] by covariate-shifted ID set and detector.
      spectrum: fraction of ID test and shifted images together that the unmodified
        network classifies correctly; NaN without shifted sets or labels.
    """

    accuracy: float
    id_scores: dict[str, np.ndarray]
    ood_scores: dict[str, dict[str, np.ndarray]]
    skipped: dict[str, dict[int, str]] = dataclasses.field(default_factory=dict)
    waiting: float = 0.0
    shifted: dict[str, dict[str, np.ndarray]] = dataclasses.field(default_factory=dict)
    spectrum: float = math.nan

    def scores(self, name: str, detector: str) -> np.ndarray:
        """Returns a detector's scores of 'id_test' or another set, float32 [N]."""
        sets = {"id_test": self.id_scores, **self.shifted, **self.ood_scores}
        return sets[name][detector]

    def places(self, name: str) -> np.ndarray:
        """Returns where in its set each scored image is, int [N]; see `scores`."""
        skipped = list(self.skipped.get(name, ()))
        scored = len(self.scores(name, next(iter(self.id_scores))))
        return np.delete(np.arange(scored + len(skipped)), skipped)

    def full_spectrum(self) -> "Evaluation":
        """Returns the same, with the images of the shifted sets counted as ID."""
        inside = {
            name: np.concatenate([own, *(s[name] for s in self.shifted.values())])
            for name, own in self.id_scores.items()
        }
        return dataclasses.replace(
            self, id_scores=inside, accuracy=self.spectrum, shifted={}
        )

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
    paper: str = "",
) -> Detector:
    """Returns one unfitted `Detector` that asks all of them at once.

    Args:
      detectors: components, or what --detectors takes: texts, presets and rows, which
        take the benchmark's values; see `detector_list.read`.
      benchmark: gives preprocessing and class names.
      model: the network.
      variables: its parameters and statistics.
      backbone: the network's name, for presets that have values for it.
      paper: paper whose table they are for, '' or one of `paper_values.PAPERS`.
    """
    rows = detector_list.read_each(detectors, benchmark.name, backbone, paper)
    return Detector(
        compose.bundle(**{name: row.component for name, row in rows.items()}),
        model,
        variables,
        preprocessing=benchmark.preprocessing,
        class_names=benchmark.class_names or None,
        head=preflight.head(model),
    )


def ask(
    detectors: Mapping[str, Component | str],
    benchmark: Benchmark,
    network: TrainedNetwork,
) -> Detector:
    """Returns what `make_detector` does, of a network in a folder."""
    return make_detector(
        detectors, benchmark, network.model, network.variables, network.name
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
    """Fits a bundle on the ID training set, and nothing else; scores every test set.

    The network runs once per image, however many detectors are asked. A score that
    saturates in float32 is replaced by its `Component.ranking`, which gives every
    metric the same value, except for the ties.

    Args:
      detector: a bundle, as `make_detector` returns it, or a user's own.
      benchmark: the sets.
      batch_size: images per step, over all devices.
      workers: processes that read and decode images; 0 reads with threads.
      progress: whether to draw progress bars; None draws them on a terminal and logs
        lines elsewhere.
      cache: folder that keeps training features for later runs; see `Detector.fit`.

    Returns:
      The fitted detector, and what it gave.
    """
    disable = None if progress is None else not progress

    def batches(source: Source, what: str) -> ShardedBatches:
        return sharded(source, batch_size, what=what, workers=workers, disable=disable)

    component = detector.component.ranking or detector.component
    detector = dataclasses.replace(detector, component=component)
    every = {}
    if component.passes:  # else no training image is read, or need be there
        every = {"id_train": batches(benchmark.id_train, "fit id_train")}
    fitted = detector.fit(every.get("id_train", ()), cache=cache)
    sets = {"id_test": benchmark.id_test, **benchmark.shifted, **benchmark.ood}
    tests = {name: batches(source, f"score {name}") for name, source in sets.items()}
    results = {
        name: streaming.concatenated(lambda batch: fitted.run_named(batch.image), test)
        for name, test in tests.items()
    }
    inside = results.pop("id_test")
    shifted = {name: results.pop(name) for name in benchmark.shifted}
    known = [inside.correct, *(one.correct for one in shifted.values())]
    warn_if_constant(inside.scores, "ID test images")
    every |= tests
    waited = sum(part.timed.waited for part in every.values())
    total = sum(part.timed.total for part in every.values())
    return fitted, Evaluation(
        accuracy=_share([inside.correct]),
        id_scores=inside.scores,
        ood_scores={name: one.scores for name, one in results.items()},
        skipped={n: s for n, part in every.items() if (s := part.batches.skipped)},
        waiting=waited / total if total else 0.0,
        shifted={name: one.scores for name, one in shifted.items()},
        spectrum=_share(known) if shifted else math.nan,
    )


def _share(correct: Sequence[np.ndarray | None]) -> float:
    """The fraction of images that are classified correctly; NaN if some unlabelled."""
    known = [one for one in correct if one is not None]
    if len(known) < len(correct):
        return math.nan
    return float(np.concatenate(known).mean())
