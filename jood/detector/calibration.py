"""Calibration: what held-out ID scores promise of a new one.

n ID images that were neither trained nor fitted on are scored once. A new image gets
a split-conformal p-value, the share of calibration scores that are as low as its own,

    p = (1 + #{calibration scores <= S}) / (1 + n),

and is called OOD if p <= α = 1 - tpr, which is the same as S < γ. If it is an ID image
that could as well have been one of the n (exchangeable), this false alarm has a
probability of at most α, whatever the scores are distributed as. No p is below
1 / (n + 1), so with n images no α below that can be promised, and none is claimed.

The promise is an average over calibration sets. The one at hand gives some more or
some fewer false alarms; `Promise.upper` says how many more.

References:
  Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World, 2005; Bates et al.,
  Testing for Outliers with Conformal p-values, Annals of Statistics 2023; Vovk,
  Conditional Validity of Inductive Conformal Predictors, ACML 2012 (the Beta law).
"""

from collections.abc import Mapping
import math
from typing import NamedTuple
import warnings

import numpy as np

from jood.core.component import NotFittedError

CONFIDENCE = 0.95  # of `Promise.upper`
_TOLERANCE = 1e-9  # makes 3 of (1 - 0.9) * 30 = 2.9999999999999996


class Promise(NamedTuple):
    """What a threshold promises of ID images, as fractions of them.

    Attributes:
      images: n, how many ID images it was calibrated on.
      expected: false alarms are at most this, on average over calibration sets.
      upper: with a calibration set like this one they are at most this, with a
        confidence of `CONFIDENCE`.
    """

    images: int
    expected: float
    upper: float


class Calibration(NamedTuple):
    """Scores of held-out ID images, sorted, by detector name; and the TPR to keep."""

    tpr: float
    scores: dict[str, np.ndarray]

    def thresholds(self) -> dict[str, float]:
        """Returns γ by name: score < γ is called OOD, and is so iff p <= 1 - tpr.

        γ is the m-th smallest calibration score, m = ⌊(1 - tpr)(n + 1)⌋.

        Raises:
          ValueError: tpr is no fraction in (0, 1), there are too few images for it, or
            a score is NaN.
        """
        return {
            name: float(scores[_rank(scores, self.tpr) - 1])
            for name, scores in self.scores.items()
        }

    def promises(self) -> dict[str, Promise]:
        """Returns what the thresholds promise, by name; raises as `thresholds`."""
        return {
            name: _promise(_rank(scores, self.tpr), len(scores))
            for name, scores in self.scores.items()
        }

    def p_values(self, scores: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns split-conformal p-values by name, float64 [B]."""
        return {
            name: (1 + np.searchsorted(self.scores[name], values, side="right"))
            / (1 + len(self.scores[name]))
            for name, values in scores.items()
        }


def required(calibration: Calibration | None) -> Calibration:
    """Returns a detector's calibration; raises NotFittedError if it has none."""
    if calibration is None:
        raise NotFittedError(
            "the detector has no threshold yet: call "
            "detector = detector.calibrate(id_batches, tpr=0.95) first."
        )
    return calibration


def calibrated(scores: Mapping[str, np.ndarray], tpr: float, spec: str) -> Calibration:
    """Returns the calibration of held-out ID scores, floating [N] by detector name.

    Warns of scores that are constant; `spec` is the detector's text, for the message.

    Raises:
      ValueError: see `Calibration.thresholds`.
    """
    result = Calibration(tpr, {name: np.sort(s) for name, s in scores.items()})
    result.thresholds()  # refuses too few images now, not at the first new one
    warn_if_constant(scores, "calibration images", spec if len(scores) == 1 else "")
    return result


def warn_if_constant(
    scores: Mapping[str, np.ndarray], images: str, method: str = ""
) -> None:
    """Warns of scores that are the same for all images, by which none can be told.

    Args:
      scores: floating [N] by detector name.
      images: what was scored, for the message.
      method: the detector's text, for one whose score has no name of its own.
    """
    for name, values in scores.items():
        if len(values) > 1 and np.ptp(values) == 0:
            warnings.warn(
                f"{method or name} gives each of {len(values):,} {images} the same "
                f"score, {values[0]:g}: it cannot tell images apart. Its values may "
                "cut everything off (a clip, a quantile, a threshold), it may "
                "saturate in float32, or the network answers all images alike.",
                stacklevel=3,  # in `Detector.calibrate` or `evaluate`
            )


def images_needed(tpr: float) -> int:
    """Returns the least number of ID images with which `tpr` can be promised.

    Args:
      tpr: fraction of ID images to keep, in (0, 1).

    Raises:
      ValueError: tpr is out of range.

    Example:
      >>> images_needed(0.95)
      19
    """
    if not 0 < tpr < 1:
        raise ValueError(
            "tpr must be a fraction in (0, 1), the share of ID images to keep, got "
            f"{tpr=}. (To keep all of them for certain cannot be promised.)"
        )
    return math.ceil((1 - _TOLERANCE) / (1 - tpr) - 1)


def largest_tpr(images: int) -> float:
    """Returns the largest tpr that so many images can promise, to 4 digits."""
    return math.floor(1e4 * images / (images + 1)) / 1e4


def _rank(scores: np.ndarray, tpr: float) -> int:
    """m, counted from 1; raises ValueError if the scores cannot carry `tpr`."""
    needed, found = images_needed(tpr), len(scores)
    if found < needed:
        raise ValueError(
            f"{tpr=} cannot be promised with {found} calibration image(s): the least "
            f"share of false alarms that they allow is 1/{found + 1}. Calibrate on at "
            f"least {needed} held-out ID images, or ask for a tpr of at most "
            f"{largest_tpr(found):.4f}."
        )
    if np.isnan(scores).any():
        raise ValueError("a calibration score is NaN.")
    return math.floor((1 - tpr) * (found + 1) + _TOLERANCE)


def _promise(rank: int, count: int) -> Promise:
    """False alarms of continuous scores follow Beta(m, n + 1 - m); ties lower them."""
    from scipy import stats  # takes a while to import

    upper = stats.beta.ppf(CONFIDENCE, rank, count + 1 - rank)
    return Promise(count, rank / (count + 1), float(upper))
