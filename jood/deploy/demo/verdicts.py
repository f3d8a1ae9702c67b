"""The demo's verdict per photograph, as rows for the terminal and for the page."""

from collections.abc import Iterator, Sequence
import os
from typing import NamedTuple

import numpy as np
import tabulate

from jood.deploy.demo.judging import Judged
from jood.detector.calibration import Calibration

_WIDEST = 28  # characters of a name in the table


class Opinion(NamedTuple):
    """One detector's opinion of a photograph."""

    score: float
    p_value: float
    is_ood: bool

    @property
    def p_text(self) -> str:
        """The p-value; a star says that the photograph is called OOD."""
        return f"{self.p_value:.3f}{'*' if self.is_ood else ''}"

    @property
    def text(self) -> str:
        """The score and the p-value."""
        return f"{self.score:.3g}, p = {self.p_text}"


class Verdict(NamedTuple):
    """All detectors' opinions of a photograph.

    Attributes:
      place: Place among all photographs, from 0.
      name: Its path.
      predicted: The class that the network takes it for.
      opinions: Opinions by detector.
    """

    place: int
    name: str
    predicted: str
    opinions: dict[str, Opinion]

    @property
    def called_ood(self) -> tuple[str, ...]:
        """The detectors that call it OOD."""
        return tuple(name for name, one in self.opinions.items() if one.is_ood)

    @property
    def short_name(self) -> str:
        """The name of its file."""
        return os.path.basename(self.name) or self.name


def of(
    judged: Judged, calibration: Calibration, class_names: Sequence[str]
) -> list[Verdict]:
    """Returns the verdicts on all photographs that could be read."""
    scores = judged.scored.scores
    thresholds, p_values = calibration.thresholds(), calibration.p_values(scores)
    return [
        Verdict(
            place,
            judged.names[place],
            class_names[int(judged.scored.prediction[place])],
            {
                name: Opinion(
                    float(scores[name][place]),
                    float(p_values[name][place]),
                    bool(scores[name][place] < threshold),
                )
                for name, threshold in thresholds.items()
            },
        )
        for place in np.flatnonzero(judged.scored.readable).tolist()
    ]


def failed(judged: Judged) -> Iterator[tuple[str, str]]:
    """Yields (path, reason) of each photograph that could not be read."""
    return ((judged.names[i], why) for i, why in judged.scored.skipped.items())


def in_words(verdict: Verdict) -> str:
    """Returns how many detectors call a photograph OOD."""
    return f"OOD by {len(verdict.called_ood)} of {len(verdict.opinions)}"


def _cut(name: str) -> str:
    return name if len(name) <= _WIDEST else f"{name[: _WIDEST - 3]}..."


def table(verdicts: Sequence[Verdict]) -> str:
    """Returns a row per photograph, with the p-values, for the terminal."""
    rows = [
        [
            _cut(one.short_name),
            _cut(one.predicted),
            f"{len(one.called_ood)} of {len(one.opinions)}",
            *(opinion.p_text.ljust(6) for opinion in one.opinions.values()),
        ]
        for one in verdicts
    ]
    header = ["photograph", "class", "OOD by", *verdicts[0].opinions]
    return tabulate.tabulate(rows, header, disable_numparse=True)
