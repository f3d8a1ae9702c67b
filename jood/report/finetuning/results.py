"""What fine-tuning did to a network: the results folder of launch/finetune.py.

Rows come in pairs, a detector on the network before and after, as in LFF's Table IV;
with them go the ID accuracy and how large OOD features are, relative to ID ones.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import os
from typing import Any, NamedTuple

import jax
import numpy as np
import tabulate

from jood._utils import atomic_files
from jood.data.benchmarks.spec import Benchmark
from jood.detector import Detector
from jood.evaluation.benchmark_run import Evaluation
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
_WHEN = ("before", "after")
# In the order of the page; drawn from `FinetuningResults`.
PICTURES: list[Picture] = [
    Picture(
        "norms",
        "Feature norms",
        "Distributions of ‖h‖₂, the norm of the penultimate feature, of ID images and "
        "of each OOD set, before and after (LFF's Fig. 5).",
        lambda results: plots.norm_distributions(results.evaluations, NORM),
    ),
    Picture(
        "heatmaps",
        "Where the network responds",
        "‖z_j‖₂ at each location of the last map, before and after (LFF's Fig. 7). "
        "Each row has its own colour scale.",
        lambda results: (
            plots.norm_heatmaps(results.benchmark, results.networks)
            if results.has_maps
            else None
        ),
    ),
    Picture(
        "patches",
        "Patches that are sampled",
        "Locations that the network takes for the object (green) and for background "
        "(red), before and after (SSOD's Fig. 2).",
        lambda results: (
            plots.patches(results.benchmark, results.networks, results.sample)
            if results.has_maps
            else None
        ),
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
      after: a detector with the first seed's network after.
      sample: probabilities of the true class [B, HW] -> the patches to show.
      label: the objective's name, for the rows: 'LFF'.
      benchmark: what was scored.
      detectors: texts by row name; those that only the network after can be asked
        have one row.
      configuration: whatever is needed to run this again, JSON values.
    """

    pairs: Sequence[Pair]
    before: Detector
    after: Detector
    sample: Callable[[jax.Array], Patches]
    label: str
    benchmark: Benchmark
    detectors: Mapping[str, str]
    configuration: Mapping[str, Any]

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

    Args:
      pair: the evaluations.
      label: what is added to the names of the rows after.
      names: detectors in the order of the rows; not each is in both.
    """

    def rows(
        before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        both = {}
        for name in names:
            if name in before:
                both[name] = before[name]
            if name in after:
                both[f"{name} + {label}"] = after[name]
        return both

    before, after = pair
    return dataclasses.replace(
        after,
        id_scores=rows(before.id_scores, after.id_scores),
        ood_scores={
            name: rows(before.ood_scores[name], after.ood_scores[name])
            for name in after.ood_scores
        },
    )


def norm_ratios(evaluation: Evaluation) -> dict[str, float]:
    """Returns mean ‖h‖₂ of each OOD set over that of the ID test set."""
    inside = evaluation.id_scores[NORM].mean()
    return {
        name: float(scores[NORM].mean() / inside)
        for name, scores in evaluation.ood_scores.items()
    }


def write(folder: str | os.PathLike[str], results: FinetuningResults) -> str:
    """Writes a new results folder; returns the table as text."""
    label, pairs, benchmark = results.label, results.pairs, results.benchmark
    both = [joined(pair, label, list(results.detectors)) for pair in pairs]
    table = tables.build(both, list(both[0].id_scores), benchmark)
    texts = {
        name: results.detectors[name.removesuffix(f" + {label}")]
        for name in table.detectors
    }
    accuracies = {w: [getattr(pair, w).accuracy for pair in pairs] for w in _WHEN}
    ratios = {w: [norm_ratios(getattr(pair, w)) for pair in pairs] for w in _WHEN}
    told = f"ID accuracy {_spread(accuracies['before'])} % before, "
    told += f"{_spread(accuracies['after'])} % after {label}. "
    heading = tables.heading(table, benchmark.protocol, told)
    run = folder_lib.summary(results, table, id_accuracy=accuracies, norm_ratios=ratios)

    def as_text(style: str) -> str:
        return (
            f"{heading}\n\n{tables.text(table, style)}\n\n"
            f"Mean ‖h‖₂ of OOD over ID, in %:\n\n{_ratios_text(ratios, style)}\n"
        )

    with atomic_files.atomic_folder(folder) as partial:
        folder_lib.write_tables(partial, table, texts, as_text, run)
        shown = page_lib.build(
            f"{label} on {benchmark.name}: before and after",
            heading,
            table,
            texts,
            run,
            [_ratios_grid(ratios)],
            pictures.save(partial, PICTURES, results),
        )
        (partial / page.FILE).write_text(shown, encoding="utf-8")
    return as_text("simple")


def _ratios_grid(ratios: Mapping[str, Sequence[Mapping[str, float]]]) -> page.Grid:
    sets = list(ratios["before"][0])
    rows = []
    for when, seeds in ratios.items():
        values = [100 * float(np.mean([one[name] for one in seeds])) for name in sets]
        rows.append([page.Cell(when), *(page.Cell(f"{v:.0f}", v) for v in values)])
    columns = [page.GridColumn(title) for title in ("network", *sets)]
    return page.Grid(columns, rows, "Mean ‖h‖₂ of OOD images over ID images, in %.")


def _ratios_text(
    ratios: Mapping[str, Sequence[Mapping[str, float]]], style: str
) -> str:
    sets = list(ratios["before"][0])
    rows = [
        [when, *(_spread([one[name] for one in seeds], digits=0) for name in sets)]
        for when, seeds in ratios.items()
    ]
    return tabulate.tabulate(rows, ["", *sets], tablefmt=style, stralign="right")


def _spread(fractions: Sequence[float], digits: int = 2) -> str:
    """A mean in percent, of several with their standard deviation."""
    values = 100 * np.array(fractions)
    text = f"{values.mean():.{digits}f}"
    if len(values) > 1:
        text += f" ± {values.std(ddof=1):.{digits}f}"
    return text
