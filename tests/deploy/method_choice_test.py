"""The method that is chosen is the best one on the images that were compared."""

import dataclasses
import json

from helpers import brightness
from helpers.tiny_network import MODEL
from helpers.tiny_network import VARIABLES
import numpy as np
import pytest

import jood
from jood import metrics
from jood.core import compose
from jood.data.id_splits import IdSplits
from jood.data.sources import ArraySource
from jood.deploy import fit_job
from jood.deploy import method_choice
from jood.methods import preset_values
from jood.weights import checkpoint

SIZE = brightness.SIZE


def grays(levels, labels=False):
    images = np.stack([brightness.gray(level) for level in levels])
    given = np.arange(len(levels), dtype=np.int32) % 2 if labels else None
    return ArraySource(images, given)


def splits(held_out=90):
    """ID images are gray, of any brightness; the network's logit is that brightness."""
    levels = np.random.default_rng(0).integers(100, 140, 60 + held_out)
    return IdSplits(
        name="grays",
        fit=grays(levels[:60], labels=True),
        calibration=grays(levels[60:]),
        check=None,
        preprocessing=brightness.FIT,
        class_names=("bright", "dark"),
    )


# Brighter is more ID: right for darkness alone. Near the mean: right for both.
METHODS = {name: jood.parse(name) for name in ("max_logit()", "mahalanobis()")}
DARK, BRIGHT = grays(range(0, 40, 2)), grays(range(200, 240, 2))


def choose(**others):
    detector = brightness.detector()
    rest, apart = method_choice.held_apart(splits(), needed=19, seed=0)
    return rest, method_choice.choose(
        detector, METHODS, rest.fit, apart, others, batch_size=16
    )


@pytest.mark.slow
def test_the_best_mean_over_the_named_sets_is_chosen():
    rest, choice = choose(dark=DARK, bright=BRIGHT)
    assert choice.method == "mahalanobis()"
    assert choice.contrasts["max_logit()"]["dark"][0] == 1
    assert choice.contrasts["max_logit()"]["bright"][0] == 0
    assert choice.contrasts["mahalanobis()"] == {"dark": (1, 0), "bright": (1, 0)}
    assert (choice.compared, choice.fitted, choice.synthetic) == (30, 60, False)
    # What the bundle learned is what the method learns by itself.
    alone = dataclasses.replace(
        brightness.detector(calibration=None), component=METHODS["mahalanobis()"]
    ).fit([(rest.fit.images, rest.fit.labels)])
    found, expected = (d(BRIGHT.images) for d in (choice.detector, alone))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    text = choice.text()
    assert "30 ID images, which are not calibrated on, against the OOD images" in text
    first = next(line for line in text.splitlines() if "/ 0.0" in line)
    assert first.split()[0] == "mahalanobis()"
    assert "chosen by the best mean AUROC: mahalanobis()" in text

    made = fit_job.make(choice.detector, rest, 0.9, batch_size=16, choice=choice)
    assert made.images == {"fit": 60, "calibrate": 60, "check": 0, "compare": 30}
    assert len(made.detector.calibration.scores["score"]) == 60
    assert text in made.text()
    assert json.loads(json.dumps(choice.as_json()))["method"] == "mahalanobis()"


def test_without_ood_images_some_are_made_of_id_images():
    _, choice = choose()
    assert choice.synthetic
    assert list(choice.contrasts["mahalanobis()"]) == list(method_choice.MADE_ON)
    # Gray images are what they were, however their pieces are moved.
    assert choice.contrasts["mahalanobis()"]["jigsaw"][0] == pytest.approx(0.5)
    assert "against images made from them" in choice.text()
    assert "--ood=NAME=FOLDER" in choice.text()


def test_images_to_compare_on_are_not_calibrated_on():
    data = splits()
    rest, apart = method_choice.held_apart(data, needed=19, seed=0)
    assert (len(rest.calibration), len(apart)) == (60, 30)
    found = np.concatenate([rest.calibration.images, apart.images])[:, 0, 0, 0]
    expected = data.calibration.images[:, 0, 0, 0]
    np.testing.assert_array_equal(np.sort(found), np.sort(expected))
    rest, apart = method_choice.held_apart(splits(30), needed=19, seed=0)
    assert (len(rest.calibration), len(apart)) == (20, 10)
    with pytest.raises(ValueError, match=r"beside the 19 .* only 28 are held out"):
        method_choice.held_apart(splits(28), needed=19, seed=0)


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("classes", [3, 0])
def test_auto_asks_what_the_network_and_the_images_allow(labelled, classes):
    rows = method_choice.rows("auto", "folders", "resnet18")
    methods = {name: row.component for name, row in rows.items()}
    assert tuple(methods) == method_choice.CANDIDATES
    compose.bundle(**methods)
    assert not any(m.needs_network or m.edits for m in methods.values())
    network = checkpoint.TrainedNetwork(
        MODEL.clone(num_classes=classes), VARIABLES, "resnet_small", None,
        brightness.FIT, SIZE, {},
    )  # fmt: skip
    kept = method_choice.possible(methods, network, grays([1, 2], labelled))
    assert "KNN" in kept
    assert ("HIMPLoS" in kept) == (labelled and classes > 0)
    assert ("MSP" in kept) == (classes > 0)


def test_a_list_of_methods_is_compared_and_named():
    found = method_choice.rows("msp, mine=knn(k=5)", "folders")
    specs = {name: row.component.spec for name, row in found.items()}
    assert specs == {"msp": "msp()", "mine": "knn(k=5, capacity=50000)"}
    assert "folders" in preset_values.BENCHMARKS


def test_metrics_are_those_of_the_scores():
    _, choice = choose(dark=DARK)
    _, apart = method_choice.held_apart(splits(), needed=19, seed=0)
    inside, outside = (choice.detector(s.images) for s in (apart, DARK))
    expected = metrics.auroc(inside, outside), metrics.fpr_at_tpr(inside, outside)
    assert choice.contrasts[choice.method]["dark"] == pytest.approx(expected)
