"""Detectors, networks and benchmarks that do not fit together are refused early."""

import types

from helpers import tiny_network
import numpy as np
import pytest

import jood
from jood import models
from jood import testing
from jood.data import benchmarks
from jood.data.sources import ArraySource
from jood.data.sources.absent import Absent
from jood.evaluation import preflight
from jood.methods import detector_text
from jood.testing import toy

CLASSES = ("cat", "dog", "frog")
VARIABLES = tiny_network.VARIABLES
OOD_HEAD = toy.toy_variables()["ood_head"]


@pytest.fixture(scope="module")
def digits():
    return benchmarks.get("digits_tiny")


def trained(**changes):
    usual = {
        "name": "resnet20",
        "image_size": 32,
        "class_names": CLASSES,
        "preprocessing": jood.Preprocessing((0.5,) * 3, (0.25,) * 3),
        "source": {"benchmark": "cifar10", "seed": 0},
    }
    return types.SimpleNamespace(**{**usual, **changes})


def test_networks_that_are_averaged_differ_in_their_weights_alone():
    other = {"benchmark": "cifar10", "seed": 1}
    preflight.check_alike({"a": trained()})
    preflight.check_alike({"a": trained(), "b": trained(source=other)})
    wrong = trained(name="resnet56", image_size=64)
    with pytest.raises(ValueError, match="c: model resnet56, but a has resnet20") as e:
        preflight.check_alike({"a": trained(), "b": trained(), "c": wrong})
    assert "c: image size 64, but a has 32" in str(e.value)
    for changes in ({"class_names": ("x",)}, {"source": {"benchmark": "digits"}}):
        with pytest.raises(ValueError, match="same model and benchmark"):
            preflight.check_alike({"a": trained(), "b": trained(**changes)})


def test_scores_of_the_classifier_are_refused_for_a_backbone(digits):
    model = models.create("resnet18", 0, width=4)
    with pytest.raises(ValueError, match="reads the classifier"):
        preflight.check({"MSP": jood.scores.msp()}, model, digits.image_size)


def test_other_classes_than_the_benchmarks_are_refused():
    model = types.SimpleNamespace(num_classes=3)
    benchmark = types.SimpleNamespace(name="pets", class_names=CLASSES)
    preflight.check_classes(model, CLASSES, benchmark)
    preflight.check_classes(model, None, benchmark)
    preflight.check_classes(model, ("n1", "n2", "n3"), benchmark)  # other words
    with pytest.raises(ValueError, match="in another order"):
        preflight.check_classes(model, ("dog", "cat", "frog"), benchmark)
    with pytest.raises(ValueError, match="4 classes, but pets has 3"):
        preflight.check_classes(types.SimpleNamespace(num_classes=4), None, benchmark)


def test_what_a_network_lacks_is_left_out_with_the_reason():
    backbone = models.create("resnet18", 0, width=4)
    texts = {"MSP": "msp()", "FS": "feature_sim()", "SSOD": "ood_factor()"}
    texts["Blocks"] = "feature_norm_selected(among='blocks')"
    parts = detector_text.parse_each(texts)
    kept, out = preflight.possible(parts, backbone, VARIABLES)
    assert list(kept) == ["FS", "Blocks"]
    assert "no classifier" in out["MSP"]
    assert "no OOD head" in out["SSOD"]
    whole = {**VARIABLES, "ood_head": OOD_HEAD}
    assert preflight.possible(parts, tiny_network.MODEL, whole) == (parts, {})
    flat = {"params": {"head": VARIABLES["params"]["head"]}}
    _, out = preflight.possible(parts, tiny_network.MODEL, flat)
    assert "no residual blocks" in out["Blocks"]


def test_training_images_are_missed_by_what_learns_from_them():
    parts = detector_text.parse_each({"FS+TA": "fs_ta", "KNN": "knn(k=1)"})
    absent = Absent("cifar10 lacks its ID set below data")
    network = (tiny_network.MODEL, VARIABLES)
    assert list(preflight.possible(parts, *network, absent)[0]) == ["FS+TA"]
    assert preflight.possible(parts, *network)[0] == parts
    with pytest.raises(FileNotFoundError, match=r"KNN learn from .* below data"):
        preflight.check_training(parts, absent)
    preflight.check_training({"FS+TA": parts["FS+TA"]}, absent)


def test_labels_are_missed_by_what_learns_per_class():
    texts = {"SHE": "she()", "KNN": "knn(k=1)", "TA": "ta(k=0.1)|mahalanobis()"}
    parts = detector_text.parse_each({**texts, "MSP": "msp()"})
    images, labels = testing.toy_images(4, seed=0)
    images = np.uint8(128 + 20 * images)
    network = (tiny_network.MODEL, VARIABLES)
    unlabelled, labelled = ArraySource(images), ArraySource(images, np.array(labels))
    kept, out = preflight.possible(parts, *network, unlabelled)
    assert list(kept) == ["KNN", "MSP"]
    assert "no labels" in out["TA"]
    with pytest.raises(ValueError, match="SHE, TA learn something per class"):
        preflight.check_training(parts, unlabelled)
    preflight.check_training(kept, unlabelled)
    preflight.check_training(parts, labelled)


def test_a_score_of_the_ood_head_needs_variables_with_one(digits):
    parts = {"SSOD": jood.scores.ood_factor()}
    with pytest.raises(ValueError, match=r"OOD head.*--objective=ssod"):
        preflight.check(parts, models.create("resnet_small", 8), digits.image_size)
