"""Drift: whether a window of traffic still scores as the calibration images did.

A detector judges one image; drift is a property of many. The scores of a window are
compared with the calibration scores by the two-sample Kolmogorov-Smirnov test
(SciPy's), whose p-value is small if the two come from different distributions,
whatever the difference. It needs no labels and no OOD examples.

Testing W windows gives W chances of a false alarm, so each is compared with alpha / W
(Bonferroni): traffic that does not drift has *any* window flagged with a probability
of at most alpha, although all windows are compared with the same images.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from jood._utils import arguments

_EXACT = 250_000  # up to this product of sizes the exact p-value is fast


class Drift(NamedTuple):
    """How a window's scores differ from the calibration scores.

    Attributes:
      first: The place of the window's first score.
      images: The number of scores.
      low, median, high: Their quantiles at 5, 50 and 95 %.
      below: The fraction of them below the threshold.
      distance: Kolmogorov-Smirnov's: the largest difference of the two distribution
        functions, in [0, 1].
      p_value: The probability of such a distance if nothing drifted.
      drifted: Whether p_value <= alpha / W.
    """

    first: int
    images: int
    low: float
    median: float
    high: float
    below: float
    distance: float
    p_value: float
    drifted: bool


def compare(
    scores: np.ndarray,
    calibration: np.ndarray,
    threshold: float | np.ndarray,
    alpha: float = 0.01,
) -> Drift:
    """Tests whether scores are distributed as the calibration scores.

    Args:
      scores: floating [n], of traffic.
      calibration: floating [N], of held-out ID images (`Calibration.scores`).
      threshold: γ (`Calibration.thresholds`); or that of each image, floating [n]
        (`ClassCalibration.thresholds_of`).
      alpha: Probability of calling it drift if there is none, in (0, 1).

    Returns:
      A `Drift` with W = 1.

    Raises:
      ValueError: There is no score, one is NaN, or alpha is out of range.
    """
    arguments.check_fraction("alpha", alpha)
    scores, calibration = _checked(scores, "traffic"), _checked(calibration, "ID")
    exact = scores.size * calibration.size <= _EXACT
    ks_test = stats.ks_2samp(scores, calibration, method="exact" if exact else "asymp")
    low, median, high = np.quantile(scores, [0.05, 0.5, 0.95]).tolist()
    return Drift(
        first=0,
        images=scores.size,
        low=low,
        median=median,
        high=high,
        below=float(np.mean(scores < threshold)),
        distance=float(ks_test.statistic),
        p_value=float(ks_test.pvalue),
        drifted=bool(ks_test.pvalue <= alpha),
    )


def timeline(
    scores: np.ndarray,
    calibration: np.ndarray,
    threshold: float | np.ndarray,
    window: int = 500,
    alpha: float = 0.01,
) -> list[Drift]:
    """Tests the scores of traffic window by window, in their order.

    Args:
      scores: floating [n], in the order of time.
      calibration: floating [N], of held-out ID images.
      threshold: γ, or that of each image, floating [n].
      window: The scores in a window; the last holds the rest as well, so that none
        is short. Fewer scores than that make one window.
      alpha: Probability that any window is flagged if nothing drifts, in (0, 1).

    Returns:
      A `Drift` per window.

    Raises:
      ValueError: As in `compare`, or window is below 1.
    """
    arguments.check_count("window", window)
    arguments.check_fraction("alpha", alpha)
    scores = _checked(scores, "traffic")
    firsts = window * np.arange(max(scores.size // window, 1))
    thresholds = np.broadcast_to(threshold, scores.shape)
    windows = [
        compare(part, calibration, own, alpha / len(firsts))
        for part, own in zip(
            np.split(scores, firsts[1:]), np.split(thresholds, firsts[1:]), strict=True
        )
    ]
    return [one._replace(first=int(f)) for one, f in zip(windows, firsts, strict=True)]


def _checked(scores: np.ndarray, whose: str) -> np.ndarray:
    scores = np.asarray(scores)
    if scores.ndim != 1 or not scores.size or np.isnan(scores).any():
        raise ValueError(
            f"{whose} scores must be a non-empty vector [n] without NaNs, got shape "
            f"{scores.shape}, {int(np.isnan(scores).sum())} NaN(s)."
        )
    return scores
