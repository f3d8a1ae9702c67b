"""NegMine: the words of a list that are far from every class (NegLabel, Algorithm 1).

A word is as near to the classes as the 95 % quantile of its cosines to their texts
says: a single class that happens to resemble it does not count. The least near words
are kept as negative words.
"""

import numpy as np

from jood._utils import arguments

_BLOCK = 4096  # words whose cosines to all classes are in memory at once


def nearness(
    candidates: np.ndarray, classes: np.ndarray, quantile: float = 0.95
) -> np.ndarray:
    """Returns how near each word is to the classes, float32 [N].

    Args:
      candidates: Embeddings of the words, float32 [N, D], of length 1.
      classes: Embeddings of the texts of the classes, float32 [K, D], of length 1.
      quantile: Quantile of a word's K cosines, in (0, 1), linear between neighbours.

    Raises:
      ValueError: `quantile` is not in (0, 1).
    """
    arguments.check_fraction("quantile", quantile)
    blocks = range(0, len(candidates), _BLOCK)
    quantiles = [
        np.quantile(candidates[start : start + _BLOCK] @ classes.T, quantile, axis=1)
        for start in blocks
    ]
    return (
        np.concatenate(quantiles).astype(np.float32) if quantiles else np.zeros(0, "f")
    )


def least_near(near: np.ndarray, share: float = 0.15) -> np.ndarray:
    """Returns the places of a share of the words, the least near first, int [M].

    Args:
      near: Result of `nearness` for one list of words; nouns and adjectives, whose
        prompts differ, are ranked apart.
      share: Share of the words, in (0, 1), rounded down to a number of words.

    Raises:
      ValueError: `share` is not in (0, 1), or no word would be left.
    """
    arguments.check_fraction("share", share)
    kept = int(share * len(near))
    if kept < 1:
        raise ValueError(
            f"a share of {share} of {len(near)} words leaves none; give a longer list."
        )
    return np.argsort(near, kind="stable")[:kept]
