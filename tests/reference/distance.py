"""Slow, obvious NumPy versions of the distance methods, float64 and with loops.

Features are [N, D] and [B, D], labels [N], kernels [D, K], biases [K].
"""

import math

import numpy as np


def _rows(x):
    return [np.asarray(row, np.float64) for row in x]


def class_gaussians(train, labels):
    """Class means and the covariance that they share, divided by N."""
    train = _rows(train)
    means = {}
    for k in sorted(set(map(int, labels))):
        members = [h for h, y in zip(train, labels, strict=True) if y == k]
        means[k] = sum(members) / len(members)
    scatter = sum(
        np.outer(h - means[int(y)], h - means[int(y)])
        for h, y in zip(train, labels, strict=True)
    )
    return means, scatter / len(train)


def mahalanobis(train, labels, test):
    """-min_k (h - mean_k)^T inverse (h - mean_k)."""
    means, covariance = class_gaussians(train, labels)
    inverse = np.linalg.pinv(covariance, rcond=1e-9, hermitian=True)
    return np.array(
        [-min((h - m) @ inverse @ (h - m) for m in means.values()) for h in _rows(test)]
    )


def relative_mahalanobis(train, labels, test):
    """-min_k (d2_k - d2_0), d2_0 to the mean and covariance of all features."""
    mean = sum(_rows(train)) / len(train)
    total = sum(np.outer(h - mean, h - mean) for h in _rows(train)) / len(train)
    inverse = np.linalg.inv(total)
    single = np.array([(h - mean) @ inverse @ (h - mean) for h in _rows(test)])
    return mahalanobis(train, labels, test) + single


def normalised(x):
    """Rows of length 1."""
    return [h / math.sqrt(sum(h**2)) for h in _rows(x)]


def knn(train, test, k):
    """Minus the distance to the k-th nearest, counted from 1."""
    bank, scores = normalised(train), []
    for h in normalised(test):
        distances = sorted(math.sqrt(sum((h - other) ** 2)) for other in bank)
        scores.append(-distances[k - 1])
    return np.array(scores)


def energy(logits):
    """log sum exp of each row."""
    return [max(f) + math.log(sum(np.exp(f - max(f)))) for f in _rows(logits)]


def nnguide(train, test, kernel, bias, k):
    """Energy times the mean of the k largest <energy_i h_i, h>, of unit features."""

    def energies(x):
        return energy(np.asarray(x, np.float64) @ kernel + bias)

    bank = [e * h for e, h in zip(energies(train), normalised(train), strict=True)]
    scores = []
    for e, h in zip(energies(test), normalised(test), strict=True):
        products = sorted((h @ row for row in bank), reverse=True)
        scores.append(e * sum(products[:k]) / k)
    return np.array(scores)


def residual_norms(train, kernel, bias, dim, x):
    """Length of h - u outside of the first `dim` principal directions around u."""
    kernel = np.asarray(kernel, np.float64)
    origin = -np.linalg.pinv(kernel.T) @ np.asarray(bias, np.float64)
    second = sum(np.outer(h - origin, h - origin) for h in _rows(train))
    values, vectors = np.linalg.eigh(second)
    order = np.argsort(-values)
    outside = [vectors[:, i] for i in order[dim:]]
    return [math.sqrt(sum(((h - origin) @ v) ** 2 for v in outside)) for h in _rows(x)]


def residual(train, kernel, bias, dim, test):
    """Minus the residual."""
    return -np.array(residual_norms(train, kernel, bias, dim, test))


def vim(train, kernel, bias, dim, test):
    """Energy minus alpha residual, alpha = mean max logit / mean residual."""
    largest = [max(h @ kernel + bias) for h in _rows(train)]
    alpha = np.mean(largest) / np.mean(residual_norms(train, kernel, bias, dim, train))
    logits = np.asarray(test, np.float64) @ kernel + bias
    outside = residual_norms(train, kernel, bias, dim, test)
    return np.array(energy(logits)) - alpha * np.array(outside)
