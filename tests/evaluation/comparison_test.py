"""`jood.compare`: many detectors on a user's images in one call, and what it says."""

from helpers.toy_detectors import IMAGES
from helpers.toy_detectors import INSIDE
from helpers.toy_detectors import LABELS
from helpers.toy_detectors import OUTSIDE
from helpers.toy_detectors import TRAIN
from helpers.toy_detectors import toy
import numpy as np
import pytest

import jood
from jood import metrics
from jood.evaluation import comparison

CONTRARY = jood.component.score("contrary()", lambda acts: -acts.logits.max(-1))
ROWS = {"MSP": "msp()", "React": "react(q=0.9)|energy()", "contrary": CONTRARY}
SETS = {"new": [OUTSIDE[:25], OUTSIDE[25:]], "old": [IMAGES[:20]]}


@pytest.fixture(scope="module")
def found():
    held_out = iter([(IMAGES[:24], LABELS[:24]), (IMAGES[24:], LABELS[24:])])
    sets = {name: iter(batches) for name, batches in SETS.items()}  # read once
    return jood.compare(ROWS, toy("max_logit()"), TRAIN, held_out, sets)


@pytest.mark.slow
def test_rows_are_what_each_detector_alone_gives(found):
    alone = toy(ROWS["React"]).fit(TRAIN)
    np.testing.assert_allclose(
        found.evaluation.id_scores["React"], alone(IMAGES), rtol=1e-5
    )
    for name, batches in SETS.items():
        outside = alone(np.concatenate(batches))
        scores = found.evaluation.ood_scores[name]["React"]
        np.testing.assert_allclose(scores, outside, rtol=1e-5)
        for metric in ("AUROC", "FPR95"):
            value = metrics.COLUMNS[metric].metric(alone(IMAGES), outside)
            assert found.values("React", metric)[name] == pytest.approx(value, abs=0.03)
    assert list(found.values("MSP", "AUROC")) == ["mean", "new", "old"]
    assert found.specs["React"] == "react(q=0.9)|energy(T=1.0)"
    assert 0.9 < found.evaluation.accuracy <= 1


def test_msp_is_ranked_by_its_log_odds(found):
    assert (found.evaluation.id_scores["MSP"] > 1).any()  # no probability is


def test_it_prints_itself_with_the_best_and_what_barely_works(found):
    text = str(found)
    lines = text.splitlines()
    assert lines[0].startswith("ID: 48 held-out images, accuracy ")
    assert "OOD: new 40, old 20." in lines[0]
    assert "AUROC / FPR95 in %, ID positive; higher / lower is better. * best" in text
    header = next(line for line in lines if line.startswith("detector"))
    assert header.split() == ["detector", "mean", "new", "old"]
    row = next(line for line in lines if line.startswith("contrary "))
    assert " !" in row
    assert "*" in next(line for line in lines if line.startswith(found.best))
    assert found.best in ("MSP", "React")
    assert "contrary" in found.barely
    assert found.barely["contrary"]["new"] < comparison.BARELY
    assert "new" not in found.barely.get("MSP", {})
    assert "BARELY WORKS HERE: " in text
    assert "contrary (catches 3 % on average, 0 % of new, 5 % of old)." in text
    assert text.endswith(f"Best on average: {found.best}.")
    assert "| contrary" in found.text("github")


def test_where_all_work_nothing_is_said():
    inside = [INSIDE]
    found = jood.compare("msp", toy("msp()"), [], inside, {"new": [OUTSIDE]})
    assert "BARELY" not in found.text()
    header = next(x for x in found.text().splitlines() if x.startswith("detector"))
    assert header.split() == ["detector", "new"]  # the mean would be the same
    assert "accuracy" not in found.text()  # without labels


@pytest.mark.slow
def test_without_ood_images_stand_ins_are_made_of_the_held_out_ones():
    detectors = ["msp", "knn(k=3)"]
    found = jood.compare(detectors, toy("msp()"), TRAIN, [INSIDE], seed=3)
    again = jood.compare(detectors, toy("msp()"), TRAIN, [INSIDE], seed=3)
    assert list(found.evaluation.ood_scores) == ["blur", "pixels", "jigsaw", "mixed"]
    assert list(found.specs) == detectors
    for kind, scores in found.evaluation.ood_scores.items():
        assert scores["msp"].shape == (40,)
        other = again.evaluation.ood_scores[kind]["msp"]
        np.testing.assert_array_equal(scores["msp"], other)
    assert "No OOD images were given, so these are stand-ins (blur: " in found.text()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"detectors": "msp, msp"}, ValueError, "has msp twice"),
        ({"detectors": ["msp", "msp"]}, ValueError, "has msp twice"),
        ({"detectors": []}, ValueError, "needs at least one"),
        ({"detectors": "mps"}, ValueError, "near: msp"),
        ({"ood": [OUTSIDE]}, TypeError, r"by name, {'unknown': \[images\]}, got list"),
        ({"ood": {}}, ValueError, r"at least one set.*got \[\]; None makes stand-ins"),
        ({"ood": {"mean": [OUTSIDE]}}, ValueError, "none of them named 'mean'"),
        ({"ood": {"new": OUTSIDE}}, TypeError, r"one array .*\[images\]"),
        ({"ood": {"new": []}}, ValueError, r"cannot compare detectors \(new\)"),
        ({"held_out": []}, ValueError, "held-out ID images"),
        ({"held_out": iter([INSIDE])}, ValueError, "read more than once.*Pass a list"),
    ],
)
def test_what_cannot_be_compared_is_told(changes, error, message):
    usual = {"detectors": "msp", "train": [], "held_out": [INSIDE]}
    given = {**usual, **changes}
    detectors = given.pop("detectors")
    with pytest.raises(error, match=message):
        jood.compare(detectors, toy("energy()"), **given)


def test_one_component_is_a_row():
    found = jood.compare(CONTRARY, toy("msp()"), [], [INSIDE], {"new": [OUTSIDE]})
    assert list(found.specs) == ["contrary()"]
    assert found.text().endswith("No detector of these works on average: try others.")
