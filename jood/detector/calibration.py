"""Calibration: what held-out ID scores promise of a new one.

n ID images that were neither trained nor fitted on are scored once. A new image gets
a split-conformal p-value, the share of calibration scores that are as low as its own,

    p = (1 + #{calibration scores <= S}) / (1 + n),

and is called OOD if p <= α = 1 - tpr, which is the same as S < γ. If it is an ID image
that is exchangeable with the n, this false alarm has a probability of at most α,
whatever the distribution of the scores. No p is below
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

CONFIDENCE = 0.95  # of `Promise.upper`
_TOLERANCE = 1e-9  # makes 3 of (1 - 0.9) * 30 = 2.9999999999999996


class Promise(NamedTuple):
    """What a threshold promises of ID images, as fractions of them.

    Attributes:
      images: n, the number of ID images that it was calibrated on.
      expected: bound of false alarms, on average over calibration sets.
      upper: bound of false alarms with a calibration set like this one, with a
        confidence of `CONFIDENCE`.
    """

    images: int
    expected: float
    upper: float


class Calibration(NamedTuple):
    """Scores of held-out ID images, sorted, by detector name; and the TPR to keep."""

    tpr: float
    scores: dict[str, np.ndarray]

    def images(self) -> int:
        """Returns the number of images that were scored.

        Raises:
          ValueError: detectors have different numbers of scores. A calibration is of
            one set of images, or its p-values could not be compared or combined.
        """
        counts = {name: len(scores) for name, scores in self.scores.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name} ({n:,})" for name, n in counts.items())
            raise ValueError(
                "the detectors of one calibration must have been calibrated on the "
                f"same images, but they have different numbers of scores: {listed}. "
                "Calibrate them together, as a bundle."
            )
        return next(iter(counts.values()))

    def least_p_value(self) -> float:
        """Returns 1 / (n + 1), below which no p-value is."""
        return 1 / (self.images() + 1)

    def keeping(self, tpr: float) -> "Calibration":
        """Returns the calibration with another TPR."""
        return self._replace(tpr=tpr)

    def thresholds(self) -> dict[str, float]:
        """Returns γ by name: score < γ is called OOD, and is so iff p <= 1 - tpr.

        γ is the m-th smallest calibration score, m = ⌊(1 - tpr)(n + 1)⌋.

        Raises:
          ValueError: tpr is not a fraction in (0, 1), there are too few images for it,
            a score is NaN, or the detectors were calibrated on different images.
        """
        self.images()
        return {
            name: float(scores[_rank(scores, self.tpr) - 1])
            for name, scores in self.scores.items()
        }

    def promises(self, confidence: float = CONFIDENCE) -> dict[str, Promise]:
        """Returns what the thresholds promise, by name; raises as `thresholds`.

        `confidence` is that of `Promise.upper`.
        """
        return {
            name: _promise(_rank(scores, self.tpr), len(scores), confidence)
            for name, scores in self.scores.items()
        }

    def thresholds_of(self, prediction: np.ndarray) -> dict[str, np.ndarray]:
        """Returns γ for each image by name, float64 [B]; the same for all classes."""
        return {
            name: np.full(len(prediction), threshold)
            for name, threshold in self.thresholds().items()
        }

    def p_values(
        self, scores: Mapping[str, np.ndarray], prediction: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Returns split-conformal p-values by name, float64 [B].

        `prediction`, which class the network predicts, makes no difference here; it
        does in `ClassCalibration`.
        """
        return {
            name: (1 + np.searchsorted(self.scores[name], values, side="right"))
            / (1 + len(self.scores[name]))
            for name, values in scores.items()
        }


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
    """Warns of scores that are the same for all images, which separate none of them.

    Args:
      scores: floating [N] by detector name.
      images: name of the scored images, for the message.
      method: the detector's text, for one whose score has no name of its own.
    """
    for name, values in scores.items():
        if len(values) > 1 and np.ptp(values) == 0:
            warnings.warn(
                f"{method or name} gives each of {len(values):,} {images} the same "
                f"score, {values[0]:g}: it cannot tell images apart. Its values may "
                "cut everything off (a clip, a quantile, a threshold), it may "
                "saturate in float32, or the network gives the same output for all "
                "images.",
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
    needed, images = images_needed(tpr), len(scores)
    if images < needed:
        raise ValueError(
            f"{tpr=} cannot be promised with {images} calibration image(s): the least "
            f"share of false alarms that they allow is 1/{images + 1}. Calibrate on at "
            f"least {needed} held-out ID images, or ask for a tpr of at most "
            f"{largest_tpr(images):.4f}."
        )
    if np.isnan(scores).any():
        raise ValueError("a calibration score is NaN.")
    return math.floor((1 - tpr) * (images + 1) + _TOLERANCE)


def _promise(rank: int, count: int, confidence: float) -> Promise:
    """False alarms of continuous scores follow Beta(m, n + 1 - m); ties lower them."""
    from scipy import stats  # takes a while to import

    upper = stats.beta.ppf(confidence, rank, count + 1 - rank)
    return Promise(count, rank / (count + 1), float(upper))
