"""Slow, obvious NumPy versions of the zero-shot detectors of CLIP.

As in `reference`: float64, plain loops, straight from the formulas. Features [B, D],
texts as columns [D, K], candidates [N, D]; higher = more in-distribution.
"""

import math

import numpy as np

from reference.scores import softmax


def _unit(rows):
    return [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in rows]


def _cosines(features, columns):
    """The cosine of each feature and each column, a list per feature."""
    texts = _unit(zip(*np.asarray(columns, np.float64), strict=True))
    return [
        [sum(x * y for x, y in zip(row, text, strict=True)) for text in texts]
        for row in _unit(features)
    ]


def mcm(features, kernel, T=1.0):
    """The largest softmax of cosines over T."""
    return np.array(
        [max(softmax([c / T for c in row])) for row in _cosines(features, kernel)]
    )


def neglabel(features, positive, negative, groups, T=0.01):
    """The mean over groups of the classes' share; groups list places of negatives."""
    scores = []
    own, other = _cosines(features, positive), _cosines(features, negative)
    for mine, rest in zip(own, other, strict=True):
        shares = []
        for group in groups:
            both = [c / T for c in [*mine, *(rest[j] for j in group)]]
            shares.append(sum(softmax(both)[: len(mine)]))
        scores.append(sum(shares) / len(shares))
    return np.array(scores)


def negative_words(candidates, classes, nouns, share=0.15, quantile=0.95):
    """Places of the nouns, then of the adjectives, that are least near the classes."""
    near = []
    for word in _unit(candidates):
        found = sorted(
            sum(x * y for x, y in zip(word, c, strict=True)) for c in classes
        )
        place = quantile * (len(found) - 1)
        low = int(place)
        high = min(low + 1, len(found) - 1)
        near.append(found[low] + (place - low) * (found[high] - found[low]))
    lists = (range(nouns), range(nouns, len(near)))
    return [
        place
        for words in lists
        for place in sorted(words, key=lambda j: near[j])[: int(share * len(words))]
    ]
