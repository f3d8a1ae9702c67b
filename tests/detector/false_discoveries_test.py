"""Judging a batch: few of the images called OOD are ID, over many draws."""

import numpy as np
import pytest
import scipy.stats

import jood
from jood.detector import calibrating
from jood.detector import false_discoveries
from jood.detector.calibration import Calibration

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("size", [1, 2, 7, 200])
@pytest.mark.parametrize("tied", [False, True])
def test_q_values_are_scipys(size, tied):
    p = RNG.uniform(1e-6, 1, size)
    p = np.ceil(p * 10) / 10 if tied else p
    expected = scipy.stats.false_discovery_control(p)
    np.testing.assert_allclose(jood.q_values(p), expected, rtol=1e-12)


def obvious(p, fdr):
    """The largest k with p_(k) <= fdr k / B; the k smallest are discoveries."""
    ranked = sorted(p)
    kept = [k for k in range(1, len(p) + 1) if ranked[k - 1] <= fdr * k / len(p)]
    return [x <= ranked[max(kept) - 1] if kept else False for x in p]


@pytest.mark.parametrize("fdr", [0.05, 0.2, 0.5])
def test_discoveries_are_those_of_the_step_up_procedure(fdr):
    for _ in range(50):
        p = RNG.uniform(size=30) ** 3
        assert jood.discoveries(p, fdr).tolist() == obvious(p, fdr)


def false_shares(fdr, judge, per_class=False, draws=1_000, known=180, ood=10):
    """Per draw, the share of ID images among those called OOD: known of known + ood."""
    rng = np.random.default_rng(1)
    found, power = [], []
    for _ in range(draws):
        held = rng.standard_normal(500).astype("f")
        scores = np.r_[rng.standard_normal(known), rng.normal(-4, 1, ood)].astype("f")
        answers, new = rng.integers(0, 2, 500), rng.integers(0, 2, known + ood)
        # Class 1 has other scores, with which one threshold could not deal.
        if per_class:
            held, scores = held * (1 + 3 * answers), scores * (1 + 3 * new)
        fitted = calibrating.of_scores(
            {"s": held},
            answers,
            1 - fdr,
            "energy()",
            thresholds="per_class" if per_class else "one",
            num_classes=2,
        )
        called = judge(fitted.p_values({"s": scores}, new)["s"], fdr)
        found.append(called[:known].sum() / max(called.sum(), 1))
        power.append(called[known:].mean())
    return np.array(found), np.mean(power)


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("fdr", [0.1, 0.3])
def test_of_the_discoveries_few_are_id(fdr, per_class):
    shares, power = false_shares(fdr, jood.discoveries, per_class)
    promised = fdr * 180 / 190
    assert shares.mean() <= promised + 4 * shares.std() / np.sqrt(len(shares))
    assert shares.mean() >= promised / 2  # and OOD images are not kept in vain
    assert power > 0.3


def test_a_threshold_for_each_image_would_break_the_promise():
    """So the test above can tell."""
    shares, _ = false_shares(0.1, lambda p, alpha: p <= alpha, draws=100)
    assert shares.mean() > 0.5


@pytest.mark.parametrize(
    ("p", "match"),
    [
        ([0.1, np.nan], r"shape \(2,\), 1 value\(s\) outside.*could not be read"),
        ([0.0, 0.5], r"1 value\(s\) outside"),
        ([[0.5]], r"shape \(1, 1\)"),
        ({"a": [0.1], "b": [0.2]}, r"2 detectors \(a, b\).*each detector by itself"),
    ],
)
def test_what_is_no_vector_of_p_values_is_refused(p, match):
    with pytest.raises(ValueError, match=match):
        jood.discoveries(p)


@pytest.mark.parametrize("fdr", [0.0, 1.0, -0.1, float("nan")])
def test_a_rate_that_is_no_fraction_is_refused(fdr):
    with pytest.raises(ValueError, match="fdr must be a fraction"):
        jood.discoveries([0.5], fdr)


@pytest.mark.parametrize(("held", "images", "fdr"), [(19, 40, 0.1), (99, 1000, 0.05)])
def test_fewest_says_how_many_must_be_found(held, images, fdr):
    calibration = Calibration(0.5, {"s": np.arange(float(held))})
    k = false_discoveries.fewest(images, calibration.least_p_value(), fdr)
    for count, found in ((k, True), (k - 1, False)):
        lowest = np.full(count, -1.0)  # below all calibration scores
        scores = np.r_[lowest, np.full(images - count, float(held))]
        p = calibration.p_values({"s": scores})["s"]
        assert jood.discoveries(p, fdr).any() == found


def test_too_few_calibration_images_for_a_rate_are_refused():
    calibration = Calibration(0.5, {"s": np.arange(18.0)})
    with pytest.raises(ValueError, match=r"18 calibration.*at least 19 held-out"):
        false_discoveries.fewest(100, calibration.least_p_value(), 0.05)
