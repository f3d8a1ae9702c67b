"""Drift: false alarms as rare as promised, shifts found, windows that tile."""

import numpy as np
import pytest
from scipy import stats

from jood.deploy import drift

RNG = np.random.default_rng(0)
ID = np.sort(RNG.normal(size=600)).astype(np.float32)


def test_a_window_is_what_its_scores_say():
    scores = np.array([-3.0, -2.0, 0.0, 1.0, 9.0])
    found = drift.compare(scores, ID, threshold=-1.5)
    expected = stats.ks_2samp(scores, ID, method="exact")
    assert found.images == 5
    assert (found.low, found.median, found.high) == pytest.approx((-2.8, 0.0, 7.4))
    assert found.below == pytest.approx(0.4)
    assert found.distance == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert not found.drifted


@pytest.mark.slow
@pytest.mark.parametrize("ties", [False, True])
def test_traffic_that_does_not_drift_is_rarely_flagged_in_any_window(ties):
    rng = np.random.default_rng(1)
    flagged = []
    for _ in range(400):
        draw = rng.normal(size=900)
        draw = np.round(draw) if ties else draw
        windows = drift.timeline(draw[300:], draw[:300], 0.0, window=60, alpha=0.1)
        flagged.append(any(window.drifted for window in windows))
    assert np.mean(flagged) <= 0.1 + 4 * np.sqrt(0.1 * 0.9 / 400)


def test_a_single_window_is_flagged_about_as_often_as_alpha_says():
    rng = np.random.default_rng(5)
    flagged = [
        drift.compare(draw[300:], draw[:300], 0.0, alpha=0.2).drifted
        for draw in rng.normal(size=(400, 500))
    ]
    assert abs(np.mean(flagged) - 0.2) <= 0.02 + 4 * np.sqrt(0.2 * 0.8 / 400)


def test_a_score_at_the_threshold_is_not_below_it():
    assert drift.compare(np.array([1.0, 2.0, 3.0]), ID, 2.0).below == 1 / 3


@pytest.mark.parametrize(
    "change",
    [lambda s: s - 0.8, lambda s: s + 0.8, lambda s: 2 * s],
    ids=["lower", "higher", "wider"],
)
def test_a_change_of_any_kind_is_found_where_it_begins(change):
    rng = np.random.default_rng(2)
    scores = rng.normal(size=1000)
    scores[500:] = change(scores[500:])
    windows = drift.timeline(scores, ID, threshold=-1.6, window=250)
    assert [window.drifted for window in windows] == [False, False, True, True]


def test_few_ood_images_among_many_are_found():
    scores = np.random.default_rng(3).normal(size=2000)
    scores[::8] -= 6  # 12.5 %
    assert drift.compare(scores, ID, threshold=-1.6).drifted


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (99, [99]), (100, [100]), (250, [100, 150])]
)
def test_windows_hold_every_score_once_and_none_is_short(count, sizes):
    windows = drift.timeline(np.zeros(count), ID, 0.0, window=100)
    assert [window.images for window in windows] == sizes
    assert [window.first for window in windows] == [0, 100][: len(sizes)]


def test_large_samples_use_the_asymptotic_p_value():
    rng = np.random.default_rng(4)
    one, other = rng.normal(size=3000), rng.normal(size=3000)
    expected = stats.ks_2samp(one, other, method="exact").pvalue
    assert drift.compare(one, other, 0.0).p_value == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scores": []}, "traffic scores must be a non-empty"),
        ({"scores": [0.0, np.nan]}, "1 NaN"),
        ({"calibration": []}, "ID scores must be a non-empty"),
        ({"window": 0}, "window must be an integer >= 1"),
        ({"alpha": 5}, r"alpha must be a fraction in \(0, 1\)"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    given = {"scores": np.zeros(3), "calibration": ID, "threshold": 0.0, **arguments}
    with pytest.raises(ValueError, match=message):
        drift.timeline(**given)
