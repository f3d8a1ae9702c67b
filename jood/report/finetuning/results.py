"""What fine-tuning did to a network: the results folder of launch/finetune.py.

Rows come in pairs, a detector on the network before and after, as in LFF's Table IV,
beside the ID accuracy and the size of OOD features relative to ID ones.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import os
from typing import Any, NamedTuple

import jax
from matplotlib import figure
import numpy as np
import tabulate

from jood._utils import atomic_files
from jood.data.benchmarks.spec import Benchmark
from jood.detector import Detector
from jood.evaluation.benchmark_run import Evaluation
from jood.report import confidence
from jood.report import pictures
from jood.report.benchmark import page as page_lib
from jood.report.benchmark import results as folder_lib
from jood.report.benchmark import tables
from jood.report.benchmark.network_view import Viewer
from jood.report.finetuning import plots
from jood.report.html import page
from jood.report.pictures import Picture
from jood.training.objectives.patches import Patches

NORM = "Feature L2 norm"  # the row whose score is ‖h‖₂
_Ratios = Mapping[str, Sequence[Mapping[str, float]]]  # by 'before' or 'after', seed


def _of_maps(draw: Callable[..., figure.Figure]) -> Callable[[Any], Any]:
    """Draws a picture of a network that has maps: results -> a figure or None."""
    return lambda results: draw(results) if results.has_maps else None


# In the order of the page; drawn from `FinetuningResults`.
PICTURES: list[Picture] = [
    Picture(
        "norms",
        "Feature norms",
        "Distributions of ‖h‖₂, the norm of the penultimate feature, of ID images and "
        "of each OOD set, before and after (LFF's Fig. 5). 'OOD / ID' is the ratio of "
        "the mean norms.",
        lambda results: plots.norm_distributions(results.evaluations, NORM),
    ),
    Picture(
        "heatmaps",
        "Where the network responds",
        plots.MAPS_CAPTION + " Before and after (LFF's Fig. 7).",
        _of_maps(lambda r: plots.norm_heatmaps(r.benchmark, r.networks)),
    ),
    Picture(
        "confidences",
        "Confidence of ID and of OOD images",
        "Distributions of confidence, of ID images (blue) and of each OOD set "
        "(orange), before and after (SSOD's Fig. 6): that of the largest class, and "
        "that of the OOD head where there is one.",
        lambda results: _confidences(results),
    ),
    Picture(
        "locality",
        "Where the true class is found",
        "Blue locations give the true class a probability p of over 40 %, before and "
        "after (SSOD's Fig. 2 a, b).",
        _of_maps(lambda r: plots.locality(r.benchmark, r.networks)),
    ),
    Picture(
        "patches",
        "Patches that are sampled",
        "Locations that the network takes for the object (blue) and for background "
        "(orange), before and after (SSOD's Fig. 2 c, d).",
        _of_maps(lambda r: plots.patches(r.benchmark, r.networks, r.sample)),
    ),
]


class Pair(NamedTuple):
    """One seed's network before and after, as detectors see it."""

    before: Evaluation
    after: Evaluation


@dataclasses.dataclass(frozen=True, eq=False)
class FinetuningResults:
    """What fine-tuning did.

    Attributes:
      pairs: one per seed.
      before: a detector with the first seed's network before.
      after: a detector with the same network after.
      sample: probabilities of the true class [B, HW] -> the patches to show.
      label: the objective's name, for the rows: 'LFF'.
      benchmark: the benchmark that was scored.
      detectors: texts by row name; one row if only the network after can be asked.
      configuration: settings to run this again with, JSON values.
      sources: origins of a row's values, by row; see `jood.methods.value_sources`.
    """

    pairs: Sequence[Pair]
    before: Detector
    after: Detector
    sample: Callable[[jax.Array], Patches]
    label: str
    benchmark: Benchmark
    detectors: Mapping[str, str]
    configuration: Mapping[str, Any]
    sources: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)

    @property
    def has_maps(self) -> bool:
        """Whether the networks have maps to draw."""
        return Viewer.of(self.before, self.benchmark.image_size).last is not None

    @property
    def networks(self) -> dict[str, Detector]:
        """The networks of the pictures by label."""
        return {"before": self.before, f"after {self.label}": self.after}

    @property
    def evaluations(self) -> dict[str, Evaluation]:
        """The evaluations of these networks."""
        return dict(zip(self.networks, self.pairs[0], strict=True))


def joined(pair: Pair, label: str, names: Sequence[str]) -> Evaluation:
    """Returns both evaluations as one, whose rows 'MSP' and 'MSP + LFF' alternate.

    `names` are the detectors in the order of the rows; not each is in both.
    """

    def rows(*both: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {
            f"{name}{mark}": scores[name]
            for name in names
            for mark, scores in zip(("", f" + {label}"), both, strict=True)
            if name in scores
        }

    before, after = pair
    inside = rows(before.id_scores, after.id_scores)
    sets = {n: rows(before.ood_scores[n], s) for n, s in after.ood_scores.items()}
    return dataclasses.replace(after, id_scores=inside, ood_scores=sets)


def _confidences(results: FinetuningResults) -> figure.Figure | None:
    """The last detector of each network whose score is a probability of class or ID.

    None if a network was asked none.
    """
    rows = {}
    for label, evaluation in results.evaluations.items():
        for name, text in results.detectors.items():
            function = confidence.of(text)
            alone = text.startswith(("msp", "ood_factor"))
            if function and alone and name in evaluation.id_scores:
                rows[label] = (name, function)
    complete = len(rows) == len(results.evaluations)
    return plots.confidences(results.evaluations, rows) if complete else None


def norm_ratios(evaluation: Evaluation) -> dict[str, float]:
    """Returns mean ‖h‖₂ of each OOD set over that of the ID test set."""
    inside, sets = evaluation.id_scores[NORM].mean(), evaluation.ood_scores
    return {name: float(s[NORM].mean() / inside) for name, s in sets.items()}


def write(folder: str | os.PathLike[str], results: FinetuningResults) -> str:
    """Writes a new results folder; returns the table as text."""
    label, pairs, benchmark = results.label, results.pairs, results.benchmark
    both = [joined(pair, label, list(results.detectors)) for pair in pairs]
    table = tables.build(both, list(both[0].id_scores), benchmark)
    own = {name: name.removesuffix(f" + {label}") for name in table.detectors}
    texts = {name: results.detectors[row] for name, row in own.items()}
    by_time = dict(zip(Pair._fields, zip(*pairs, strict=True), strict=True))
    accuracies = {when: [one.accuracy for one in by_time[when]] for when in by_time}
    ratios = {when: [norm_ratios(one) for one in by_time[when]] for when in by_time}
    before, after = (tables.spread(100 * np.array(a), 2) for a in accuracies.values())
    accuracy = f"ID accuracy {before} % before, {after} % after {label}. "
    heading = tables.heading(table, benchmark.protocol, accuracy)
    run = folder_lib.summary(results, table, id_accuracy=accuracies, norm_ratios=ratios)
    sources = {name: results.sources.get(row, {}) for name, row in own.items()}

    def as_text(style: str) -> str:
        return (
            f"{heading}\n\n{tables.text(table, style)}\n\n"
            f"Mean ‖h‖₂ of OOD over ID, in %:\n\n{_ratios_text(ratios, style)}\n"
        )

    with atomic_files.atomic_folder(folder) as partial:
        folder_lib.write_tables(partial, table, texts, as_text, run, sources)
        shown = page_lib.build(
            f"{label} on {benchmark.name}: before and after",
            heading,
            table,
            texts,
            run,
            [_ratios_grid(ratios)],
            pictures.save(partial, PICTURES, results),
            sources,
        )
        (partial / page.FILE).write_text(shown, encoding="utf-8")
    return as_text("simple")


def _ratios_grid(ratios: _Ratios) -> page.Grid:
    sets = list(ratios["before"][0])
    rows = []
    for when, seeds in ratios.items():
        values = [100 * float(np.mean([one[name] for one in seeds])) for name in sets]
        rows.append([page.Cell(when), *(page.Cell(f"{v:.0f}", v) for v in values)])
    columns = [page.GridColumn(title) for title in ("network", *sets)]
    return page.Grid(columns, rows, "Mean ‖h‖₂ of OOD images over ID images, in %.")


def _ratios_text(ratios: _Ratios, style: str) -> str:
    sets = list(ratios["before"][0])
    rows = [
        [when, *(tables.spread([100 * one[n] for one in seeds], 0) for n in sets)]
        for when, seeds in ratios.items()
    ]
    return tabulate.tabulate(rows, ["", *sets], tablefmt=style, stralign="right")
