"""Calibration: what held-out ID scores say of a new score.

A threshold γ keeps a chosen share of ID images; a conformal p-value says how unusual a
score is among ID images, with a guarantee on false alarms.
"""

from typing import NamedTuple

import numpy as np

from jood import metrics


class Calibration(NamedTuple):
    """Scores of held-out ID images, sorted, by detector name; and the TPR to keep."""

    tpr: float
    scores: dict[str, np.ndarray]

    def thresholds(self) -> dict[str, float]:
        """Returns γ by name: the largest threshold that keeps `tpr` of the scores."""
        return {
            name: metrics.threshold_at_tpr(scores, self.tpr)
            for name, scores in self.scores.items()
        }

    def p_values(self, scores: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns split-conformal p-values by name, float64 [B].

        p = (1 + #{calibration scores <= S}) / (1 + n): calling OOD what has p <= α
        raises a false alarm on at most α of exchangeable ID images.
        """
        return {
            name: (1 + np.searchsorted(self.scores[name], values, side="right"))
            / (1 + len(self.scores[name]))
            for name, values in scores.items()
        }
