"""Chooses the method that best separates the user's images from others, by trial.

All are fitted in one pass and scored in one, on ID images that are neither fitted nor
calibrated on, against images of no class that the user has, or else against images made
from the ID images (`jood.evaluation.synthetic_outliers`). The choice is made before the
calibration and on other images, so that the promise of the calibration holds.
"""

from collections.abc import Iterable, Mapping
import dataclasses
from typing import Any, NamedTuple

import numpy as np
import tabulate

from jood import metrics
from jood.core import compose
from jood.core.batch import Batch
from jood.core.component import Component
from jood.data.device_batches import sharded
from jood.data.id_splits import IdSplits
from jood.data.id_splits import split
from jood.data.pipeline import EvaluationBatches
from jood.data.sources import Source
from jood.data.sources.subset import part
from jood.detector import Detector
from jood.detector import streaming
from jood.evaluation import preflight
from jood.evaluation import synthetic_outliers
from jood.methods import detector_list
from jood.weights.checkpoint import TrainedNetwork

AUTO = "auto"
# Rows of `presets.everything` that need one forward pass.
CANDIDATES = (
    "MSP", "Energy", "GEN", "ReAct", "HIMPLoS", "KNN", "ViM", "fDBD", "NNGuide",
)  # fmt: skip
MADE_ON = ("blur", "jigsaw", "mixed")  # without images of no class
_SHARE = 1 / 3  # of the held-out images are compared on
_FEWEST = 10  # to compare on


class Choice(NamedTuple):
    """What was compared, and what was chosen.

    Attributes:
      detector: That of the best method, fitted.
      method: Its name.
      specs: The text of each method by name.
      contrasts: (AUROC, FPR95), fractions, by method and set.
      compared: The number of ID images that were compared on.
      fitted: The number of images that were fitted on.
      synthetic: Whether the sets are made of the ID images.
      skipped: Reasons why images could not be read, by their purpose.
    """

    detector: Detector
    method: str
    specs: Mapping[str, str]
    contrasts: Mapping[str, Mapping[str, tuple[float, float]]]
    compared: int
    fitted: int
    synthetic: bool
    skipped: Mapping[str, list[str]]

    def text(self) -> str:
        """Returns a table, the best first, and by what the first was chosen."""
        sets = list(next(iter(self.contrasts.values())))
        means = {name: mean(each) for name, each in self.contrasts.items()}
        rows = [
            [name, *(_cell(each[one]) for one in sets), _cell(means[name])]
            for name, each in sorted(
                self.contrasts.items(), key=lambda pair: -means[pair[0]][0]
            )
        ]
        table = tabulate.tabulate(
            rows, ["method", *sets, "mean"], disable_numparse=True, stralign="right"
        )
        what = "images made from them" if self.synthetic else "the OOD images"
        lines = [
            f"AUROC / FPR95 in % of {self.compared:,} ID images, which are not "
            f"calibrated on, against {what}:",
            table,
        ]
        if len(self.contrasts) > 1:
            lines.append(f"chosen by the best mean AUROC: {self.method}")
        if self.synthetic:
            lines.append(
                "images of no class that you may meet choose better: "
                "--ood=NAME=FOLDER,..."
            )
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Returns what was compared as JSON values."""
        return {
            "method": self.method,
            "specs": dict(self.specs),
            "auroc_fpr95": {name: dict(each) for name, each in self.contrasts.items()},
            "compared": self.compared,
            "made": self.synthetic,
        }


def rows(
    method: str, benchmark: str, backbone: str = "", paper: str = ""
) -> dict[str, detector_list.Row]:
    """Returns the methods that are compared, by name.

    Args:
      method: 'auto', or a list as `detector_list.split` takes it.
      benchmark: Benchmark whose values presets take.
      backbone: The network's name, for presets that have values for it.
      paper: Paper whose table they are for, '' or one of `paper_values.PAPERS`.

    Raises:
      ValueError: It is not a list of detectors.
    """
    every = ", ".join(CANDIDATES) if method == AUTO else method
    return detector_list.read_each(
        detector_list.split(every), benchmark, backbone, paper
    )


def possible(
    methods: Mapping[str, Component], network: TrainedNetwork, fit: Source
) -> dict[str, Component]:
    """Returns those of the methods of 'auto' that a network and its images allow."""
    return preflight.possible(methods, network.model, network.variables, fit)[0]


def held_apart(splits: IdSplits, needed: int, seed: int) -> tuple[IdSplits, Source]:
    """Takes images to compare on, in any order, out of those to calibrate on.

    Args:
      splits: The ID images.
      needed: Number of images that the calibration needs.
      seed: Seed of the random part.

    Raises:
      ValueError: There are too few for both.
    """
    count = len(splits.calibration)
    share = min(_SHARE, (count - needed) / count)
    if share * count < _FEWEST:
        raise ValueError(
            f"methods are compared on ID images that are held out, {_FEWEST} at least, "
            f"beside the {needed} to calibrate on, but only {count} are held out. Give "
            "more --calibration images, or one --method, such as 'knn(k=10)', without "
            "--ood."
        )
    rest, apart = split(splits.calibration, share, seed)
    # Neighbours are of one class in folders; mixed images should be of any two.
    order = np.random.default_rng(seed).permutation(len(apart))
    return dataclasses.replace(splits, calibration=rest), part(apart, order)


def choose(
    detector: Detector,
    methods: Mapping[str, Component],
    fit: Source,
    inside: Source,
    others: Mapping[str, Source],
    *,
    batch_size: int = 128,
    workers: int = 0,
) -> Choice:
    """Fits methods, compares them and returns the detector of the best.

    Args:
      detector: An unfitted detector of any method, with the network.
      methods: Scores by name.
      fit: ID images to fit on.
      inside: Other ID images.
      others: Images of no class, by the name of their set; {} makes some of `inside`.
      batch_size: Images per step, over all devices.
      workers: Processes that read and decode images; 0 reads with threads.

    Raises:
      ValueError: As `Detector.fit`.
    """
    every = dataclasses.replace(detector, component=compose.bundle(**methods))
    skipped, fitted = {}, 0
    if every.component.passes:
        batches = sharded(fit, batch_size, what="fit", workers=workers)
        every = every.fit(batches)
        skipped["fit"] = list(batches.batches.skipped.values())
        fitted = len(fit) - len(skipped["fit"])

    def scores(source: Source, what: str) -> dict[str, np.ndarray]:
        whole = streaming.collect(every, source, batch_size, workers=workers, what=what)
        skipped[what] = whole.skipped
        return whole.scores

    known = scores(inside, "compare")
    sets = {name: scores(source, name) for name, source in others.items()}
    if not sets:
        like = EvaluationBatches(inside, batch_size, workers=workers)
        for kind in MADE_ON:
            sets[kind] = _of_made(every, synthetic_outliers.Outliers(kind, like, 0))
    contrasts = {
        name: {
            one: (
                metrics.auroc(known[name], given[name]),
                metrics.fpr_at_tpr(known[name], given[name]),
            )
            for one, given in sets.items()
        }
        for name in methods
    }
    best = max(methods, key=lambda name: mean(contrasts[name])[0])
    values = compose.values_of(
        tuple(methods.values()), every.fitted or (), [*methods].index(best)
    )
    return Choice(
        dataclasses.replace(every, component=methods[best], fitted=values),
        best,
        {name: component.spec for name, component in methods.items()},
        contrasts,
        len(next(iter(known.values()))),
        fitted,
        not others,
        {what: texts for what, texts in skipped.items() if texts},
    )


def mean(each: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    """Returns the mean (AUROC, FPR95) over sets."""
    auroc, fpr = np.mean(list(each.values()), axis=0)
    return float(auroc), float(fpr)


def _of_made(detector: Detector, batches: Iterable[Any]) -> dict[str, np.ndarray]:
    def run(batch: Batch) -> Any:
        return detector.run_named(batch.image)

    return streaming.concatenated(run, batches).scores


def _cell(values: tuple[float, float]) -> str:
    return " / ".join(f"{100 * value:.1f}" for value in values)
