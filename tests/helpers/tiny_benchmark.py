"""A benchmark of a few noisy images of 16 pixels, and a network for it."""

import jax
import numpy as np

from helpers.tiny_network import MODEL
from jood.core import preprocessing
from jood.data.benchmarks.spec import Benchmark
from jood.data.sources import ArraySource

PREPROCESSING = preprocessing.Preprocessing((0.5,) * 3, (0.25,) * 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (42, 16, 16, 3), np.uint8)
LABELS = np.arange(42) % 3
BENCHMARK = Benchmark(
    name="digits",
    id_train=ArraySource(IMAGES[:20], LABELS[:20]),
    id_test=ArraySource(IMAGES[20:], LABELS[20:]),
    ood={"dark": ArraySource(IMAGES[:9] // 4), "flat": ArraySource(IMAGES[:7] // 2)},
    near=("flat",),
    class_names=("cat", "dog", "frog"),
    preprocessing=PREPROCESSING,
    image_size=16,
    protocol="Noise.",
    absent={"sun": "looked for in SUN"},
)


def variables():
    """Returns the network as it begins."""
    images = np.zeros([1, 16, 16, 3], np.float32)
    return jax.jit(MODEL.init)(jax.random.key(1), images)
