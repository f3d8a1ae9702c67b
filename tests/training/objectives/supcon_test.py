"""SupCon, and the KNN score of its networks, against their authors' code."""

from helpers import compiled
from helpers import golden_training as golden
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood.methods import detector_text
from jood.training import objectives
from jood.training.objectives.projection import unit
from jood.training.objectives.supcon import contrastive_loss
from jood.training.objectives.supcon import same

LABELS, NONE, MASK = 0, 1, 2  # what the file calls `mode`


def positives(given):
    """P(i) of all anchors, [A, N]."""
    batch, views, _ = given["z"].shape
    labels = jnp.tile(given["labels"], views)
    images = jnp.tile(jnp.arange(batch), views)
    mode = given.get("mode", LABELS)
    if mode == MASK:
        whole = jnp.tile(given["mask"], (views, views))
    else:
        whole = same(labels if mode == LABELS else images)
    return whole[:batch] if given.get("contrast_mode_one") else whole


def test_loss_and_gradients_are_those_of_the_published_code(golden_training_dir):
    for group, given in golden.groups(golden_training_dir, "supcon"):
        if "loss" not in given:
            continue
        T, base = given["temperature"], given["base_temperature"]

        def of_features(features, T=T, base=base, given=given):
            stacked = jnp.concatenate(jnp.unstack(features, axis=1))  # view-major
            return contrastive_loss(stacked, positives(given), T, base)

        def of_z(z, of_features=of_features):
            return of_features(unit(z))

        golden.check(of_z, {"z": given["z"]}, given, group)
        if "features" in given:
            inner = {"features": given["features"]}
            golden.check(of_features, inner, given, group)


def test_knn_on_its_features_is_that_of_the_published_code(golden_training_dir):
    given = dict(golden.groups(golden_training_dir, "supcon"))["knn"]
    head = np.ones((given["bank"].shape[1], 2), np.float32)
    bank, test = (jood.Activations.of(given[n], head) for n in ("bank", "test"))
    for name in (key for key in given if key.startswith("score_k")):
        part = detector_text.parse(f"knn(k={name.removeprefix('score_k')})")
        distance = compiled.apply(part, jood.fit(part, [bank]), test)
        golden.close(-np.square(distance), given[name], name)


def test_a_batch_of_one_class_and_zero_features_stay_finite():
    rows = np.zeros((4, 3), np.float32)
    rows[0] = 1.0

    def loss(rows, labels):
        return contrastive_loss(unit(rows), same(labels), 0.1)

    assert np.isfinite(compiled.run(loss, rows, np.zeros(4, int)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("supcon(temperature=0)", "temperature must be"),
        ("supcon(width=0.5)", "width must be an integer"),
        ("supcon(positives='all')", "positives must be 'class' or 'image', got 'all'"),
    ],
)
def test_bad_values_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        objectives.parse(text)
