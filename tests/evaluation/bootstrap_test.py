"""The bootstrap's intervals are those of sorting every draw."""

import numpy as np
import pytest
from scipy import stats

from jood import metrics
from jood.evaluation import bootstrap
from jood.evaluation.benchmark_run import Evaluation

RNG = np.random.default_rng(0)


def evaluation(inside, **sets):
    ood = {name: {"S": np.float32(scores)} for name, scores in sets.items()}
    return Evaluation(0.9, {"S": np.float32(inside)}, ood)


def slowly(seed, draws, *evaluations):
    """[draws, set, metric] of the same draws, each sorted; the mean over networks."""
    sets = list(evaluations[0].ood_scores)
    sizes = [len(evaluations[0].scores(name, "S")) for name in ("id_test", *sets)]
    rngs = [np.random.default_rng([seed, i]) for i in range(len(sizes))]
    places = [
        rng.integers(n, size=(draws, n)) for rng, n in zip(rngs, sizes, strict=True)
    ]
    return np.array(
        [
            [
                np.mean(
                    [
                        measure(
                            one.id_scores["S"][places[0][b]],
                            one.scores(name, "S")[places[i][b]],
                        )
                        for one in evaluations
                    ]
                )
                for measure in (metrics.auroc, metrics.fpr_at_tpr)
            ]
            for b in range(draws)
            for i, name in enumerate(sets, 1)
        ]
    ).reshape(draws, len(sets), 2)


@pytest.mark.parametrize("ties", [False, True])
def test_ends_are_the_percentiles_of_sorting_every_draw(ties):
    inside, near, far = (
        RNG.normal(mean, 1, n) for mean, n in ((2, 60), (1, 41), (0, 30))
    )
    if ties:  # also between ID and OOD
        inside, near, far = (np.round(x) for x in (inside, near, far))
        inside[0], far[0] = np.inf, -np.inf
    ones = [evaluation(inside, near=near, far=far)]
    ones.append(evaluation(inside * 0.5, near=near, far=far))
    found = bootstrap.intervals(ones, ["S"], {"mean": ["near", "far"]}, 9, seed=3)
    every = slowly(3, 9, *ones)
    columns = {"near": every[:, 0], "far": every[:, 1], "mean": every.mean(axis=1)}
    assert found["S"].keys() == columns.keys()
    for column, values in columns.items():
        ends = np.quantile(values, [0.025, 0.975], axis=0)
        for i, metric in enumerate(bootstrap.METRICS):
            np.testing.assert_allclose(
                found["S"][column][metric], ends[:, i], rtol=0, atol=1e-12
            )


def test_it_agrees_with_scipy():
    inside, outside = (
        np.float32(RNG.normal(1, 1, 200)),
        np.float32(RNG.normal(0, 1, 150)),
    )
    found = bootstrap.intervals([evaluation(inside, x=outside)], ["S"], {}, 2000)

    def auroc(inside, outside):
        return np.mean(inside[:, None] > outside)

    for metric, measure in (("AUROC", auroc), ("FPR95", metrics.fpr_at_tpr)):
        expected = stats.bootstrap(
            (inside, outside), measure, n_resamples=500, vectorized=False,
            method="percentile", rng=1,
        ).confidence_interval  # fmt: skip
        width = expected.high - expected.low
        np.testing.assert_allclose(found["S"]["x"][metric], expected, atol=0.15 * width)


def test_draws_are_seeded_and_memory_is_bounded(monkeypatch):
    one = evaluation(RNG.normal(1, 1, 50), x=RNG.normal(0, 1, 40))
    whole = bootstrap.intervals([one], ["S"], {}, 100)
    assert whole == bootstrap.intervals([one], ["S"], {}, 100)
    assert whole != bootstrap.intervals([one], ["S"], {}, 100, seed=1)
    sizes = []
    weigh = bootstrap._weights

    def noted(rng, count, size):
        sizes.append(count * size)
        return weigh(rng, count, size)

    monkeypatch.setattr(bootstrap, "_weights", noted)
    monkeypatch.setattr(bootstrap, "_AT_ONCE", 900)
    few = bootstrap.intervals([one], ["S"], {}, 100)
    assert max(sizes) <= 900
    assert few == whole


def test_too_few_draws_are_refused():
    with pytest.raises(ValueError, match="at least 2 draws, got 1"):
        bootstrap.intervals([evaluation([1.0], x=[0.0])], ["S"], {}, 1)
