"""The network of the golden case 'cnn', with PyTorch's names, and its weights."""

import functools

from flax import linen as nn
from flax.core import FrozenDict
import jax
import numpy as np
import pytest

from helpers import golden_inputs
import jood

STAGES = {"C3": "layer2", "C4": "layer3", "C5": "layer4"}
TAPS = jood.Taps(stages=STAGES, head="fc")


class _Layer(nn.Module):
    """Convolution, normalisation, ReLU; padding 1 on both sides, as in PyTorch."""

    features: int

    @nn.compact
    def __call__(self, x):
        pad = ((1, 1), (1, 1))
        x = nn.Conv(self.features, (3, 3), 2, pad, use_bias=False, name="conv")(x)
        x = nn.BatchNorm(use_running_average=True, epsilon=1e-5, name="bn")(x)
        return nn.relu(x)


class TinyCNN(nn.Module):
    """The network of the case 'cnn', with PyTorch's names.

    Attributes:
      widths: channels by layer, and the number of classes as 'fc'.
    """

    widths: FrozenDict[str, int]

    @nn.compact
    def __call__(self, x):
        pad = ((1, 1), (1, 1))
        width = self.widths["conv1"]
        x = nn.Conv(width, (3, 3), padding=pad, use_bias=False, name="conv1")(x)
        x = nn.BatchNorm(use_running_average=True, epsilon=1e-5, name="bn1")(x)
        x = nn.relu(x)
        for name in ("layer2", "layer3", "layer4"):
            x = _Layer(self.widths[name], name=name)(x)
        return nn.Dense(self.widths["fc"], name="fc")(x.mean((1, 2)))


@functools.cache
def load(folder):
    """Returns the network of a golden folder and its variables, or skips."""
    if not (folder / "cnn_weights.npz").is_file():
        pytest.skip(f"{folder} holds features only, no network")
    weights = golden_inputs.load(folder / "cnn_weights.npz")
    widths = {
        key.split(".")[0]: len(value)
        for key, value in weights.items()
        if key.endswith("weight") and value.ndim > 1
    }
    return TinyCNN(FrozenDict(widths)), flax_variables(weights)


@functools.cache
def test_images(folder):
    """Returns the test images, ID before OOD, normalised as the peers did: float32."""
    return normalised(folder, "id_images_u8", "ood_images_u8")


@functools.cache
def scores(folder, component):
    """Returns the scores of a component that learns nothing on the test images."""
    model, variables = load(folder)

    @jax.jit
    def score(images):
        acts = jood.observe(model, variables, images, edits=component.edits, taps=TAPS)
        return component.apply((), acts)

    return np.asarray(score(test_images(folder)), np.float64)


def normalised(folder, *keys):
    """Returns stored images in NHWC, normalised."""
    images = golden_inputs.load(folder / "cnn_images.npz")
    pixels = np.concatenate([images[key] for key in keys]).transpose(0, 2, 3, 1)
    mean, std = (images[key][None, None, None] for key in ("mean", "std"))
    return ((pixels.astype(np.float32) / np.float32(255) - mean) / std).astype("f")


def flax_variables(weights):
    """PyTorch's state dict as Flax variables: OIHW -> HWIO, [out, in] -> [in, out]."""
    names = {"weight": ("params", "scale"), "bias": ("params", "bias")}
    names |= {
        "running_mean": ("batch_stats", "mean"),
        "running_var": ("batch_stats", "var"),
    }
    variables = {"params": {}, "batch_stats": {}}
    for key, value in weights.items():
        *path, leaf = key.split(".")
        if leaf == "num_batches_tracked":
            continue
        collection, name = names[leaf]
        if value.ndim == 4:
            value, name = value.transpose(2, 3, 1, 0), "kernel"
        elif value.ndim == 2:
            value, name = value.T, "kernel"
        node = variables[collection]
        for part in path:
            node = node.setdefault(part, {})
        node[name] = value
    return variables
