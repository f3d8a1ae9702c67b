"""A ResNet of a few thousand weights, with variables of which no two are alike."""

import functools

from flax import traverse_util
import jax
import numpy as np

from jood import models
from jood.weights import matching


def random_variables(model, seed=0):
    """Returns float32 variables in [0.5, 1.5); nothing is compiled."""
    rng = np.random.default_rng(seed)
    flat = {
        name: rng.uniform(0.5, 1.5, shape).astype(np.float32)
        for name, shape in matching.expected_shapes(model).items()
    }
    return traverse_util.unflatten_dict(flat, sep="/")


@functools.cache
def scaled_variables(model):
    """Returns float32 variables that keep maps of unit size, as trained ones do."""
    rng = np.random.default_rng(0)

    def fill(path, leaf):
        if path[-1].key in ("var", "scale"):
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        fan_in = np.prod(leaf.shape[:-1]) / 2 if path[-1].key == "kernel" else 25
        return rng.normal(0, fan_in**-0.5, leaf.shape).astype(np.float32)

    images = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    return jax.tree_util.tree_map_with_path(fill, shapes)


MODEL = models.create("resnet_small", 3, width=4, stage_sizes=(1, 1))
VARIABLES = random_variables(MODEL)
