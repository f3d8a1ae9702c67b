"""Slow, obvious NumPy versions of scores on logits and features, and of rewrites.

As in `reference`: float64, plain loops, straight from the formulas. Features [B, D],
kernels [D, K], logits [B, K]; higher = more in-distribution.
"""

import math

import numpy as np


def softmax(row):
    """The probabilities of one row of logits."""
    row = [float(f) for f in row]
    weights = [math.exp(f - max(row)) for f in row]
    return [w / sum(weights) for w in weights]


def entropy(logits):
    """sum_k p_k log p_k."""
    return np.array(
        [sum(p * math.log(p) for p in softmax(row) if p > 0) for row in logits]
    )


def gen(logits, gamma, M):
    """-sum over the M largest p of p^gamma (1 - p)^gamma; 1 - p sums the others."""
    scores = []
    for row in logits:
        p = softmax(row)
        order = sorted(range(len(p)), key=lambda k: -p[k])[:M]
        total = 0.0
        for k in order:
            rest = sum(p[j] for j in range(len(p)) if j != k)
            total += (p[k] * rest) ** gamma
        scores.append(-total)
    return np.array(scores)


def klm(train_logits, train_predicted, logits):
    """-min over the predicted classes of KL(p || mean softmax of class)."""
    groups = {}
    for row, c in zip(train_logits, train_predicted, strict=True):
        groups.setdefault(int(c), []).append(softmax(row))
    prototypes = [np.mean(group, axis=0) for group in groups.values()]
    scores = []
    for row in logits:
        p = softmax(row)
        divergences = [
            sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)
            for q in prototypes
        ]
        scores.append(-min(divergences))
    return np.array(scores)


def gradnorm(features, logits, T=1.0):
    """L1 norm of the outer product of h and (p - 1/K) / T, entry by entry."""
    scores = []
    for h, row in zip(np.asarray(features, np.float64), logits, strict=True):
        p = softmax([f / T for f in row])
        scores.append(sum(abs(x * (a - 1 / len(p)) / T) for x in h for a in p))
    return np.array(scores)


def she(train_features, train_labels, train_logits, features, logits, metric):
    """Feature against the mean of the correctly classified ones of its class."""
    train_features = np.asarray(train_features, np.float64)
    predicted = [int(np.argmax(row)) for row in train_logits]
    scores = []
    for h, row in zip(np.asarray(features, np.float64), logits, strict=True):
        c = int(np.argmax(row))
        examples = list(zip(train_features, train_labels, predicted, strict=True))
        chosen = [x for x, y, prediction in examples if y == c and prediction == c]
        chosen = chosen or [x for x, y, _ in examples if y == c]
        chosen = chosen or [x for x, _, _ in examples]
        s = np.mean(chosen, axis=0)
        if metric == "inner_product":
            scores.append(h @ s)
        elif metric == "euclidean":
            scores.append(-math.sqrt(sum((h - s) ** 2)))
        else:
            scores.append(h @ s / math.sqrt((h @ h) * (s @ s)))
    return np.array(scores)


def fdbd(train_features, features, kernel, logits, predicted):
    """Sum of the distances to the other classes' boundaries, over |h - m|."""
    m = np.mean(np.asarray(train_features, np.float64), axis=0)
    kernel = np.asarray(kernel, np.float64)
    scores = []
    features = np.asarray(features, np.float64)
    for h, row, c in zip(features, logits, predicted, strict=True):
        row = [float(f) for f in row]
        total = 0.0
        for k in range(len(row)):
            if k != c:
                apart = math.sqrt(sum((kernel[:, k] - kernel[:, c]) ** 2))
                total += abs(row[k] - row[c]) / apart
        scores.append(total / math.sqrt(sum((h - m) ** 2)))
    return np.array(scores)


def nci(train_features, features, kernel, logits, alpha):
    """W_c · (h - m) / |h - m|, plus alpha times the L1 norm of h."""
    m = np.mean(np.asarray(train_features, np.float64), axis=0)
    kernel = np.asarray(kernel, np.float64)
    scores = []
    for h, row in zip(np.asarray(features, np.float64), logits, strict=True):
        centred = h - m
        proximity = kernel[:, int(np.argmax(row))] @ centred
        norm = sum(abs(x) for x in h)
        scores.append(proximity / math.sqrt(centred @ centred) + alpha * norm)
    return np.array(scores)


def bats(train_features, features, lam):
    """Each entry clipped to mean ± lam · standard deviation (N - 1) of its column."""
    train_features = np.asarray(train_features, np.float64)
    out = np.zeros(np.shape(features))
    for (b, d), value in np.ndenumerate(np.asarray(features, np.float64)):
        column = [float(x) for x in train_features[:, d]]
        mean = sum(column) / len(column)
        std = math.sqrt(sum((x - mean) ** 2 for x in column) / (len(column) - 1))
        out[b, d] = max(min(value, mean + lam * std), mean - lam * std)
    return out


def scale(features, q):
    """The row times exp(sum / sum of its D - round(q D) largest entries)."""
    out = []
    for row in np.asarray(features, np.float64):
        kept = sorted(row, reverse=True)[: len(row) - int(np.round(q * len(row)))]
        out.append([x * math.exp(sum(row) / sum(kept)) for x in row])
    return np.array(out)


def vra(train_features, features, low, high):
    """0 below the low quantile of all training entries; at most the high one."""
    entries = [float(x) for x in np.ravel(train_features)]
    alpha, beta = np.percentile(entries, 100 * low), np.percentile(entries, 100 * high)
    out = np.zeros(np.shape(features))
    for index, value in np.ndenumerate(np.asarray(features, np.float64)):
        out[index] = 0.0 if value < alpha else min(value, beta)
    return out
