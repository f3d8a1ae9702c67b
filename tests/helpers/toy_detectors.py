"""Small detectors that several test files share; fitted once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import jood
from jood import testing

SINGLE = "react(q=0.9)|energy()"
BUNDLE = "bundle(a=react(q=0.9)|energy(), b=ta(k=0.2)|feature_sim(), c=max_logit())"
IMAGES, LABELS = testing.toy_images(48, seed=0)
TRAIN = [IMAGES[:32], IMAGES[32:]]
INSIDE, _ = testing.toy_images(40, seed=1)
OUTSIDE, _ = testing.toy_images(40, seed=2, ood=True)


def toy(component=SINGLE, **fields):
    return jood.Detector(component, testing.ToyNet(), testing.toy_variables(), **fields)


@functools.cache
def fitted(component=SINGLE):
    return toy(component).fit(TRAIN)


@functools.cache
def calibrated(component=SINGLE):
    return fitted(component).calibrate([INSIDE[:20], INSIDE[20:]])


@functools.cache
def pixel_detector():
    """A small ResNet on uint8 images with everything that can be saved."""
    model = jood.models.create("resnet_small_8x8", 4, width=4, stage_sizes=(1, 2))
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    detector = jood.Detector(
        BUNDLE,
        model,
        variables,
        preprocessing=jood.Preprocessing((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)),
        class_names=("ant", "bee", "cat", "dog"),
        stages={"C4": "C4", "C5": "C5"},
    )
    return detector.fit([PIXELS]).calibrate([PIXELS], tpr=0.8)


PIXELS = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
