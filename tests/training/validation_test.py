"""Validation while training: ID accuracy, and metrics against Gaussian noise."""

from helpers import tiny_network
import jax
import numpy as np
import pytest

import jood
from jood import metrics
from jood._utils import sharding
from jood.data.sources import ArraySource
from jood.training import objectives
from jood.training import validation

RNG = np.random.default_rng(0)
SOURCE = ArraySource(
    RNG.integers(0, 256, (22, 16, 16, 3)).astype(np.uint8),
    RNG.integers(0, 3, 22).astype(np.int32),
)
PREPROCESSING = jood.Preprocessing((0.5,) * 3, (0.25,) * 3)
HEAD = {"kernel": RNG.normal(size=(8, 1)).astype("f"), "bias": np.zeros(1, "f")}
VARIABLES = {**tiny_network.VARIABLES, "ood_head": HEAD}


def measure(devices=1, batch_size=8, detectors=None, variables=VARIABLES):
    mesh = sharding.data_mesh(jax.devices()[:devices])
    validate = validation.Validation(
        tiny_network.MODEL,
        PREPROCESSING,
        SOURCE,
        mesh,
        batch_size,
        detectors or {**validation.DETECTORS, **objectives.ssod().validation},
    )
    return validate, validate(sharding.replicate(variables, mesh))


@pytest.mark.slow
def test_metrics_are_those_of_the_images_against_noise():
    validate, found = measure()
    assert set(found) == set(validate.names)
    acts = jood.observe(tiny_network.MODEL, VARIABLES, PREPROCESSING(SOURCE.images))
    right = np.asarray(acts.prediction) == SOURCE.labels
    assert found["accuracy"] == right.mean()
    noise = np.concatenate(  # batch by batch, the last one cut
        [
            np.asarray(
                jax.random.normal(
                    jax.random.fold_in(jax.random.key(0), i), (8, 16, 16, 3)
                )
            )
            for i in range(3)
        ]
    )[:22]
    other = jood.observe(tiny_network.MODEL, VARIABLES, noise)
    for name, text in {"energy": "energy()", "ood_factor": "ood_factor()"}.items():
        score = jood.parse(text)
        score = score.ranking or score
        pair = [np.asarray(score.apply((), a)) for a in (acts, other)]
        np.testing.assert_allclose(
            found[f"noise_auroc_{name}"], metrics.auroc(*pair), atol=0.01
        )
        np.testing.assert_allclose(
            found[f"noise_fpr95_{name}"], metrics.fpr_at_tpr(*pair), atol=0.05
        )


@pytest.mark.slow
def test_two_devices_measure_what_one_measures():
    _, one = measure()
    _, two = measure(devices=2)
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, atol=0.05, err_msg=name)


def test_what_fits_something_cannot_be_asked_while_training():
    with pytest.raises(ValueError, match=r"fit nothing, got knn=knn\(k=50"):
        measure(detectors={"knn": "knn(k=50)"})
    with pytest.raises(ValueError, match="scores that fit nothing"):
        measure(detectors={"ta": "ta(k=0.2)"})
