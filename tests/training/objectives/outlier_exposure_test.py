"""Outlier Exposure and the energy margin against their authors' code."""

from helpers import compiled
from helpers import golden_training as golden
import jax.numpy as jnp
import numpy as np
import pytest

from jood.core.activations import Activations
from jood.methods import detector_text
from jood.training import objectives
from jood.training.config import TrainConfig
from jood.training.forward import TrainingPass

FEATURES = ("features_in", "features_out", "W", "b")


def joined(objective, labels):
    """The loss of an objective on ID features and those of outliers."""

    def loss(features_in, features_out, W, b):
        features = jnp.concatenate([features_in, features_out])
        outputs = TrainingPass(Activations.of(features, W.T, b), labels, None)
        return objective.loss(outputs, None)

    return loss


def of_logits(objective, labels):
    def loss(logits):
        count = logits.shape[1]
        acts = Activations.of(logits, jnp.eye(count), jnp.zeros(count))
        return objective.loss(TrainingPass(acts, labels, None), None)

    return loss


def check(objective, given, group):
    inner = {name: given[name] for name in FEATURES}
    labels = given["labels"]
    golden.check(joined(objective, labels), inner, given, group)
    logits = {"logits": given["logits"]}
    golden.check(of_logits(objective, labels), logits, given, group)
    return compiled.run(joined(objective, labels), *inner.values())[1]


def test_outlier_exposure_is_that_of_the_published_code(golden_training_dir):
    for group, given in golden.groups(golden_training_dir, "oe"):
        objective = objectives.outlier_exposure(lam=given["lambda_oe"])
        parts = check(objective, given, group)
        lam = given["lambda_oe"]
        weighted = lam * parts["outlier_loss"].total
        expected = given["loss"] - given["loss_ce"]
        golden.close(weighted, expected, f"outliers of {group}", 2e-5)
        if "score_msp" in given:
            both = np.concatenate([given["features_in"], given["features_out"]])
            acts = Activations.of(both, given["W"].T, given["b"])
            found = compiled.apply(detector_text.parse("msp()"), (), acts)
            golden.close(found, given["score_msp"], f"MSP of {group}")


def test_the_energy_margin_is_that_of_the_published_code(golden_training_dir):
    for group, given in golden.groups(golden_training_dir, "energy"):
        objective = objectives.energy_margin(
            m_in=given["m_in"], m_out=given["m_out"], lam=given["weight"]
        )
        parts = check(objective, given, group)
        found = {"hinge_in": "energy_inside", "hinge_out": "energy_outside"}
        for name, ours in found.items():
            golden.close(parts[ours].total, given[name], f"{name} of {group}")
        features = {"in": given["features_in"], "out": given["features_out"]}
        for name, rows in features.items():
            acts = Activations.of(rows, given["W"].T, given["b"])
            score = compiled.apply(detector_text.parse("energy()"), (), acts)
            golden.close(-score, given[f"energy_{name}"], f"energy {name} of {group}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("outlier_exposure(lam=-1)", "lam must be"),
        ("energy_margin(m_in=-5, m_out=-5)", "m_in must be below m_out"),
        ("energy_margin(m_in=-1e999)", "m_in must be a finite number"),
        ("energy_margin(lam=-1)", "lam must be"),
    ],
)
def test_bad_values_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        objectives.parse(text)


@pytest.mark.parametrize("name", ["outlier_exposure", "energy_margin"])
def test_a_run_without_outliers_is_refused(name):
    with pytest.raises(ValueError, match=r"trains with images that are not ID, .*name"):
        TrainConfig(objective=name)
    assert TrainConfig(objective=name, outliers="x").outliers == "x"
