"""Slow, obvious NumPy versions of the objectives: loops over images and locations.

Local features z are [B, HW, D], kernels [D, K], biases [K], labels [B]; float64.
"""

import math

import numpy as np


def true_class_probability(local, kernel, bias, labels):
    """LFF, Eq. 4."""
    out = np.zeros(local.shape[:2])
    for i, image in enumerate(np.asarray(local, np.float64)):
        for j, z in enumerate(image):
            powers = [math.exp(z @ kernel[:, k] + bias[k]) for k in range(len(bias))]
            out[i, j] = powers[labels[i]] / sum(powers)
    return out


def lff(local, kernel, bias, labels, delta, mu):
    """LFF, Eq. 5 and 6: the loss, and |S|."""
    probability = true_class_probability(local, kernel, bias, labels)
    norms = [
        math.sqrt(sum(float(x) ** 2 for x in local[i, j]))
        for i, j in np.ndindex(probability.shape)
        if probability[i, j] < delta
    ]
    if not norms:
        return 0.0, 0
    return sum(max(norm - mu, 0.0) for norm in norms) / len(norms), len(norms)


def patch_labels(probability, gamma):
    """SSOD, Eq. 12: 0 (OOD), 1 (ID) or None, as nested lists."""

    def label(p):
        if np.float32(p) < np.float32(1 - gamma):
            return 0
        return 1 if np.float32(p) >= np.float32(gamma) else None

    return [[label(p) for p in row] for row in probability]


def _cross_entropies(logits, labels):
    """-log p of the right one of {OOD, ID} for each labelled patch: two lists."""
    inside, outside = [], []
    for row, row_labels in zip(logits, labels, strict=True):
        for logit, label in zip(row, row_labels, strict=True):
            p = 1 / (1 + math.exp(-logit))
            if label == 1:
                inside.append(-math.log(p))
            if label == 0:
                outside.append(-math.log(1 - p))
    return inside, outside


def loss_wise(logits, labels):
    parts = _cross_entropies(logits, labels)
    return sum(np.mean(part) if part else 0.0 for part in parts) / 2


def loss_weighting(logits, labels):
    inside, outside = _cross_entropies(logits, labels)
    if not inside or not outside:
        return sum(inside) / max(len(inside) + len(outside), 1)
    factor = len(inside) / len(outside)
    total = sum(inside) + factor * sum(outside)
    return total / (len(inside) + len(outside))
