"""Random scores: every metric equals obvious counting, or names what it refuses."""

from helpers import fuzzing
import numpy as np
import pytest

from jood import metrics

pytestmark = pytest.mark.slow
EXTREME = np.array([0.0, -0.0, 1e-45, 1e-300, 1.0, 1.797e308, np.inf, -np.inf])


def test_the_fuzzers_read_a_hundred_thousand_inputs():
    assert sum(fuzzing.INPUTS.values()) >= 100_000


def side(rng):
    size = int(rng.integers(1, 12))
    kind = rng.integers(5)
    if kind == 0:
        return rng.integers(0, 4, size)
    if kind == 1:
        return rng.choice(np.concatenate([EXTREME, -EXTREME]), size)
    scores = rng.normal(size=size) * 10.0 ** rng.uniform(-30, 30)
    return scores.astype(rng.choice(["f2", "f4", "f8"])) if kind == 2 else scores


def slow(inside, outside):
    """The metrics by counting pairs and thresholds, on Python's numbers."""
    inside, outside = [float(s) for s in inside], [float(s) for s in outside]
    pairs = [(i > o) + 0.5 * (i == o) for i in inside for o in outside]

    def fpr(positive, negative):
        for threshold in sorted(set(positive), reverse=True):
            kept = sum(p >= threshold for p in positive)
            if kept >= 0.95 * len(positive) - 1e-9:
                return sum(n >= threshold for n in negative) / len(negative)
        raise AssertionError

    def precision(positive, negative):
        area = recall = 0.0
        for threshold in sorted({*positive, *negative}, reverse=True):
            hits = sum(p >= threshold for p in positive)
            alarms = sum(n >= threshold for n in negative)
            area += (hits / len(positive) - recall) * hits / (hits + alarms)
            recall = hits / len(positive)
        return area

    flipped = [-o for o in outside], [-i for i in inside]
    return {
        "AUROC": sum(pairs) / len(pairs),
        "FPR95": fpr(inside, outside),
        "AUPR-in": precision(inside, outside),
        "AUPR-out": precision(*flipped),
        "FPR95-OOD-positive": fpr(*flipped),
    }


def spoiled(rng, scores):
    """The scores as something that no metric may take for them."""
    wrong = [
        lambda s: s.astype(str),
        lambda s: s + 1j,
        lambda s: s.astype(object),
        lambda s: np.ma.array(s, mask=np.arange(len(s)) == 0),
        lambda s: s[:, None],
        lambda s: s[:0],
        lambda s: np.where(np.arange(len(s)) == len(s) - 1, np.nan, s),
    ]
    return wrong[rng.integers(len(wrong))](scores)


@fuzzing.seeds("metrics", each=35)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_metrics(seed):
    rng = np.random.default_rng(seed)
    for _ in range(35):
        inside, outside = side(rng), side(rng)
        if rng.random() < 0.3:
            bad = spoiled(rng, inside.astype(np.float64))
            pair = (bad, outside) if rng.random() < 0.5 else (outside, bad)
            with pytest.raises(ValueError, match=r"ID scores?|OOD scores?"):
                metrics.evaluate(*pair)
            continue
        found, expected = metrics.evaluate(inside, outside), slow(inside, outside)
        assert found == pytest.approx(expected, abs=1e-12), (inside, outside)
