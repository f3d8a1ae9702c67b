"""Slow, obvious NumPy versions of the methods that read maps or look again.

Everything is float64 and written with plain loops over images, locations and channels,
straight from the papers' formulas. Maps are [B, H, W, C].
"""

import math

import numpy as np


def _locations(image):
    """The features of one map's locations, [HW, C]."""
    image = np.asarray(image, np.float64)
    return image.reshape(-1, image.shape[-1])


def gram(feature_map, statistic):
    """Cosines between all pairs of locations; their mean, std or mean deviation."""
    scores = []
    for image in feature_map:
        rows = []
        for feature in _locations(image):
            length = math.sqrt(sum(feature**2))
            rows.append(feature / length if length > 0 else feature)
        cosines = np.array([[sum(a * b) for b in rows] for a in rows])
        centred = cosines - np.mean(cosines)
        scores.append(
            {
                "mean": np.mean(cosines),
                "std": math.sqrt(np.mean(centred**2)),
                "mad": np.mean(np.abs(centred)),
            }[statistic]
        )
    return np.array(scores)


def mixture(values, iterations, floor=1e-3):
    """EM of two Gaussians, Eq. 17-18; (w, mu1, mu2, sigma1, sigma2), mu1 >= mu2."""
    values = np.asarray(values, np.float64)
    floor = floor * np.var(values)
    if floor == 0:
        return 0.0, values[0], values[0], 0.0, 0.0
    share = [float(x > np.mean(values)) for x in values]
    for step in range(iterations + 1):
        count = [sum(share), sum(1 - s for s in share)]
        mu = [
            sum(s * x for s, x in zip(share, values, strict=True)) / count[0],
            sum((1 - s) * x for s, x in zip(share, values, strict=True)) / count[1],
        ]
        spread = [
            sum(s * (x - mu[0]) ** 2 for s, x in zip(share, values, strict=True)),
            sum((1 - s) * (x - mu[1]) ** 2 for s, x in zip(share, values, strict=True)),
        ]
        sigma = [
            math.sqrt(max(s / c, floor)) for s, c in zip(spread, count, strict=True)
        ]
        w = count[0] / len(values)
        if step == iterations:
            break
        share = []
        for x in values:
            logs = [
                math.log(weight) - math.log(s) - (x - m) ** 2 / (2 * s**2)
                for weight, m, s in zip((w, 1 - w), mu, sigma, strict=True)
            ]
            top = max(logs)
            one, two = (math.exp(value - top) for value in logs)
            share.append(one / (one + two))
    if mu[0] < mu[1]:
        w, mu, sigma = 1 - w, mu[::-1], sigma[::-1]
    return w, *mu, *sigma


def gmm(feature_map, iterations=20):
    """Mean over channels of (mu_f - mu_g) w_f / w_g, w_g at least one location."""
    scores = []
    for image in feature_map:
        z = _locations(image)
        channels = []
        for c in range(z.shape[1]):
            w, mu1, mu2, *_ = mixture(z[:, c], iterations)
            channels.append((mu1 - mu2) * w / max(1 - w, 1 / len(z)))
        scores.append(np.mean(channels))
    return np.array(scores)


def folded_normal_mixture(w, d, sigma1, sigma2):
    """E|h - mu| by Eq. 8, 9 and 10, with mu2 = 0 and mu1 = d."""

    def cdf(x):
        return 0.5 * (1 + math.erf(x / math.sqrt(2)))

    def pdf(x):
        return math.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)

    def folded(mean, sigma):
        return mean * (1 - 2 * cdf(-mean / sigma)) + 2 * sigma * pdf(mean / sigma)

    mu = w * d
    return w * folded(d - mu, sigma1) + (1 - w) * folded(0 - mu, sigma2)


def feature_norm(feature_map):
    """Mean over channels of the L2 norm over locations of max(z, 0)."""
    return np.array(
        [
            np.mean(
                [math.sqrt(sum(max(v, 0) ** 2 for v in z)) for z in _locations(m).T]
            )
            for m in feature_map
        ]
    )


def remove_first_component(feature_map):
    """X - s1 u1 v1', by a singular value decomposition."""
    out = []
    for image in feature_map:
        u, s, v = np.linalg.svd(_locations(image), full_matrices=False)
        rest = _locations(image) - s[0] * np.outer(u[:, 0], v[0])
        out.append(rest.reshape(np.shape(image)))
    return np.array(out)


def pixel_msp(feature_map, kernel, bias):
    """Mean over locations of the head's largest softmax probability."""
    scores = []
    for image in feature_map:
        confidence = []
        for feature in _locations(image):
            logits = feature @ np.asarray(kernel, np.float64) + bias
            weights = [math.exp(f - max(logits)) for f in logits]
            confidence.append(max(weights) / sum(weights))
        scores.append(np.mean(confidence))
    return np.array(scores)


def max_probability(logits, T):
    """max softmax(f / T)."""
    scores = []
    for row in np.asarray(logits, np.float64) / T:
        weights = [math.exp(f - max(row)) for f in row]
        scores.append(max(weights) / sum(weights))
    return np.array(scores)


def odin_of_a_linear_network(images, kernel, bias, T, eps, std):
    """ODIN where f(x) = mean over locations of x, times kernel, plus bias."""
    out = []
    for image in np.asarray(images, np.float64):
        logits = _locations(image).mean(0) @ kernel + bias
        p = np.exp((logits - max(logits)) / T)
        p = p / sum(p)
        error = p - np.eye(len(p))[np.argmax(logits)]
        gradient = kernel @ error / T  # of each location's feature, times their number
        sign = np.array([1.0 if g >= 0 else -1.0 for g in gradient])
        moved = image - eps * sign / std
        out.append(_locations(moved).mean(0) @ kernel + bias)
    return max_probability(out, T)
