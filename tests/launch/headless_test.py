"""Backbones without a classifier: of detection and segmentation networks."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood.core import activations
from jood.core.backbones import linen
from jood.core.backbones import observing


class Stage(nn.Module):
    features: int
    stride: int

    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Conv(self.features, (3, 3), self.stride)(x))


class Backbone(nn.Module):
    @nn.compact
    def __call__(self, images):
        return Stage(6, 2, name="C5")(Stage(4, 1, name="C4")(images))


MODEL = Backbone()
IMAGES = np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype(np.float32)
VARIABLES = MODEL.init(jax.random.key(0), IMAGES)
TAPS = linen.Taps(head=None)


def test_the_feature_is_the_mean_of_the_last_map_and_there_is_no_class():
    acts = observing.observe(MODEL, VARIABLES, jnp.asarray(IMAGES), taps=TAPS)
    assert acts.logits.shape == (5, 0)
    assert acts.kernel.shape == (6, 0)
    np.testing.assert_array_equal(acts.prediction, np.zeros(5))
    expected = np.asarray(acts.stages["C5"]).mean(axis=(1, 2))
    np.testing.assert_allclose(acts.penultimate, expected, rtol=1e-6)


@pytest.mark.slow
def test_scores_of_maps_and_of_the_pooled_map_work_fit_and_save(tmp_path):
    text = "bundle(fs=ta(k=0.1)|feature_sim(), knn=knn(k=2))"
    detector = jood.Detector(text, MODEL, VARIABLES, head=None).fit([IMAGES])
    scores = detector(IMAGES)
    acts = observing.observe(MODEL, VARIABLES, jnp.asarray(IMAGES), taps=TAPS)
    unit = acts.penultimate / jnp.linalg.norm(acts.penultimate, axis=1, keepdims=True)
    second = np.sort(np.linalg.norm(unit[:, None] - unit[None], axis=-1), axis=1)[:, 1]
    np.testing.assert_allclose(scores["knn"], -second, atol=1e-5)
    assert scores["fs"].std() > 0
    detector.save(tmp_path / "saved")
    loaded = jood.Detector.load(tmp_path / "saved", model=MODEL)
    np.testing.assert_array_equal(loaded(IMAGES)["knn"], scores["knn"])


@pytest.mark.parametrize(
    "text", ["energy()", "vim()", "fuse(feature_sim(), msp(), weights=(1, 1))"]
)
def test_scores_that_read_the_classifier_are_refused(text):
    with pytest.raises(ValueError, match=r"reads the classifier.*head=None"):
        jood.Detector(text, MODEL, VARIABLES, head=None)


def test_a_model_without_stages_needs_a_head():
    model = nn.Sequential([nn.Conv(4, (3, 3)), nn.relu])
    variables = model.init(jax.random.key(0), IMAGES)
    with pytest.raises(ValueError, match="needs stages to be read from"):
        observing.observe(model, variables, jnp.asarray(IMAGES), taps=TAPS)


def test_a_missing_head_is_named_with_the_way_out():
    with pytest.raises(ValueError, match="or head=None for a backbone without one"):
        observing.observe(MODEL, VARIABLES, jnp.asarray(IMAGES))


def test_a_record_without_classes_can_be_built_from_features():
    acts = activations.Activations.of(np.ones((2, 3), "f"), np.zeros((3, 0), "f"))
    assert acts.logits.shape == (2, 0)
