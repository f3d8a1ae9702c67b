"""Curves of AUROC and ID accuracy on test sets against the papers' values.

What is swept is in `jood.evaluation.paper_sweeps`. A value that is chosen on these
curves is chosen on the test sets: `jood.select` chooses on Gaussian noise instead.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood import metrics
from jood._utils import csv_text
from jood._utils import progress
from jood.core import assumptions
from jood.core.fitting import Restartable
from jood.data.benchmarks.spec import Benchmark
from jood.data.pipeline import EvaluationBatches
from jood.data.sources import Source
from jood.data.sources.subset import Subset
from jood.detector import Detector
from jood.evaluation import selection
from jood.evaluation.paper_sweeps import Sweep
from jood.methods import detector_text


@dataclasses.dataclass(frozen=True)
class Curve:
    """What a sweep gave.

    Attributes:
      sweep: the sweep that was run.
      accuracy: fraction of ID test images classified correctly, by value; None where
        the value does not change the prediction or the images carry no labels.
      auroc: fractions {row: {OOD set: [one per value]}}.
      fpr95: likewise.
    """

    sweep: Sweep
    accuracy: list[float] | None
    auroc: Mapping[str, Mapping[str, list[float]]]
    fpr95: Mapping[str, Mapping[str, list[float]]]

    def mean(self, metric: str, row: str) -> np.ndarray:
        """Returns 'auroc' or 'fpr95' of a row averaged over the sets, by value."""
        sets = {"auroc": self.auroc, "fpr95": self.fpr95}[metric][row]
        return np.mean(list(sets.values()), axis=0)


def run(
    sweep: Sweep,
    network: Detector,
    benchmark: Benchmark,
    *,
    batch_size: int = 128,
    most: int | None = None,
) -> Curve:
    """Scores the test sets for every value.

    Args:
      sweep: the sweep to run.
      network: any detector with the network and its preprocessing.
      benchmark: the sets.
      batch_size: images per step.
      most: test images per set, at even distances; None takes all.

    Raises:
      ValueError: an image cannot be read, or the network refuses it.
    """

    def batches(name: str, source: Source, most: int | None = None) -> Restartable:
        if most is not None and most < len(source):
            source = Subset(source, np.arange(most) * len(source) // most)
        every, what = EvaluationBatches(source, batch_size), f"{sweep.name}, {name}"
        shown = progress.Shown(every, batch_size, what, len(source))
        return Restartable(shown, network.read_batch)

    train = batches("fit id_train", benchmark.id_train)
    inside = batches("score id_test", benchmark.id_test, most)
    outside = {
        name: batches(f"score {name}", source, most)
        for name, source in benchmark.ood.items()
    }
    points = [{"value": float(value)} for value in sweep.values]
    sets = (train, inside, *outside.values())

    def scored(
        methods: Mapping[str, str], points: Sequence[Mapping[str, float]]
    ) -> dict[str, list[list[np.ndarray]]]:
        """Scores [N] by row, point and set."""
        if not methods:
            return {}
        texts = ", ".join(f"{name!r}: {text}" for name, text in methods.items())

        def stacked(scores: Mapping[str, jax.Array]) -> jax.Array:
            return jnp.stack([scores[row] for row in methods], axis=-1)

        method = f"bundle(**{{{texts}}})"
        given = selection.candidates(method, points, network, *sets, read=stacked)
        assumptions.warn({text: True for one in given for text in one.warned})
        return {
            row: [[scores[:, i] for scores in one.sources] for one in given]
            for i, row in enumerate(methods)
        }

    swept = {
        row: text
        for row, text in sweep.methods.items()
        if "value" in detector_text.free_names(text)
    }
    levels = {row: t for row, t in sweep.methods.items() if row not in swept}
    by_row = scored(swept, points)
    by_row |= {row: one * len(points) for row, one in scored(levels, [{}]).items()}

    def measured(measure: Callable[..., float]) -> dict[str, dict[str, list[float]]]:
        return {
            row: {
                name: [measure(one[0], one[j]) for one in by_row[row]]
                for j, name in enumerate(outside, 1)
            }
            for row in sweep.methods
        }

    accuracy = None
    if sweep.rewrite and "label" in benchmark.id_test[0] and network.head is not None:
        asked = (sweep.rewrite, points, network, train, inside)
        right = selection.candidates(*asked, read=_right)
        accuracy = [float(one.sources[0].mean()) for one in right]
    return Curve(sweep, accuracy, measured(metrics.auroc), measured(metrics.fpr_at_tpr))


def as_csv(curves: Sequence[Curve]) -> str:
    """Returns a line per value, row and OOD set."""
    header = ["sweep", "value", "detector", "ood_set"]
    header += ["AUROC_percent", "FPR95_percent", "id_accuracy_percent"]
    rows = []
    for curve in curves:
        values = curve.sweep.values
        accuracy = _percents(curve.accuracy or ()) or [""] * len(values)
        for row, sets in curve.auroc.items():
            for name, aurocs in sets.items():
                columns = _percents(aurocs), _percents(curve.fpr95[row][name]), accuracy
                for value, *percents in zip(values, *columns, strict=True):
                    rows.append([curve.sweep.name, value, row, name, *percents])
    return csv_text.joined(header, rows)


def _percents(fractions: Sequence[float]) -> list[str]:
    return [f"{100 * fraction:.4f}" for fraction in fractions]


def _right(acts: Any) -> jax.Array:
    """Whether the rewritten logits predict the label, float32 [B]."""
    return (acts.logits.argmax(-1) == acts.labels).astype(jnp.float32)
