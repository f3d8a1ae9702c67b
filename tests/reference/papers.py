"""Slow, obvious NumPy versions of the methods, to compare the fast ones with.

Everything is float64 and written with plain loops over images (and locations,
channels), straight from the papers' formulas. Maps are [B, H, W, C] or tokens
[B, L, C], features [B, D], kernels [D, K], logits [B, K].
"""

import math

import numpy as np


def ta(feature_map, k):
    """ReLU(f - k), entry by entry."""
    out = np.zeros(np.shape(feature_map))
    for index, value in np.ndenumerate(np.asarray(feature_map, np.float64)):
        out[index] = max(value - k, 0.0)
    return out


def react(features, c):
    """min(h, c), entry by entry."""
    out = np.zeros(np.shape(features))
    for index, value in np.ndenumerate(np.asarray(features, np.float64)):
        out[index] = min(value, c)
    return out


def react_threshold(batches, q):
    """The q-quantile of all entries of all features, pooled."""
    entries = [float(value) for batch in batches for value in np.ravel(batch)]
    return float(np.percentile(entries, 100 * q))


def _kept(row, q):
    """Indices of the D - round(q D) largest entries; ties: the lower index."""
    k = len(row) - int(np.round(q * len(row)))
    return sorted(range(len(row)), key=lambda i: (-row[i], i))[:k]


def ash_p(features, q):
    """The kept entries as they are, the others 0."""
    out = np.zeros(np.shape(features))
    for b, row in enumerate(np.asarray(features, np.float64)):
        for i in _kept(row, q):
            out[b, i] = row[i]
    return out


def ash_b(features, q):
    """The kept entries at (sum before pruning) / k, the others 0."""
    out = np.zeros(np.shape(features))
    for b, row in enumerate(np.asarray(features, np.float64)):
        kept = _kept(row, q)
        for i in kept:
            out[b, i] = sum(row) / len(kept)
    return out


def ash_s(features, q):
    """The kept entries times exp(sum before / sum of the kept), the others 0."""
    out = np.zeros(np.shape(features))
    for b, row in enumerate(np.asarray(features, np.float64)):
        kept = _kept(row, q)
        factor = math.exp(sum(row) / sum(row[i] for i in kept))
        for i in kept:
            out[b, i] = row[i] * factor
    return out


def logits(features, kernel, bias):
    """H W + b."""
    features, kernel = np.asarray(features, np.float64), np.asarray(kernel, np.float64)
    return features @ kernel + np.asarray(bias, np.float64)


def temperature(logits, T):
    """The logits over T."""
    return np.asarray(logits, np.float64) / T


def msp(logits):
    """max_k softmax(f)_k."""
    scores = []
    for row in np.asarray(logits, np.float64):
        weights = [math.exp(f - max(row)) for f in row]
        scores.append(max(weights) / sum(weights))
    return np.array(scores)


def max_logit(logits):
    """max_k f_k."""
    return np.array([max(row) for row in np.asarray(logits, np.float64)])


def energy(logits, T=1.0):
    """T log sum_k exp(f_k / T)."""
    scores = []
    for row in np.asarray(logits, np.float64):
        top = max(row)
        scores.append(top + T * math.log(sum(math.exp((f - top) / T) for f in row)))
    return np.array(scores)


def _channels(image):
    """The list of channels of one map, each a list of its values by location."""
    image = np.asarray(image, np.float64)
    return [np.ravel(image[..., c]) for c in range(image.shape[-1])]


def feature_sim(feature_map):
    """Mean over channels and locations of |z - mean over locations of z|."""
    return np.array(
        [
            np.mean([np.mean(np.abs(z - np.mean(z))) for z in _channels(image)])
            for image in feature_map
        ]
    )


def feature_sim_median(feature_map):
    """Median over locations of |z - median of z|, mean over channels."""
    return np.array(
        [
            np.mean([np.median(np.abs(z - np.median(z))) for z in _channels(image)])
            for image in feature_map
        ]
    )


def feature_sim_std(feature_map):
    """Standard deviation over locations (divided by HW), mean over channels."""
    return np.array(
        [
            np.mean([math.sqrt(np.mean((z - np.mean(z)) ** 2)) for z in channels])
            for channels in map(_channels, feature_map)
        ]
    )


def feature_sim_channel(feature_map):
    """Mean over channels and locations of |z - mean over channels of z|."""
    scores = []
    for image in feature_map:
        locations = zip(*_channels(image), strict=True)
        scores.append(np.mean([np.mean(np.abs(z - np.mean(z))) for z in locations]))
    return np.array(scores)


def appendix_f(x):
    """Feature Sim, App. F, in NumPy, line by line; x is [B, C, H, W] as there."""
    B, C, H, W = x.shape
    x = x.reshape(B, C, H * W)
    x_mean = x.mean(axis=-1)[..., None]
    return np.abs(x - x_mean).mean(axis=(-1, -2))


def feature_mask(features, kernel, prediction, q):
    """Keeps the features with the D - round(q D) largest weights of the class."""
    out = np.zeros(np.shape(features))
    for b, row in enumerate(np.asarray(features, np.float64)):
        for d in _kept(np.asarray(kernel)[:, prediction[b]], q):
            out[b, d] = row[d]
    return out


def prototypes(features, labels, classes):
    """The mean training feature of each class, [K, D]."""
    features = np.asarray(features, np.float64)
    rows = [
        [f for f, y in zip(features, labels, strict=False) if y == k]
        for k in range(classes)
    ]
    return np.stack([np.mean(r, axis=0) for r in rows])


def cosine(a, b):
    """cos of the angle between two vectors."""
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def energy_of(logits):
    """log Σ exp f, by rows."""
    return np.array([math.log(sum(math.exp(f) for f in row)) for row in logits])


def himplos(features, kernel, bias, means, q, clip):
    """Eq. 2-11 of HIMPLoS, one image at a time."""
    kernel, bias = np.asarray(kernel, np.float64), np.asarray(bias, np.float64)
    scores = []
    for h in np.asarray(features, np.float64):
        c = int(np.argmax(h @ kernel + bias))
        masked = feature_mask(h[None], kernel, [c], q)[0]
        clipped = np.minimum(masked, clip)
        logits = cosine(h, means[c]) * (clipped @ kernel + bias)
        scores.append(energy_of([logits])[0])
    return np.array(scores)


def dice_mask(features, kernel, q):
    """Which weights have m_d W_dk above the q-quantile of all, bool [D, K]."""
    mean = np.asarray(features, np.float64).mean(0)
    kernel = np.asarray(kernel, np.float64)
    value = np.zeros(kernel.shape)
    for d, k in np.ndindex(*kernel.shape):
        value[d, k] = mean[d] * kernel[d, k]
    return value > np.quantile(value, q)


def line(features, kernel, bias, means, q_a, q_w, clip):
    """LINE's logits, one image at a time with its own masked head."""
    kernel, bias = np.asarray(kernel, np.float64), np.asarray(bias, np.float64)
    out = []
    for h in np.asarray(features, np.float64):
        h = np.minimum(h, clip)
        c = int(np.argmax(h @ kernel + bias))
        importance = means[c] * kernel[:, c]
        h = np.where(importance > np.quantile(importance, q_a), h, 0.0)
        products = np.abs(importance)[:, None] * kernel
        weights = np.where(products > np.quantile(products, q_w), kernel, 0.0)
        out.append(h @ weights + bias)
    return np.array(out)
