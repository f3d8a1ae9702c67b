"""Slow, obvious NumPy versions of the field's leading methods.

As in `reference`: float64, plain loops, straight from the formulas. Features [N, D] and
[B, D], labels [N], kernels [D, K], biases [K], logits [B, K]; higher = more ID.
"""

import math

import numpy as np

from reference.scores import gen
from reference.scores import softmax


def _rows(x):
    return [np.asarray(row, np.float64) for row in x]


def _class_means(train, labels):
    train = _rows(train)
    return {
        k: np.mean([h for h, y in zip(train, labels, strict=True) if y == k], axis=0)
        for k in sorted(set(map(int, labels)))
    }


def cosines(train, labels, test):
    """The cosines of each test row to the class means, a list per row."""
    means = _class_means(train, labels).values()
    return [[h @ m / math.sqrt((h @ h) * (m @ m)) for m in means] for h in _rows(test)]


def max_cosine(train, labels, test):
    """max_k cos(h, mean_k)."""
    return np.array([max(row) for row in cosines(train, labels, test)])


def relative_cosine(train, labels, test):
    """max_k softmax of the cosines."""
    return np.array([max(softmax(row)) for row in cosines(train, labels, test)])


def doctor_alpha(logits, T=1.0):
    """-(1 - g) / g, g = sum p^2; 1 - g is summed over the pairs that differ."""
    scores = []
    for row in logits:
        p = softmax([f / T for f in row])
        pairs = [(j, k) for j in range(len(p)) for k in range(len(p))]
        g = sum(p[j] * p[k] for j, k in pairs if j == k)
        scores.append(-sum(p[j] * p[k] for j, k in pairs if j != k) / g)
    return np.array(scores)


def doctor_beta(logits, T=1.0):
    """-(1 - max p) / max p."""
    scores = []
    for row in logits:
        p = sorted(softmax([f / T for f in row]))
        scores.append(-sum(p[:-1]) / p[-1])
    return np.array(scores)


def weighted_energy(logits, weights):
    """log sum_k relu(w_k) exp(f_k)."""
    return np.array(
        [
            math.log(
                sum(max(w, 0) * math.exp(f) for w, f in zip(weights, row, strict=True))
            )
            for row in logits
        ]
    )


def nll(logits, labels, T):
    """Mean negative log-likelihood of the labels at a temperature."""
    terms = [
        -math.log(softmax([f / T for f in row])[int(y)])
        for row, y in zip(logits, labels, strict=True)
    ]
    return sum(terms) / len(terms)


def normalise(features, p, beta):
    """The feature over its p-norm to the power of beta."""
    return np.array(
        [h / sum(abs(x) ** p for x in h) ** (beta / p) for h in _rows(features)]
    )


def ras(train, features):
    """The r-th smallest entry becomes the mean of the r-th smallest in training."""
    curve = np.mean([sorted(h) for h in _rows(train)], axis=0)
    out = np.zeros(np.shape(features))
    for b, h in enumerate(_rows(features)):
        for rank, d in enumerate(sorted(range(len(h)), key=lambda d: h[d])):
            out[b, d] = curve[rank]
    return out


def sum_ratio(h, kept):
    """Sum of the positive entries over that of the positive among the largest."""
    largest = sorted(h, reverse=True)[:kept]
    return sum(max(x, 0) for x in h) / sum(max(x, 0) for x in largest)


def lts(features, logits, q):
    """Logits times the squared ratio of sums."""
    width = np.shape(features)[1]
    kept = width - int(np.round(q * width))
    return np.array(
        [
            f * sum_ratio(h, kept) ** 2
            for h, f in zip(_rows(features), _rows(logits), strict=True)
        ]
    )


def adascale_q(h, moved, k1, k2, lam):
    """Size of the k1 largest entries after the shift, and shift of the k2 largest."""
    order = sorted(range(len(h)), key=lambda d: -h[d])
    sizes = sum(max(moved[d], 0) for d in order[:k1])
    return sizes + lam * sum(abs(h[d] - moved[d]) for d in order[:k2])


def adascale_s(train, test, low, high, k1, k2, lam):
    """s of each test pair (h, moved), given the training pairs."""
    known = [adascale_q(*pair, k1, k2, lam) for pair in train]
    ratios = []
    for h, moved in test:
        value = adascale_q(h, moved, k1, k2, lam)
        below = sum(q <= value for q in known) / len(known)
        q = low + (1 - below) * (high - low)
        ratios.append(sum_ratio(h, len(h) - int(np.round(len(h) * q))))
    return np.array(ratios)


def weakest_moved(image, gradient, o, eps):
    """The image with its entries of smallest |gradient| moved by eps sign."""
    flat, g = image.ravel().copy(), gradient.ravel()
    for i in sorted(range(len(g)), key=lambda i: abs(g[i]))[: int(len(g) * o)]:
        flat[i] += eps * np.sign(g[i])
    return flat.reshape(image.shape)


def optfs(train, kernel, bias, test, bins, low, high):
    """Each entry times the factor of its bin; 0 outside of the bins."""
    train, kernel = _rows(train), np.asarray(kernel, np.float64)
    first, last = np.quantile(np.ravel(train), [low, high])
    edges = np.linspace(first, last, bins + 1)
    sums = np.zeros(bins)
    for h in train:
        c = np.argmax(h @ kernel + bias)
        for j in range(bins):
            inside = (edges[j] <= h) & (h < edges[j + 1])
            sums[j] += (kernel[:, c] * h)[inside].sum() / len(train)
    theta = 1000 * sums / math.sqrt(sum(sums**2))
    out = np.zeros(np.shape(test))
    for (b, d), value in np.ndenumerate(np.asarray(test, np.float64)):
        for j in range(bins):
            if edges[j] <= value < edges[j + 1]:
                out[b, d] = theta[j] * value
    return out


def cadref(train, kernel, bias, test, g):
    """-(raising error / g + lowering error / mean g), over the 1-norm of h."""
    kernel = np.asarray(kernel, np.float64)
    logits = [h @ kernel + bias for h in _rows(train)]
    means = _class_means(train, [np.argmax(f) for f in logits])
    usual = sum(g(f) for f in logits) / len(logits)
    scores = []
    for h in _rows(test):
        f = h @ kernel + bias
        c = int(np.argmax(f))
        pull = (h - means[c]) * np.sign(kernel[:, c]) / sum(abs(h))
        raising, lowering = sum(pull[pull > 0]), -sum(pull[pull < 0])
        scores.append(-(raising / g(f) + lowering / usual))
    return np.array(scores)


def caref(train, kernel, bias, test):
    """-|h - mean of the predicted class|_1 / |h|_1."""
    return cadref(train, kernel, bias, test, lambda f: 1.0)


def relation(train, kernel, bias, test, power, least):
    """Sum over the training rows of relu(cos) <p, p_i>, to a power, above a least."""

    def related(h, other):
        p, p_other = (np.array(softmax(x @ kernel + bias)) for x in (h, other))
        cosine = h @ other / math.sqrt((h @ h) * (other @ other))
        return max(cosine, 0) * (p @ p_other)

    scores = []
    for h in _rows(test):
        relations = [related(h, other) for other in _rows(train)]
        scores.append(sum(r**power for r in relations if r > least))
    return np.array(scores)


def actsub_parts(train, kernel, test, k, count):
    """Each test row's decisive part, and -log(1 - mean cosine) of its rest."""
    vectors = np.linalg.svd(np.asarray(kernel, np.float64))[0][:, :k]
    inside = vectors @ vectors.T
    rest = [h - inside @ h for h in _rows(train)]
    found = []
    for h in _rows(test):
        other = h - inside @ h
        cosines = [other @ r / math.sqrt((other @ other) * (r @ r)) for r in rest]
        mean = max(sum(sorted(cosines, reverse=True)[:count]) / count, 0)
        found.append((inside @ h, -math.log(1 - mean)))
    return found


def actsub_gen(train, kernel, bias, test, k, gamma, M, lam, count):
    """-GEN of the decisive part's logits over the kinship of the rest."""
    scores = []
    for part, kinship in actsub_parts(train, kernel, test, k, count):
        logits = part @ np.asarray(kernel, np.float64) + bias
        scores.append(gen([logits], gamma, M)[0] / kinship**lam)
    return np.array(scores)


def actsub(train, kernel, bias, test, k, q, lam, count):
    """Energy of the scaled decisive part times -log(1 - mean cosine) of the rest."""
    scores = []
    for part, kinship in actsub_parts(train, kernel, test, k, count):
        kept = sorted(part, reverse=True)[: len(part) - int(np.round(q * len(part)))]
        shaped = part * math.exp(sum(part) / sum(kept))
        energy = np.log(np.exp(shaped @ kernel + bias).sum())
        scores.append(energy * kinship**lam)
    return np.array(scores)


def nac(train, kernel, bias, test, edges, O, alpha):  # noqa: E741
    """Mean coverage of the bins of sigmoid(alpha h g), g the gradient for uniform."""
    kernel = np.asarray(kernel, np.float64)

    def states(h):
        p = np.array(softmax(h @ kernel + bias))
        return 1 / (1 + np.exp(-alpha * h * (kernel @ (p - 1 / len(p)))))

    def bin_of(state):
        return max(i for i, edge in enumerate(edges) if edge <= state)

    counts = {}
    for h in _rows(train):
        for d, state in enumerate(states(h)):
            key = (bin_of(state), d)
            counts[key] = counts.get(key, 0) + 1
    scores = []
    for h in _rows(test):
        found = [counts.get((bin_of(s), d), 0) for d, s in enumerate(states(h))]
        scores.append(sum(min(n / O, 1) for n in found) / len(found))
    return np.array(scores)


def row_sums(feature_map, P):
    """sign(r) |r|^(1/p), r the row sums of F^p (F^p)^T, per power and channel."""
    f = np.asarray(feature_map, np.float64).reshape(-1, np.shape(feature_map)[-1])
    found = []
    for p in range(1, P + 1):
        t = (f**p).T  # [C, HW]
        rows = (t @ t.T).sum(1)
        found.append([math.copysign(abs(r) ** (1 / p), r) for r in rows])
    return np.array(found)


def gram_deviation(train, classes, held, test, answers, confidences, P):
    """Maps by stage [N, H, W, C]; classes, held-out marks, answers and max p."""

    def ranges(stage, k):
        own = [x for x, y, h in zip(train[stage], classes, held, strict=True) if not h]
        named = [y for y, h in zip(classes, held, strict=True) if not h]
        rows = [row_sums(x, P) for x, y in zip(own, named, strict=True) if y == k]
        rows = rows or [row_sums(x, P) for x in own]
        return np.min(rows, axis=0), np.max(rows, axis=0)

    def deviation(x, low, high):
        r = row_sums(x, P)
        below = np.maximum(low - r, 0) / np.abs(low + 1e-6)
        return (below + np.maximum(r - high, 0) / np.abs(high + 1e-6)).sum()

    totals = np.zeros(len(answers))
    for stage in train:
        usual = np.mean(
            [
                deviation(x, *ranges(stage, y))
                for x, y, h in zip(train[stage], classes, held, strict=True)
                if h
            ]
        )
        totals += [
            deviation(x, *ranges(stage, k)) / usual
            for x, k in zip(test[stage], answers, strict=True)
        ]
    return -totals / np.asarray(confidences, np.float64)


def grad_uncertainty(features, kernel, bias, with_bias):
    """Squared norm of the outer product of h and K p - 1, entry by entry."""
    scores = []
    for h in _rows(features):
        p = softmax(h @ kernel + bias)
        inputs = [*h, 1.0] if with_bias else h
        scores.append(sum((x * (len(p) * q - 1)) ** 2 for x in inputs for q in p))
    return np.array(scores)


def histogram(values, low, high, bins):
    """Shares of all values that lie in each half-open bin."""
    counts = np.zeros(bins)
    for value in values:
        if low <= value < high:
            counts[min(int((value - low) / (high - low) * bins), bins - 1)] += 1
    return counts / len(values)


def weiper_kld(train, heads, bias, test, lam1, lam2, s1, s2, bins=100):
    """-(D of latents + lam1 D of perturbed logits - lam2 their mean MSP)."""
    scores = np.zeros(len(test))

    def perturbed(h):
        return [h @ head + bias for head in heads]

    parts = [
        (lambda h: h, 1.0, s1, 0.01),
        (lambda h: np.ravel(perturbed(h)), lam1, s2, 0.025),
    ]
    for values, weight, width, floor in parts:
        known = [values(h) for h in _rows(train)]
        low, high = np.min(known), np.max(known)
        q = np.mean([histogram(v, low, high, bins) for v in known], axis=0) + floor
        for b, h in enumerate(_rows(test)):
            raw = histogram(values(h), low, high, bins)
            left = (width - 1) // 2
            padded = [raw[0]] * left + list(raw) + [raw[-1]] * (width - 1 - left)
            p = np.array([np.mean(padded[i : i + width]) for i in range(bins)]) + floor
            a, c = p / p.sum(), q / q.sum()
            divergence = sum(a * np.log(a / c)) + sum(c * np.log(c / a))
            scores[b] -= weight * divergence
    for b, h in enumerate(_rows(test)):
        scores[b] += lam2 * np.mean([max(softmax(f)) for f in perturbed(h)])
    return scores


def openmax(means, weibulls, logits, alpha):
    """-P(unknown) after the alpha largest logits are revised."""
    scores = []
    for f in _rows(logits):
        revised, unknown = list(f), 0.0
        for rank, k in enumerate(sorted(range(len(f)), key=lambda k: -f[k])[:alpha]):
            scale, shape, start = weibulls[k]
            distance = math.sqrt(sum((f - means[k]) ** 2))
            beyond = max(distance - start + 1, 0)
            w = 1 - math.exp(-((beyond / scale) ** shape))
            moved = f[k] * w * (alpha - rank) / alpha
            revised[k] -= moved
            unknown += moved
        scores.append(-softmax([*revised, unknown])[-1])
    return np.array(scores)


def yeo_johnson(x, lam):
    """The power transformation of one number."""
    if x >= 0:
        return math.log1p(x) if lam == 0 else ((1 + x) ** lam - 1) / lam
    if lam == 2:
        return -math.log1p(-x)
    return -((1 - x) ** (2 - lam) - 1) / (2 - lam)


def combood(train, test, lambdas, k):
    """-sqrt(D) log d2_k - m2, of unit features and given lambdas."""

    def units(x):
        return np.array([h / math.sqrt(h @ h) for h in _rows(x)])

    known, new = units(train), units(test)
    mean, std = known.mean(0), known.std(0)

    def transformed(x):
        z = (x - mean) / std
        columns = [
            [yeo_johnson(v, lam) for v in z[:, d]] for d, lam in enumerate(lambdas)
        ]
        return np.array(columns).T

    t, u = transformed(known), transformed(new)
    u, t = (u - t.mean(0)) / t.std(0), (t - t.mean(0)) / t.std(0)
    precision = np.linalg.inv(np.cov(t.T) + np.eye(len(lambdas)))
    scores = []
    for h, row in zip(new, u, strict=True):
        nearest = sorted(sum((h - other) ** 2) for other in known)[k - 1]
        scores.append(-math.sqrt(len(h)) * math.log(nearest) - row @ precision @ row)
    return np.array(scores)
