"""How far a table's numbers would move with other test images: the bootstrap.

ID and OOD images are drawn again with replacement, every detector sees the same draws,
and a metric's interval holds 95 % of what it becomes. How much another
training of the network would change them is another question: train several seeds.

A draw is not sorted again: it gives each image a weight, how often it was drawn, and
AUROC and FPR95 of weighted images are sums along the order that the scores have anyway.
Efron, Tibshirani, An Introduction to the Bootstrap, 1993, Sec. 13.3 (percentiles).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from jood.evaluation.benchmark_run import Evaluation

LEVEL = 0.95  # of the draws lie within an interval
METRICS = ("AUROC", "FPR95")  # what has an interval
TPR = 0.95  # of FPR95
_AT_ONCE = 1 << 23  # weights in memory

# Lower and upper end, fractions, by detector, column and metric.
Intervals = Mapping[str, Mapping[str, Mapping[str, tuple[float, float]]]]


def intervals(
    evaluations: Sequence[Evaluation],
    names: Sequence[str],
    averages: Mapping[str, Sequence[str]],
    draws: int,
    seed: int = 0,
) -> Intervals:
    """Returns the interval of each metric of `METRICS`.

    Args:
      evaluations: Results of one network or of several on the same images; the interval
        is that of their mean. No score is NaN.
      names: the detectors.
      averages: OOD sets by the name of a column that is their mean.
      draws: number of times that all images are drawn again; 1,000 give the ends to
        about a twentieth of the interval.
      seed: seed of the draws.

    Raises:
      ValueError: `draws` is below 2.
    """
    if draws < 2:
        raise ValueError(f"the bootstrap needs at least 2 draws, got {draws}.")
    sets = list(evaluations[0].ood_scores)
    first = next(iter(names))
    sizes = {n: len(evaluations[0].scores(n, first)) for n in ("id_test", *sets)}
    rngs = {n: np.random.default_rng([seed, i]) for i, n in enumerate(sizes)}
    at_once = max(_AT_ONCE // sum(sizes.values()), 1)
    parts: dict[tuple[str, str], list[np.ndarray]] = {}
    for start in range(0, draws, at_once):
        count = min(at_once, draws - start)
        weights = {n: _weights(rngs[n], count, size) for n, size in sizes.items()}
        for name in names:
            own = weights["id_test"]
            bounds = [_thresholds(one.id_scores[name], own) for one in evaluations]
            for column in sets:
                drawn = [
                    _drawn(
                        one.id_scores[name],
                        one.ood_scores[column][name],
                        own,
                        weights[column],
                        bound,
                    )
                    for one, bound in zip(evaluations, bounds, strict=True)
                ]
                parts.setdefault((name, column), []).append(np.mean(drawn, axis=0))
    every = {key: np.concatenate(blocks, axis=1) for key, blocks in parts.items()}
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]

    def ends(name: str, part: Sequence[str]) -> dict[str, tuple[float, float]]:
        mean = np.mean([every[name, column] for column in part], axis=0)
        quantiles = np.quantile(mean, tails, axis=1).T
        return {
            m: (float(a), float(b))
            for m, (a, b) in zip(METRICS, quantiles, strict=True)
        }

    columns = {**{column: [column] for column in sets}, **averages}
    return {
        name: {c: ends(name, part) for c, part in columns.items()} for name in names
    }


def _weights(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    """How often each of `size` images is drawn, a row per draw; float32."""
    images = rng.integers(size, size=(count, size)) + size * np.arange(count)[:, None]
    times_drawn = np.bincount(images.ravel(), minlength=count * size)
    return times_drawn.reshape(count, size).astype(np.float32)


def _thresholds(inside: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Which ID image's score is the threshold of FPR95 in each draw, int [B].

    It is the first, from the highest, that keeps enough weight.
    """
    down = np.argsort(-inside, kind="stable")
    kept = np.cumsum(own[:, down], axis=1)
    enough = np.ceil(TPR * own.shape[1] - 1e-9)  # as `metrics.threshold_at_tpr`
    return down[(kept >= enough).argmax(axis=1)]


def _drawn(
    inside: np.ndarray,
    outside: np.ndarray,
    own: np.ndarray,
    other: np.ndarray,
    threshold: np.ndarray,
) -> np.ndarray:
    """`METRICS` of each draw, float64 [2, B].

    `own` [B, N] and `other` [B, M] are the weights of the ID and the OOD images.
    """
    up = np.argsort(outside, kind="stable")
    # How much of the OOD weight has a lower score than each place: exact integers.
    before = np.pad(np.cumsum(other[:, up], axis=1), ((0, 0), (1, 0)))  # [B, M + 1]
    below, upto = (np.searchsorted(outside[up], inside, s) for s in ("left", "right"))
    beaten = before[:, below]  # [B, N]
    won = (own * beaten).sum(axis=1, dtype=np.float64)
    count = own.shape[1] * other.shape[1]
    if (below == upto).all():
        auroc = won / count
    else:  # ties count one half
        tied = (own * before[:, upto]).sum(axis=1, dtype=np.float64)
        auroc = (won + tied) / (2 * count)
    rejected = beaten[np.arange(len(own)), threshold]
    return np.stack([auroc, 1 - rejected.astype(np.float64) / other.shape[1]])
