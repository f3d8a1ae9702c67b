"""Maps of random values for scores that read a stage."""

import numpy as np


def random_maps(shape=(4, 5, 6, 7), seed=0):
    """Returns float32 maps [B, H, W, C], one location of which has no activation."""
    z = np.random.default_rng(seed).normal(0.3, 1, shape)
    z[0, 0, 0] = 0
    return z.astype(np.float32)
