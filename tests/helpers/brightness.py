"""A detector whose score is an image's brightness, so that every score is known."""

from flax import linen as nn
import jax.numpy as jnp
import numpy as np
from PIL import Image

import jood
from jood.detector.calibration import Calibration

SIZE = 4
FIT = jood.Preprocessing((0.0,) * 3, (1.0,) * 3, resize=(SIZE, SIZE))


class MeanPixel(nn.Module):
    """Two logits: the mean pixel in [0, 1], and 0.5."""

    @nn.compact
    def __call__(self, x):
        mean = x.mean((1, 2, 3))[:, None]
        return nn.Dense(2, name="head")(mean)


def detector(calibration=None, tpr=0.9, **fields):
    """Scores brightness; calibrated on 19 levels of gray from 0.05 to 0.95."""
    head = {"kernel": jnp.array([[1.0, 0.0]]), "bias": jnp.array([0.0, -1.0])}
    if calibration is None:
        levels = np.linspace(0.05, 0.95, 19).astype(np.float32)
        calibration = Calibration(tpr, {"score": levels})
    fields = {"preprocessing": FIT, "class_names": ("bright", "dark"), **fields}
    return jood.Detector(
        "max_logit()",
        MeanPixel(),
        {"params": {"head": head}},
        calibration=calibration,
        image_shape=(SIZE, SIZE, 3),
        **fields,
    )


def gray(level, size=(SIZE, SIZE)):
    return np.full((*size, 3), level, np.uint8)


def folder(root, levels, size=(SIZE, SIZE)):
    """Writes one gray image per level; returns the folder."""
    root.mkdir(parents=True, exist_ok=True)
    for index, level in enumerate(levels):
        Image.fromarray(gray(level, size)).save(root / f"{index:04}.png")
    return root
