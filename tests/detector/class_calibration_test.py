"""Thresholds per class: the promise holds in every class, and no more is claimed."""

import dataclasses

from helpers import toy_detectors
import numpy as np
import pytest

import jood
from jood.detector import calibrating
from jood.detector.calibration import Calibration
from jood.detector.class_calibration import ClassCalibration

DRAWS = 1_500
CLASSES = 3
TEXT = "max_logit()"


def drawn(rng, count):
    """Scores and answers of ID images: classes differ in mean, spread and share."""
    prediction = rng.choice(CLASSES, count, p=[0.5, 0.3, 0.2])
    scores = rng.normal(np.array([4.0, 2.0, 0.0])[prediction], 1.0 + prediction)
    return scores.astype(np.float32), prediction


def per_class(scores, prediction, tpr, **options):
    return calibrating.of_scores(
        {"s": scores},
        prediction,
        tpr,
        TEXT,
        thresholds="per_class",
        num_classes=CLASSES,
        **options,
    )


def alarms_by_class(thresholds, seed=0, tpr=0.9):
    """The share of new ID images of each class that are called OOD, [draws, K]."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(DRAWS):
        scores, prediction = drawn(rng, 160)
        options = {"thresholds": thresholds, "num_classes": CLASSES}
        new, answers = drawn(rng, 120)
        fitted = calibrating.of_scores({"s": scores}, prediction, tpr, TEXT, **options)
        called = new < fitted.thresholds_of(answers)["s"]
        by_p_value = fitted.p_values({"s": new}, answers)["s"] <= 1 - tpr + 1e-9
        np.testing.assert_array_equal(called, by_p_value)
        found.append([called[answers == k].mean() for k in range(CLASSES)])
    return np.array(found)


def test_in_every_class_few_id_images_are_called_ood():
    alarms = alarms_by_class("per_class")
    sigma = alarms.std(0) / np.sqrt(DRAWS)
    assert (alarms.mean(0) <= 0.1 + 4 * sigma).all()
    assert (alarms.mean(0) >= 0.06).all()  # and none is kept in vain


def test_one_threshold_would_break_the_promise_in_a_class():
    """So the test above can tell."""
    alarms = alarms_by_class("one").mean(0)
    assert alarms[2] > 0.3
    assert alarms[0] < 0.01


def test_the_upper_bound_holds_in_all_classes_at_once():
    rng = np.random.default_rng(1)
    counts, tpr, draws = (19, 40, 100), 0.95, 4_000
    parts = [{"s": np.arange(float(n))} for n in counts]
    fitted = ClassCalibration(tuple(Calibration(tpr, part) for part in parts))
    promise = fitted.promises()["s"]
    assert promise.images == sum(counts)
    assert promise.expected == pytest.approx(max(1 / 20, 2 / 41, 5 / 101))
    alarms = []  # of uniform scores they are γ
    for n in counts:
        rank = int(0.05 * (n + 1) + 1e-9)
        alarms.append(np.sort(rng.uniform(size=(draws, n)))[:, rank - 1])
    share = np.mean(np.max(alarms, axis=0) <= promise.upper)
    assert share >= 0.95 - 4 * np.sqrt(0.95 * 0.05 / draws)
    alone = [one.promises()["s"].upper for one in fitted.classes]
    assert promise.upper > max(alone)


@pytest.mark.parametrize("tied", [False, True])
def test_its_p_values_are_those_of_an_independent_library(tied):
    crepes = pytest.importorskip("crepes.base", reason="crepes is not installed")
    rng = np.random.default_rng(2)
    (scores, prediction), (new, answers) = drawn(rng, 200), drawn(rng, 90)
    if tied:
        scores, new = np.round(scores), np.round(new)
    expected = crepes.p_values_batch(-scores, -new, prediction, answers, False)
    got = per_class(scores, prediction, 0.9).p_values({"s": new}, answers)["s"]
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_classes_with_too_few_images_are_told_with_how_many_are_needed():
    prediction = np.repeat([0, 1, 2], [30, 18, 7])
    scores = np.arange(55, dtype=np.float32)
    with pytest.raises(ValueError, match="at least 19 held-out ID images") as error:
        per_class(scores, prediction, 0.95, class_names=("ant", "bee", "cat"))
    message = str(error.value)
    assert "2 of 3 classes have fewer: bee (18), cat (7)" in message
    assert "at most 0.8750" in message
    per_class(scores, prediction, 0.875).thresholds()
    with pytest.raises(ValueError, match=r"3 of 3 .*: 0 \(30\), 1 \(18\), 2 \(7\)"):
        per_class(scores, prediction, 0.99)


def test_many_small_classes_do_not_fill_the_screen():
    with pytest.raises(ValueError, match=r"400 of 400 .*4 \(0\), \.\.\.\.") as error:
        calibrating.of_scores(
            {"s": np.arange(9.0)},
            np.zeros(9, int),
            0.95,
            TEXT,
            thresholds="per_class",
            num_classes=400,
        )
    assert "tpr of at most" not in str(error.value)  # a class without images has none
    assert len(str(error.value)) < 400


def test_scores_of_different_images_are_no_calibration():
    scores = {"a": np.arange(30.0), "b": np.arange(31.0)}
    with pytest.raises(ValueError, match=r"same images.*a \(30\), b \(31\)"):
        Calibration(0.9, scores).thresholds()


def test_components_are_combined_and_calibrated_detectors_are_not():
    one = toy_detectors.calibrated()
    with pytest.raises(TypeError, match=r"got a Detector.*on other images.*calibrate"):
        jood.combine(one, one)


@pytest.mark.parametrize(
    ("thresholds", "num_classes", "match"),
    [("per_image", 3, "must be one of one, per_class"), ("per_class", None, "has no")],
)
def test_other_thresholds_are_refused(thresholds, num_classes, match):
    with pytest.raises(ValueError, match=match):
        calibrating.check(0.9, thresholds, num_classes)


def test_a_detector_holds_scores_against_the_threshold_of_the_answer(tmp_path):
    plain = toy_detectors.fitted(toy_detectors.BUNDLE)
    images = np.concatenate([toy_detectors.INSIDE, toy_detectors.IMAGES])
    detector = plain.calibrate([images], tpr=0.5, thresholds="per_class")
    assert "TPR 0.5 per class" in repr(detector)
    new = toy_detectors.OUTSIDE
    answer = detector.answer(new)
    held = plain.run(images)
    for name, gamma in detector.threshold.items():
        assert gamma.shape == (4,)
        for i, k in enumerate(answer.prediction):
            own = held.scores[name][held.prediction == k]
            score = answer.score[name][i]
            p = (1 + sum(own <= score)) / (1 + len(own))
            assert answer.p_value[name][i] == pytest.approx(p)
            assert answer.is_ood[name][i] == (score < gamma[k])
    detector.save(tmp_path / "saved")
    loaded = jood.Detector.load(tmp_path / "saved", detector.model)
    again = loaded.answer(new)
    detector.export(tmp_path / "exported.zip")
    columns = jood.Scorer(tmp_path / "exported.zip")({"image": list(new)})
    for name in detector.threshold:
        np.testing.assert_array_equal(again.is_ood[name], answer.is_ood[name])
        np.testing.assert_array_equal(again.p_value[name], answer.p_value[name])
        np.testing.assert_array_equal(columns[f"is_ood_{name}"], answer.is_ood[name])
        np.testing.assert_allclose(columns[f"p_value_{name}"], answer.p_value[name])


def test_thresholds_of_other_classes_are_refused():
    detector = toy_detectors.fitted()
    one = Calibration(0.5, {"score": np.arange(9, dtype=np.float32)})
    other = ClassCalibration((one,) * 7)
    with pytest.raises(ValueError, match="thresholds for 7 classes, the network has"):
        dataclasses.replace(detector, calibration=other)
