"""How the best candidate of a grid is chosen, and reasons to doubt the choice.

jood's rule: AUROC decides as far as it can: candidates within one standard error of the
highest are tied, and the one whose scores of ID and synthetic images lie furthest apart
is taken. OpenOOD's takes the highest AUROC. A candidate that no longer looks at the
images is never taken.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np
import tabulate

from jood import metrics
from jood._utils import csv_text

EASY = 0.99  # AUROC; where half of the candidates reach it, it ranks little
SAME = 0.5  # share of ID images with one score, from which on a score is degenerate


class Contrast(NamedTuple):
    """How well a candidate separates ID validation images from one kind of others.

    Attributes:
      auroc: fraction.
      fpr95: fraction of the others accepted where 95 % of ID validation images are.
      separation: standardised mean difference of the scores, (mean_ID - mean_other) /
        sqrt((var_ID + var_other) / 2): it grows where AUROC is 1 already.
      error: standard error of `auroc` (Hanley and McNeil).
    """

    auroc: float
    fpr95: float
    separation: float
    error: float


def contrast(inside: np.ndarray, outside: np.ndarray) -> Contrast:
    """Compares scores of ID images, float32 [N], with those of others, float32 [M]."""
    spread = np.sqrt((inside.var(dtype=float) + outside.var(dtype=float)) / 2)
    distance = inside.mean(dtype=float) - outside.mean(dtype=float)
    auroc = metrics.auroc(inside, outside)
    # Hanley and McNeil, Radiology 1982, Eq. 1 and 2. One image counts as wrong, so
    # that an AUROC of 1 is not taken for certain.
    p = min(max(auroc, 0.5), 1 - 1 / (2 * max(len(inside), len(outside))))
    pairs = (len(inside) - 1) * (p / (2 - p) - p**2)
    pairs += (len(outside) - 1) * (2 * p**2 / (1 + p) - p**2)
    variance = (p * (1 - p) + pairs) / (len(inside) * len(outside))
    return Contrast(
        auroc=auroc,
        fpr95=metrics.fpr_at_tpr(inside, outside),
        separation=float(distance / spread) if spread > 0 else 0.0,
        error=float(np.sqrt(variance)),
    )


def degenerate(inside: np.ndarray, warned: Sequence[str]) -> str:
    """Returns why a candidate no longer looks at the images; '' if it does.

    `inside` are scores of ID images, float32 [N]; `warned` is what fitting warned of.
    """
    if warned:
        return warned[0]
    _, counts = np.unique(inside, return_counts=True)
    if len(inside) > 1 and counts.max() >= max(SAME * len(inside), 2):
        return f"{counts.max() / len(inside):.0%} of the ID images get the same score."
    return ""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One point of the grid.

    Attributes:
      values: hyper-parameters by name.
      spec: the detector's text.
      against: contrast with ID validation images by kind of other images.
      degenerate: reason why its score hardly depends on the images; '' if it does.
    """

    values: Mapping[str, Any]
    spec: str
    against: Mapping[str, Contrast]
    degenerate: str = ""

    def _mean(self, field: str) -> float:
        return float(np.mean([getattr(one, field) for one in self.against.values()]))

    @property
    def auroc(self) -> float:
        """Mean AUROC over the kinds, a fraction."""
        return self._mean("auroc")

    @property
    def fpr95(self) -> float:
        """Mean FPR95 over the kinds, a fraction."""
        return self._mean("fpr95")

    @property
    def separation(self) -> float:
        """Mean separation over the kinds."""
        return self._mean("separation")

    @property
    def error(self) -> float:
        """Standard error of `auroc` if the kinds' errors are one: the largest it is."""
        return self._mean("error")


class Rule(NamedTuple):
    """A rule that chooses a candidate: in words, and as a function of a selection."""

    words: str
    choose: Callable[["Selection"], Candidate]


# Of equals both take the first.
SEPARATION = Rule(
    "among candidates within one standard error of the highest AUROC the one of the "
    "widest separation",
    lambda curve: max(curve.tied, key=lambda candidate: candidate.separation),
)
HIGHEST_AUROC = Rule(
    "the highest AUROC",
    lambda curve: max(curve.sound, key=lambda candidate: candidate.auroc),
)


@dataclasses.dataclass(frozen=True)
class Selection:
    """The whole curve of a selection, in the order of the grid.

    Attributes:
      method: the text with free names.
      candidates: the points of the grid.
      saw: the images that decided, in words; '' leaves it open.
      rule: rule that chooses the best candidate.
    """

    method: str
    candidates: tuple[Candidate, ...]
    saw: str = ""
    rule: Rule = SEPARATION

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of images that the choice is based on."""
        return tuple(self.candidates[0].against)

    @property
    def sound(self) -> list[Candidate]:
        """The candidates that are not degenerate; all if all are."""
        every = list(self.candidates)
        return [c for c in every if not c.degenerate] or every

    @property
    def tied(self) -> list[Candidate]:
        """The sound candidates within one standard error of the highest AUROC."""
        top = max(self.sound, key=lambda candidate: candidate.auroc)
        return [c for c in self.sound if c.auroc >= top.auroc - top.error]

    @functools.cached_property
    def best(self) -> Candidate:
        """The candidate that the rule chooses."""
        return self.rule.choose(self)

    def axes(self) -> dict[str, list[Any]]:
        """Returns the values that were tried, by name, in the order of the grid."""
        names = self.candidates[0].values
        return {
            n: list(dict.fromkeys(c.values[n] for c in self.candidates)) for n in names
        }

    def doubts(self) -> list[str]:
        """Returns why the choice may be a bad one, a sentence or two each."""
        return [*self._degenerate(), *self._easy(), *self._ties(), *self._edges()]

    def _degenerate(self) -> list[str]:
        wrong = [c for c in self.candidates if c.degenerate]
        if not wrong:
            return []
        whole = len(wrong) == len(self.candidates)
        effect = "so the choice means nothing" if whole else "and cannot be chosen"
        why = f"{wrong[0].spec}: {wrong[0].degenerate}"
        return [
            f"{_of(wrong, self.candidates)} degenerate, {effect}. The first is {why}"
        ]

    def _easy(self) -> list[str]:
        easy = [c for c in self.sound if c.auroc >= EASY]
        if 2 * len(easy) < len(self.sound):
            return []
        return [
            f"{' and '.join(self.kinds)} is too easy to rank by: "
            f"{_of(easy, self.sound)} at an AUROC of {100 * EASY:g} % or more. "
            "Choose on harder images (--select_on=blur,jigsaw,mixed; in Python "
            "outliers=('blur', 'jigsaw', 'mixed'))."
        ]

    def _ties(self) -> list[str]:
        if len(self.tied) < 2 or len(self.candidates) < 2:
            return []
        decided = "the widest separation" if self.rule is SEPARATION else "chance"
        tied = self.tied
        values = [
            f"{name} from {min(choices)!r} to {max(choices)!r}"
            if not isinstance(next(iter(choices)), str)
            else f"{name} of {', '.join(sorted(choices))}"
            for name in self.candidates[0].values
            if len(choices := {c.values[name] for c in tied}) > 1
        ]
        note = f" ({'; '.join(values)})" if values else ""
        return [
            f"{_of(tied, self.candidates)} within one standard error of the highest "
            f"AUROC ({100 * max(c.error for c in tied):.2g} points){note}: {decided} "
            "decided, and another of them may be as good."
        ]

    def _edges(self) -> list[str]:
        doubts = []
        for name, tried in self.axes().items():
            if len(tried) < 3 or any(isinstance(v, str | bool) for v in tried):
                continue
            value = self.best.values[name]
            for which, edge in (("smallest", min(tried)), ("largest", max(tried))):
                if value == edge:
                    doubts.append(
                        f"{name}={value!r} is the {which} value tried: a better one "
                        "may lie outside the grid."
                    )
        return doubts

    def rows(self) -> list[dict[str, Any]]:
        """Returns a row per candidate, metrics in percent."""
        several = self.kinds if len(self.kinds) > 1 else ()
        return [
            {
                **candidate.values,
                "AUROC": 100 * candidate.auroc,
                **{f"AUROC {k}": 100 * candidate.against[k].auroc for k in several},
                "FPR95": 100 * candidate.fpr95,
                "separation": candidate.separation,
                "chosen": self._mark(candidate),
            }
            for candidate in self.candidates
        ]

    def _mark(self, candidate: Candidate) -> str:
        if candidate is self.best:
            return "*"
        return "degenerate" if candidate.degenerate else ""

    def text(self, style: str = "simple") -> str:
        """Returns the curve in a style of `tabulate`, the images used, and doubts."""
        table = tabulate.tabulate(self.rows(), "keys", style, ".5g")
        saw = [f"Saw {self.saw}. Takes {self.rule.words}."] if self.saw else []
        return "\n".join([table, *saw, *(f"Doubt: {d}" for d in self.doubts())])

    def as_csv(self) -> str:
        """Returns the curve as CSV, full precision, with each candidate's text."""
        rows, specs = self.rows(), [candidate.spec for candidate in self.candidates]
        lines = [[*r.values(), spec] for r, spec in zip(rows, specs, strict=True)]
        return csv_text.joined([*rows[0], "spec"], lines)


def _of(some: Sequence[Candidate], every: Sequence[Candidate]) -> str:
    """'3 of 8 candidates are'."""
    return f"{len(some)} of {len(every)} candidates {'is' if len(some) == 1 else 'are'}"
