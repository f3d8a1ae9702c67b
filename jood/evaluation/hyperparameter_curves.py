"""Curves of the papers' values on test sets: what they do to AUROC and ID accuracy.

Feature Sim's Fig. 4 and 5 and Table 7 (λ, k), HIMPLoS's Fig. 6 and 7 (clip, masking
fraction). A value that is chosen on them is chosen on the test sets: `jood.select`
chooses on Gaussian noise instead.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any, NamedTuple

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
from jood.evaluation import paper_grids
from jood.evaluation import selection
from jood.methods import preset_values

NAMES = ("k", "lambda", "mask", "clip")
_K = (0.0, *paper_grids.K)


class Sweep(NamedTuple):
    """What is swept.

    Attributes:
      name: one of `NAMES`, or of an objective's values.
      title: the heading.
      methods: texts by row name, in which `value` stands for what is swept.
      rewrite: a text without a score, whose logits answer the ID task; '' if the
        value does not touch them.
      values: the grid, numbers or words.
      usual: the paper's value for the benchmark and network, or None.
    """

    name: str
    title: str
    methods: Mapping[str, str]
    rewrite: str
    values: Sequence[float | str]
    usual: float | str | None


@dataclasses.dataclass(frozen=True)
class Curve:
    """What a sweep gave.

    Attributes:
      sweep: what was swept.
      accuracy: fraction of ID test images classified correctly, by value; None where
        the value does not touch the answer or the images carry no labels.
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


def value_text(value: float | str) -> str:
    """Returns a value of a grid as it is shown."""
    return value if isinstance(value, str) else f"{value:g}"


def sweeps(benchmark: str, backbone: str = "") -> dict[str, Sweep]:
    """Returns the papers' sweeps around the values of a benchmark and a network."""
    usual = preset_values.values(benchmark, backbone)
    k, clip, mask = usual["k"], usual["clip"], usual["mask"]
    himplos = "feature_mask(q={})|react({})|prototype_smoothing()"
    by_mask = himplos.format("value", clip)
    by_clip = himplos.format(mask, "q=value")
    fused = "fuse(feature_sim(), {}(), weights={})"
    name, _, number = clip.partition("=")
    every = (
        Sweep(
            "k",
            "Threshold Activation's k (Feature Sim, Fig. 5 and Table 7)",
            {
                "FS+TA": "ta(k=value)|feature_sim()",
                "Energy+TA": "ta(k=value)|energy()",
                "Energy+TA+FS": "ta(k=value)|"
                + fused.format("energy", usual["energy"]),
            },
            "ta(k=value)",
            _K,
            float(k),
        ),
        Sweep(
            "lambda",
            "The weight λ of the fused score (Feature Sim, Fig. 4)",
            {
                "Energy+TA+FS": f"ta(k={k})|{fused.format('energy', '(1, value)')}",
                "MSP+TA+FS": f"ta(k={k})|{fused.format('msp', '(1, value)')}",
            },
            "",
            paper_grids.LAMBDA,
            None,
        ),
        Sweep(
            "mask",
            "HIMPLoS's masked fraction of the features (HIMPLoS, Fig. 7)",
            {"HIMPLoS": f"{by_mask}|energy()"},
            by_mask,
            paper_grids.MASK,
            float(mask),
        ),
        Sweep(
            "clip",
            "The clip, as a quantile of ID activations (HIMPLoS, Fig. 6)",
            {"HIMPLoS": f"{by_clip}|energy()", "ReAct": "react(q=value)|energy()"},
            by_clip,
            paper_grids.CLIP,
            float(number) if name == "q" else None,
        ),
    )
    return {sweep.name: sweep for sweep in every}


def usual_values(benchmark: str, backbone: str = "") -> dict[str, str]:
    """Returns where the values that `sweeps` sweeps around come from, by text."""
    known = preset_values.resolve(benchmark, backbone)
    places = {
        "k": "ta(k={})",
        "energy": "fuse(weights={})",
        "mask": "feature_mask(q={})",
        "clip": "react({})",
    }
    return {at.format(known[n].text): known[n].source for n, at in places.items()}


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
      sweep: what is swept.
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
    bundle = ", ".join(f"{name!r}: {text!s}" for name, text in sweep.methods.items())

    def stacked(scores: Mapping[str, jax.Array]) -> jax.Array:
        return jnp.stack([scores[row] for row in sweep.methods], axis=-1)

    sets = (train, inside, *outside.values())
    method = f"bundle(**{{{bundle}}})"
    given = selection.candidates(method, points, network, *sets, read=stacked)
    assumptions.warn({text: True for one in given for text in one.warned})
    found = [one.sources for one in given]

    def measured(measure: Callable[..., float]) -> dict[str, dict[str, list[float]]]:
        return {
            row: {
                name: [measure(one[0][:, i], one[j][:, i]) for one in found]
                for j, name in enumerate(outside, 1)
            }
            for i, row in enumerate(sweep.methods)
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
    """Whether the rewritten logits answer correctly, float32 [B]."""
    return (acts.logits.argmax(-1) == acts.labels).astype(jnp.float32)
