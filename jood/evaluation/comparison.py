"""`compare`: which detectors work on a user's own network and images, in one call.

    print(jood.compare("msp, knn(k=5)", detector, train, held_out, {"new": batches}))

A method's paper may have used a network a hundred times as wide: what a detector is
worth has to be measured where it will be used. Without OOD images, stand-ins are made
of the ID images (`synthetic_outliers`); they rank detectors, but real unknowns may be
harder.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import tabulate

from jood import metrics
from jood.core import compose
from jood.core.component import Component
from jood.core.component import empty_data_set
from jood.core.fitting import Restartable
from jood.detector import Detector
from jood.detector import streaming
from jood.evaluation import synthetic_outliers
from jood.methods import detector_list

if TYPE_CHECKING:  # reads images with Grain, which takes a while to import
    from jood.evaluation.benchmark_run import Evaluation

MEAN = "mean"  # the column of the averages over the OOD sets
BARELY = 0.2  # a detector that catches a smaller share of a set barely works on it


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """What detectors gave on a user's images; it prints itself as a table.

    Attributes:
      evaluation: every score, ID and by OOD set, and the ID accuracy.
      specs: each row's whole text.
      synthetic: description, by name, of how each OOD set was made from ID images; {}
        for the user's own sets.
    """

    evaluation: "Evaluation"
    specs: Mapping[str, str]
    synthetic: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        return self.text()

    def values(self, name: str, metric: str) -> dict[str, float]:
        """Returns a detector's metric, a fraction, by column: the mean comes first."""
        sets = {s: every[metric] for s, every in self._metrics[name].items()}
        return {MEAN: float(np.mean(list(sets.values()))), **sets}

    @property
    def best(self) -> str:
        """The row with the highest mean AUROC over the sets; the first if equal."""
        return max(self.specs, key=lambda name: self.values(name, "AUROC")[MEAN])

    @property
    def barely(self) -> dict[str, dict[str, float]]:
        """By row, sets of which it catches less than `BARELY`, and the share caught.

        An image is caught if it scores below the threshold that keeps 95 % of the ID
        images.
        """
        caught = {
            name: {s: 1 - fpr for s, fpr in self.values(name, "FPR95").items()}
            for name in self.specs
        }
        barely = {
            name: {s: share for s, share in sets.items() if share < BARELY}
            for name, sets in caught.items()
        }
        return {name: sets for name, sets in barely.items() if sets}

    def text(self, style: str = "simple") -> str:
        """Returns the table with its marks explained (a `tabulate` style)."""
        shown = metrics.shown()
        columns = [c for c in self.values(self.best, "AUROC") if c in self._columns]
        by_metric = {
            metric: {name: self.values(name, metric.name) for name in self.specs}
            for metric in shown
        }

        def cell(name: str, column: str) -> str:
            parts = []
            for metric, rows in by_metric.items():
                every = [round(100 * row[column], 1) for row in rows.values()]
                value = round(100 * rows[name][column], 1)
                top = min(every) if metric.lower_is_better else max(every)
                star = "*" * (value == top and len({*every}) > 1)
                parts.append(f"{value:.1f}{star}")
            mark = " !" * (column in self.barely.get(name, {}))
            return " / ".join(parts) + mark

        rows = [[name, *(cell(name, c) for c in columns)] for name in self.specs]
        table = tabulate.tabulate(rows, ["detector", *columns], tablefmt=style)
        return "\n".join([*self._heading(), "", table, *self._notes()])

    @property
    def _columns(self) -> list[str]:
        """The columns of the table: the mean of a single set would say it twice."""
        sets = list(self.evaluation.ood_scores)
        return [MEAN, *sets] if len(sets) > 1 else sets

    @functools.cached_property
    def _metrics(self) -> dict[str, dict[str, dict[str, float]]]:
        return self.evaluation.metrics()

    def _heading(self) -> list[str]:
        count = len(next(iter(self.evaluation.id_scores.values())))
        accuracy = self.evaluation.accuracy
        accurate = "" if math.isnan(accuracy) else f", accuracy {100 * accuracy:.2f} %"
        sets = {
            name: len(next(iter(scores.values())))
            for name, scores in self.evaluation.ood_scores.items()
        }
        lines = [
            f"ID: {count:,} held-out images{accurate}. OOD: "
            + ", ".join(f"{name} {size:,}" for name, size in sets.items())
            + "."
        ]
        if self.synthetic:
            kinds = "; ".join(f"{k}: {v}" for k, v in self.synthetic.items())
            lines.append(
                f"No OOD images were given, so these are stand-ins ({kinds}). They "
                "rank detectors; real unknown images may be harder to detect."
            )
        shown = metrics.shown()
        better = " / ".join("lower" if m.lower_is_better else "higher" for m in shown)
        lines.append(
            f"Cells: {' / '.join(m.name for m in shown)} in %, ID positive; {better} "
            f"is better. * best of a column. ! catches less than {100 * BARELY:.0f} % "
            "of the images, with 5 % of the ID images called OOD."
        )
        return lines

    def _notes(self) -> list[str]:
        if not self.barely:
            return []
        parts = []
        for name, sets in self.barely.items():
            shares = [
                f"{100 * share:.0f} % "
                + ("on average" if column == MEAN else f"of {column}")
                for column, share in sets.items()
                if column in self._columns
            ]
            parts.append(f"{name} (catches {', '.join(shares)})")
        better = f" Best on average: {self.best}."
        if MEAN in self.barely.get(self.best, {}):
            better = " No detector of these works on average: try others."
        return ["", f"BARELY WORKS HERE: {'; '.join(parts)}.{better}"]


def compare(
    detectors: str | Sequence[str | Component] | Mapping[str, str | Component],
    detector: Detector,
    train: Iterable[Any],
    held_out: Iterable[Any],
    ood: Mapping[str, Iterable[Any]] | None = None,
    *,
    seed: int = 0,
) -> Comparison:
    """Fits detectors on ID images and compares them on held-out ID and OOD images.

    The network runs once per image, however many detectors are asked.

    Args:
      detectors: texts or components by name; or a sequence of them, each named by its
        text; or one text, as `--detectors` takes it: 'msp, mine=react(q=0.9)|energy()'.
      detector: gives network, preprocessing and module paths, not its component.
      train: ID training batches, as for `Detector.fit`.
      held_out: ID batches that are not in `train`; with labels, the ID accuracy is
        printed.
      ood: batches by name of the set. None makes stand-ins from the held-out images,
        which must then be such that they can be iterated again.
      seed: seed of these stand-ins.

    Returns:
      The scores and metrics of all rows, which print themselves as a table with the
      best values (*) and the detectors that barely work (!) marked.

    Raises:
      TypeError: one batch stands where batches are expected, or `ood` has no names.
      ValueError: a text cannot be read, a row is named twice, there is no row, no OOD
        set or no image, or the network lacks what a row reads.

    Example:
      >>> from jood import testing
      >>> detector = Detector('msp()', testing.ToyNet(), testing.toy_variables())
      >>> train, held_out = ([testing.toy_images(32, seed=i)] for i in (0, 1))
      >>> new = [testing.toy_images(32, seed=2, ood=True)]
      >>> found = compare('msp, energy', detector, train, held_out, {'new': new})
      >>> found.values('msp', 'AUROC')['new'] > 0.9
      True
    """
    from jood.evaluation.benchmark_run import Evaluation

    parts = _components(detectors)
    rows = compose.bundle(**parts)
    if ood is not None and not isinstance(ood, Mapping):
        raise TypeError(
            "ood must be batches by name, {'unknown': [images]}, got "
            f"{type(ood).__name__}; None makes stand-ins from the held-out images."
        )
    if ood is not None and (not ood or MEAN in ood):
        raise ValueError(
            f"ood must have at least one set, none of them named {MEAN!r}, got "
            f"{list(ood)}; None makes stand-ins from the held-out images."
        )
    if ood is None and iter(held_out) is held_out:
        raise ValueError(
            "without OOD images the held-out images are read more than once, but they "
            "are an iterator that is used up. Pass a list."
        )
    asked = dataclasses.replace(
        detector, component=rows.ranking or rows, fitted=None, calibration=None
    ).fit(train)
    held_out = Restartable(held_out, detector.read_batch)
    sets: dict[str, Iterable[Any]] = {
        kind: synthetic_outliers.Outliers(kind, held_out, seed)
        for kind in synthetic_outliers.MAKERS
    }
    if ood is not None:
        sets = {n: Restartable(b, detector.read_batch) for n, b in ood.items()}

    def run(what: str, batches: Iterable[Any]) -> streaming.Whole:
        whole = streaming.concatenated(lambda b: asked.run_named(b.image), batches)
        if not whole.scores:
            raise empty_data_set(f"compare detectors ({what})")
        return whole

    inside = run("held-out ID images", held_out)
    accuracy = math.nan if inside.correct is None else float(inside.correct.mean())
    evaluation = Evaluation(
        accuracy=accuracy,
        id_scores=inside.scores,
        ood_scores={name: run(name, batches).scores for name, batches in sets.items()},
    )
    meanings = synthetic_outliers.MEANINGS
    return Comparison(
        evaluation,
        {name: part.spec for name, part in parts.items()},
        {} if ood is not None else {kind: meanings[kind] for kind in sets},
    )


def _components(
    detectors: str | Sequence[str | Component] | Mapping[str, str | Component],
) -> dict[str, Component]:
    """Components by row name, in order."""
    if isinstance(detectors, Component):
        detectors = [detectors]
    if isinstance(detectors, str):
        detectors = detector_list.split(detectors)
    if not isinstance(detectors, Mapping):
        names = [d if isinstance(d, str) else d.spec for d in detectors]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the list of detectors has {', '.join(twice)} twice.")
        detectors = dict(zip(names, detectors, strict=True))
    rows = detector_list.read_each(detectors)
    return {name: row.component for name, row in rows.items()}
