"""Judging a batch as a whole: of the images called OOD, few are ID.

One threshold bounds the share of ID images that are called OOD. Where nearly all
images are ID, most alarms are then false ones. The procedure of Benjamini and Hochberg
bounds the share of ID images among the images that it calls OOD (discoveries) instead,
by asking more of each image the fewer OOD images the batch seems to hold.

References:
  Benjamini, Hochberg, Controlling the False Discovery Rate, JRSS B 1995; Bates et al.,
  Testing for Outliers with Conformal p-values, Annals of Statistics 2023, Theorem 2
  (it holds for conformal p-values, which share their calibration images).
"""

from collections.abc import Mapping
import math
from typing import Any

import numpy as np

from jood._utils import arguments

_TOLERANCE = 1e-9  # of rounding, as in `calibration`


def q_values(p_values: Any) -> np.ndarray:
    """Returns the least false discovery rate at which each image would be called OOD.

    q = min over the images with p_j >= p of p_j B / r_j, r_j the rank of p_j.

    Args:
      p_values: floating [B] in (0, 1], conformal, of a batch and of one detector:
        `Detector.p_values`, `Answer.p_value`. Images are judged together, so leave out
        those that could not be read.

    Returns:
      float64 [B], in (0, 1].

    Raises:
      ValueError: they are not a vector of numbers in (0, 1].
    """
    if isinstance(p_values, Mapping):
        raise ValueError(
            f"got p-values of {len(p_values)} detectors ({', '.join(p_values)}), which "
            "are not independent tests of an image: judge each detector by itself."
        )
    p = np.asarray(p_values, np.float64)
    inside = (p > 0) & (p <= 1)
    if p.ndim != 1 or not inside.all():
        raise ValueError(
            f"p_values must be a vector [B] in (0, 1], got shape {p.shape}, "
            f"{int((~inside).sum())} value(s) outside. Leave out images that could not "
            "be read: they have none."
        )
    order = np.argsort(p)
    at_rank = p[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty_like(p)
    q[order] = np.minimum.accumulate(at_rank[::-1])[::-1]
    return q


def discoveries(p_values: Any, fdr: float = 0.1) -> np.ndarray:
    """Says which images of a batch are OOD, so that few of these are ID.

    Over calibration sets and batches, the share of ID images among the discoveries
    (0 if there are none) is on average at most `fdr` times the share of ID images in
    the batch.

    Args:
      p_values: as for `q_values`; calibrated per class or not.
      fdr: the false discovery rate to allow, in (0, 1).

    Returns:
      bool [B], q <= fdr.

    Raises:
      ValueError: see `q_values`; or fdr is out of range.

    Example:
      >>> discoveries([0.01, 0.5, 0.02, 0.03], fdr=0.1).tolist()
      [True, False, True, True]
    """
    arguments.check_fraction("fdr", fdr)
    return within(q_values(p_values), fdr)


def within(q: np.ndarray, fdr: float) -> np.ndarray:
    """Returns which q-values [B] a false discovery rate allows: bool [B]."""
    return q <= fdr * (1 + _TOLERANCE)


def fewest(images: int, least_p_value: float, fdr: float) -> int:
    """Returns how many images must be discovered for any to be.

    n calibration images give no p-value below 1 / (n + 1), so k of B images can be
    discovered only if 1 / (n + 1) <= fdr k / B.

    Args:
      images: B, at least 1.
      least_p_value: 1 / (n + 1), `Calibration.least_p_value`.
      fdr: the false discovery rate, in (0, 1).

    Raises:
      ValueError: fdr is out of range, or n is too small for any B.
    """
    arguments.check_fraction("fdr", fdr)
    if least_p_value > fdr * (1 + _TOLERANCE):
        raise ValueError(
            f"{fdr=} can never be met: with {round(1 / least_p_value) - 1} calibration "
            f"image(s) no p-value is below {least_p_value:.4g}. Calibrate on at least "
            f"{math.ceil((1 - _TOLERANCE) / fdr - 1)} held-out ID images (of a class, "
            f"with thresholds per class), or allow an fdr of {least_p_value:.4g}."
        )
    return max(math.ceil(images * least_p_value / fdr * (1 - _TOLERANCE)), 1)
