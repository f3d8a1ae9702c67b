"""Pixel MSP, also of a segmentation network from end to end."""

from flax import linen as nn
from helpers import compiled
from helpers.random_maps import random_maps
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import maps as reference_maps
from scipy import special

import jood
from jood.methods.scores import feature_map
from jood.methods.scores import feature_sim
from jood.methods.scores.pixel_msp import mean_confidence
from jood.methods.scores.pixel_msp import pixel_msp
from jood.methods.transforms import ta


@pytest.mark.parametrize("block", [1, 4 * 7 * 3, 1 << 24])
def test_pixel_msp_equals_the_reference_in_any_block_size(monkeypatch, block):
    monkeypatch.setattr(feature_map, "_BLOCK", block)
    rng = np.random.default_rng(1)
    kernel, bias = rng.normal(size=(7, 3)).astype("f"), rng.normal(size=3).astype("f")
    got = compiled.run(lambda *xs: mean_confidence(*xs), random_maps(), kernel, bias)
    expected = reference_maps.pixel_msp(random_maps(), kernel, bias)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_pixel_msp_needs_the_head_s_channels():
    maps = np.ones((2, 3, 3, 5), "f")
    acts = jood.Activations.of(
        np.ones((2, 4), "f"), np.ones((4, 3), "f"), stages={"C5": maps}
    )
    with pytest.raises(ValueError, match=r"takes 4 channels.*'C5', whose map has 5"):
        pixel_msp().apply((), acts)


def test_a_stage_that_is_no_name_is_refused():
    with pytest.raises(ValueError, match="stage must be a stage's name"):
        pixel_msp(stage=5)


class _Segmenter(nn.Module):
    """A backbone and a 1x1 convolution: logits of every location, [B, H, W, K]."""

    @nn.compact
    def __call__(self, images):
        x = _Block(8, name="C4")(images)
        x = _Block(6, name="C5")(x)
        return nn.Conv(3, (1, 1), name="head")(x)


class _Block(nn.Module):
    features: int

    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Conv(self.features, (3, 3), (2, 2), name="conv")(x))


@pytest.mark.slow
def test_a_segmentation_network_end_to_end(tmp_path):
    model = _Segmenter()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    preprocessing = jood.Preprocessing((0.5,) * 3, (0.25,) * 3)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    component = jood.bundle(
        msp=pixel_msp(),
        ta=jood.chain(ta(k=0.1), pixel_msp()),
        fs=feature_sim(),
    )
    detector = jood.Detector(component, model, variables, preprocessing=preprocessing)
    detector = detector.calibrate([images], tpr=0.75)
    output = detector.run(images)
    logits = jax.jit(lambda x: model.apply(variables, preprocessing(x)))(images)
    logits = np.asarray(logits)
    expected = special.softmax(logits, -1).max(-1).mean((1, 2))
    np.testing.assert_allclose(output.scores["msp"], expected, rtol=1e-5)
    assert not np.allclose(output.scores["ta"], expected, rtol=1e-4)
    # The network has no one answer; the record's is that of the mean logits.
    np.testing.assert_array_equal(
        output.prediction, np.argmax(logits.mean((1, 2)), axis=-1)
    )
    detector.save(tmp_path / "segmenter")
    loaded = jood.Detector.load(tmp_path / "segmenter", model, component)
    np.testing.assert_array_equal(loaded(images)["msp"], output.scores["msp"])
