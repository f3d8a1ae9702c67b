"""A ResNet of a few thousand weights, with variables of which no two are alike."""

from flax import traverse_util
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


MODEL = models.create("resnet_small", 3, width=4, stage_sizes=(1, 1))
VARIABLES = random_variables(MODEL)
