"""Scores that are probabilities, for pictures that have confidence on their axis.

Metrics rank by a score that does not saturate, such as log-odds (`Component.ranking`);
that is what an `Evaluation` holds. A picture of confidences turns it back.
"""

from collections.abc import Callable

import numpy as np
from scipy import special

_OF: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "msp": special.expit,  # of the log-odds of the largest probability
    "ood_factor": special.expit,  # of the OOD head's logit
    "joint_posterior": np.exp,  # of the sum of both factors' logarithms
}


def of(text: str) -> Callable[[np.ndarray], np.ndarray] | None:
    """Returns what turns a detector's ranking into its confidence in [0, 1].

    None for the text of one whose score is not a probability, and for a fused one.
    """
    last = text.split("|")[-1].strip()
    return _OF.get(last.removesuffix("()"))
