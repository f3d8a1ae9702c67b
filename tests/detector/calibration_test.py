"""The promise of a calibration holds over many draws, and no more is claimed."""

import json

from helpers.toy_detectors import INSIDE
from helpers.toy_detectors import calibrated
from helpers.toy_detectors import toy
import numpy as np
import pytest

from jood.detector import calibration
from jood.detector.calibration import Calibration
from jood.detector.saving import JSON_NAME

DRAWS = 4_000


def normal(rng, shape):
    return rng.normal(size=shape)


def heavy_tailed(rng, shape):
    return rng.standard_cauchy(shape)


def tied(rng, shape):
    return np.round(rng.normal(size=shape))


def rates(draw, count, tpr, seed=0):
    """For each of many calibration sets, the share of new ID scores called OOD."""
    rng = np.random.default_rng(seed)
    found = []
    for scores in draw(rng, (DRAWS, count + 200)).astype(np.float32):
        fitted = Calibration(tpr, {"s": np.sort(scores[:count])})
        found.append(np.mean(scores[count:] < fitted.thresholds()["s"]))
    return np.array(found)


@pytest.mark.parametrize("draw", [normal, heavy_tailed, tied])
@pytest.mark.parametrize(
    ("count", "tpr"), [(19, 0.95), (37, 0.95), (100, 0.95), (9, 0.9), (30, 0.9)]
)
def test_false_alarms_stay_below_one_minus_tpr_whatever_the_scores_are(
    draw, count, tpr
):
    alarms = rates(draw, count, tpr)
    promise = Calibration(tpr, {"s": np.arange(float(count))}).promises()["s"]
    sigma = alarms.std() / np.sqrt(DRAWS)
    assert promise.expected <= 1 - tpr + 1e-9
    assert alarms.mean() <= promise.expected + 4 * sigma
    if draw is not tied:  # without ties it is met: no image is kept in vain
        assert alarms.mean() >= promise.expected - 4 * sigma


def test_a_plain_quantile_of_the_calibration_scores_would_break_the_promise():
    """So the test above can tell: 6 of 101 gaps lie below it, not 5."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(DRAWS, 300))
    quantile = np.sort(scores[:, :100])[:, 5]  # keeps exactly 95 of 100
    alarms = (scores[:, 100:] < quantile[:, None]).mean(axis=1)
    sigma = alarms.std() / np.sqrt(DRAWS)
    assert alarms.mean() > 0.05 + 4 * sigma


@pytest.mark.parametrize(("count", "tpr"), [(19, 0.95), (100, 0.9), (500, 0.95)])
def test_the_upper_bound_holds_for_95_percent_of_calibration_sets(count, tpr):
    promise = Calibration(tpr, {"s": np.arange(float(count))}).promises()["s"]
    rng = np.random.default_rng(1)
    uniform = np.sort(rng.uniform(size=(DRAWS, count)))  # whose false alarms are γ
    rank = round(promise.expected * (count + 1))
    share = np.mean(uniform[:, rank - 1] <= promise.upper)
    assert abs(share - 0.95) < 4 * np.sqrt(0.95 * 0.05 / DRAWS)
    assert promise.expected < promise.upper < 1


@pytest.mark.parametrize("count", [9, 19, 20, 39, 100, 1000])
@pytest.mark.parametrize("tpr", [0.5, 0.75, 0.8, 0.9])
def test_below_the_threshold_and_a_p_value_of_alpha_are_the_same(count, tpr):
    rng = np.random.default_rng(count)
    scores = np.sort(np.round(rng.normal(size=count), 1))
    fitted = Calibration(tpr, {"s": scores})
    new = np.round(np.linspace(-4, 4, 81), 1)
    by_p_value = fitted.p_values({"s": new})["s"] <= 1 - tpr + 1e-9
    np.testing.assert_array_equal(new < fitted.thresholds()["s"], by_p_value)


def test_p_values_of_new_id_scores_are_uniform_on_their_grid():
    rng = np.random.default_rng(2)
    count = 4
    scores = rng.normal(size=(DRAWS, count + 1))
    found = [
        Calibration(0.5, {"s": np.sort(row[:-1])}).p_values({"s": row[-1:]})["s"][0]
        for row in scores
    ]
    values, counts = np.unique(np.round(found, 6), return_counts=True)
    np.testing.assert_allclose(values, [0.2, 0.4, 0.6, 0.8, 1.0])
    assert np.abs(counts - DRAWS / 5).max() < 4 * np.sqrt(DRAWS * 0.2 * 0.8)


@pytest.mark.parametrize(
    ("tpr", "needed"),
    [(0.5, 1), (0.9, 9), (0.95, 19), (0.99, 99), (0.999, 999), (0.9999, 9999)],
)
def test_too_few_images_are_refused_with_what_they_allow(tpr, needed):
    assert calibration.images_needed(tpr) == needed
    Calibration(tpr, {"s": np.arange(float(needed))}).thresholds()
    if needed == 1:
        return
    few = Calibration(tpr, {"s": np.arange(float(needed - 1))})
    for claim in (few.thresholds, few.promises):
        with pytest.raises(ValueError, match=f"at least {needed} held-out") as error:
            claim()
        assert f"1/{needed}" in str(error.value)


def test_a_nan_among_the_scores_is_refused():
    with pytest.raises(ValueError, match="is NaN"):
        Calibration(0.5, {"s": np.array([1.0, np.nan])}).thresholds()


def test_a_saved_detector_says_on_how_many_images_and_what_that_promises(tmp_path):
    calibrated().save(tmp_path / "detector")
    content = json.loads((tmp_path / "detector" / JSON_NAME).read_text())
    found = content["calibration"]
    assert found["images"] == {"score": 40}
    promise = found["promises"]["score"]
    assert promise["images"] == 40
    assert promise["expected"] == pytest.approx(2 / 41)
    assert promise["upper"] == pytest.approx(0.1129, abs=1e-3)


def test_a_score_that_is_constant_is_warned_of():
    detector = toy("react(clip=-1.0)|energy()")
    match = (
        r"react\(clip=-1\.0\)\|energy.* each of 40 calibration images the same score"
    )
    with pytest.warns(UserWarning, match=match):
        detector.calibrate([INSIDE])
    with pytest.warns(
        UserWarning, match=r"^b gives each of 2 ID test images"
    ) as caught:
        calibration.warn_if_constant(
            {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 3.0]), "c": np.ones(1)},
            "ID test images",
        )
    assert len(caught) == 1
