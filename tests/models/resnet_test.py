"""ResNet: the forward pass as PyTorch's, written out in NumPy, and its variants."""

import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

import jood
from jood import models
from jood.core import activations
from jood.models import resnet


def shapes(model, size):
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images), images


def conv(x, kernel, stride, dilation=1):
    """PyTorch's convolution: dilation * (k // 2) zeros on every side, in float64."""
    size, pad = dilation * (kernel.shape[0] - 1) + 1, dilation * (kernel.shape[0] // 2)
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    out = [(side - size) // stride + 1 for side in x.shape[1:3]]
    y = np.zeros((x.shape[0], *out, kernel.shape[3]))
    for i, j in np.ndindex(*out):
        patch = x[:, i * stride : i * stride + size, j * stride : j * stride + size]
        y[:, i, j] = np.tensordot(patch[:, ::dilation, ::dilation], kernel, 3)
    return y


def max_pool(x):
    """3x3, stride 2, one row and column of minus infinity on every side."""
    pad = ((0, 0), (1, 1), (1, 1), (0, 0))
    x = np.pad(x, pad, constant_values=-np.inf)
    out = [(side - 3) // 2 + 1 for side in x.shape[1:3]]
    y = np.zeros((x.shape[0], *out, x.shape[3]))
    for i, j in np.ndindex(*out):
        y[:, i, j] = x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max(axis=(1, 2))
    return y


def avg_pool(x):
    """2x2, stride 2; a last odd row or column is averaged alone."""
    out = [-(side // -2) for side in x.shape[1:3]]
    y = np.zeros((x.shape[0], *out, x.shape[3]))
    for i, j in np.ndindex(*out):
        y[:, i, j] = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean(axis=(1, 2))
    return y


def slow_resnet(model, variables, x):
    """The network layer by layer in NumPy, as torchvision computes it."""
    params, stats = variables["params"], variables["batch_stats"]

    def norm(x, *path):
        p, s = params, stats
        for key in path:
            p, s = p[key], s[key]
        return (x - s["mean"]) / np.sqrt(s["var"] + 1e-5) * p["scale"] + p["bias"]

    def relu(x):
        return np.maximum(x, 0)

    for i in (1, 2, 3) if model.stem == "deep" else (1,):
        stride = 2 if i == 1 and model.stem != "cifar" else 1
        x = relu(norm(conv(x, params[f"conv{i}"]["kernel"], stride), f"bn{i}"))
    x = x if model.stem == "cifar" else max_pool(x)
    strided = 2 if model.block == "bottleneck" else 1
    for index, blocks in enumerate(model.stage_sizes):
        stage = f"C{6 - len(model.stage_sizes) + index}"
        for number in range(1, blocks + 1):
            block = f"block{number}"
            stride = (model.strides or (1, 2))[index] if number == 1 else 1
            dilation = (model.dilations or (1, 1))[index]
            dilation = max(dilation // 2, 1) if number == 1 else dilation
            kernels, shortcut, y = params[stage][block], x, x
            last = 3 if model.block == "bottleneck" else 2
            for i in range(1, last + 1):
                options = (stride, dilation) if i == strided else (1, 1)
                y = conv(y, kernels[f"conv{i}"]["kernel"], *options)
                y = norm(y, stage, block, f"bn{i}")
                y = relu(y) if i < last else y
            if "downsample_conv" in kernels:
                if model.downsample == "avgpool" and stride == 2:
                    shortcut, stride = avg_pool(x), 1
                kernel = kernels["downsample_conv"]["kernel"]
                shortcut = norm(
                    conv(shortcut, kernel, stride), stage, block, "downsample_bn"
                )
            x = relu(y + shortcut)
    head = params["head"]
    return x, x.mean(axis=(1, 2)) @ head["kernel"] + head["bias"]


@pytest.mark.parametrize(
    "options",
    [
        {"stem": "imagenet"},
        {"stem": "cifar"},
        {"stem": "deep", "downsample": "avgpool"},
        {"stem": "cifar", "strides": (2, 1), "dilations": (2, 4)},
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [20, 23])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_forward_pass_is_pytorchs(block, size, options):
    model = resnet.ResNet((1, 2), 3, block=block, width=3, **options)
    images = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype("f")
    # Random statistics, scales and shifts: a fresh network's would hide mistakes.
    rng = np.random.default_rng(1)
    variables = jax.tree.map(
        lambda leaf: (
            rng.uniform(0.2, 1.2, leaf.shape)
            if len(leaf.shape) == 1
            else rng.normal(0, 0.3, leaf.shape)
        ),
        shapes(model, size)[0],
    )
    as_float32 = jax.tree.map(np.float32, variables)
    observe = jax.jit(functools.partial(jood.observe, model))
    acts = observe(as_float32, jnp.asarray(images))
    last_map, logits = slow_resnet(model, variables, images.astype(np.float64))
    np.testing.assert_allclose(acts.stages["C5"], last_map, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(acts.logits, logits, rtol=1e-4, atol=1e-4)


def test_the_dilated_backbone_keeps_stride_8_and_has_no_head():
    model = models.create("resnet50_d8", 0)
    variables, images = shapes(model, 224)
    assert "head" not in variables["params"]
    leaves = jax.tree.leaves(variables["params"])
    head = 2048 * 1000 + 1000
    assert sum(math.prod(leaf.shape) for leaf in leaves) == 25_576_264 - head
    feature, state = jax.eval_shape(
        functools.partial(
            model.apply, capture_intermediates=True, mutable=["intermediates"]
        ),
        variables,
        images,
    )
    maps = state["intermediates"]
    found = {stage: maps[stage]["__call__"][0].shape for stage in activations.STAGES}
    assert found == {
        "C2": (2, 56, 56, 256),
        "C3": (2, 28, 28, 512),
        "C4": (2, 28, 28, 1024),
        "C5": (2, 28, 28, 2048),
    }
    chex.assert_shape(feature, (2, 2048))
    chex.assert_type(feature, jnp.float32)


@pytest.mark.slow
def test_fcn_s_decode_head_classifies_each_location():
    model = resnet.ResNet((1, 1), 3, width=4, stem="cifar", decoder=5)
    rng = np.random.default_rng(0)
    drawn = jax.tree.map(
        lambda leaf: rng.uniform(0.1, 1.0, leaf.shape).astype("f"), shapes(model, 8)[0]
    )
    images = jnp.asarray(rng.normal(size=(2, 8, 8, 3)), jnp.float32)
    detector = jood.Detector("pixel_msp(stage='decoded')", model, drawn)
    acts = jax.jit(functools.partial(jood.observe, model))(drawn, images)

    def conv_norm(x, index):
        params, stats = drawn["params"]["decoded"], drawn["batch_stats"]["decoded"]
        y = conv(x, params[f"conv{index}"]["kernel"], 1)
        p, s = params[f"bn{index}"], stats[f"bn{index}"]
        y = (y - s["mean"]) / np.sqrt(s["var"] + 1e-5) * p["scale"] + p["bias"]
        return np.maximum(y, 0)

    last = np.asarray(acts.stages["C5"], np.float64)
    both = [last, conv_norm(conv_norm(last, 1), 2)]
    decoded = conv_norm(np.concatenate(both, axis=-1), 3)
    np.testing.assert_allclose(acts.stages["decoded"], decoded, rtol=1e-4)
    head = drawn["params"]["head"]
    logits = decoded @ head["kernel"][0, 0] + head["bias"]
    np.testing.assert_allclose(acts.logits, logits.mean((1, 2)), rtol=1e-4)
    expected = special.softmax(logits, -1).max(-1).mean((1, 2))
    found = detector.run_named(images).scores["score"]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.slow
def test_training_mode_updates_the_statistics_and_evaluation_mode_does_not():
    model = models.create("resnet_small_8x8", 4, width=4)
    images = jax.random.normal(jax.random.key(1), (4, 8, 8, 3)) + 2.0
    variables = model.init(jax.random.key(0), images)
    _, kept = model.apply(variables, images, mutable=["batch_stats"])
    chex.assert_trees_all_equal(kept["batch_stats"], variables["batch_stats"])
    _, new = model.apply(variables, images, train=True, mutable=["batch_stats"])
    kernel = np.asarray(variables["params"]["conv1"]["kernel"])
    x = conv(np.asarray(images), kernel, 1)
    got = new["batch_stats"]["bn1"]  # momentum 0.9: a tenth of the batch's, from 0, 1
    np.testing.assert_allclose(got["mean"], 0.1 * x.mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(got["var"], 0.9 + 0.1 * x.var((0, 1, 2)), rtol=1e-4)


def test_a_description_of_before_there_were_variants_still_builds():
    description = {
        "family": "ResNet",
        "stage_sizes": [2, 2, 2],
        "num_classes": 10,
        "block": "basic",
        "stem": "strided",
        "width": 16,
        "dtype": "float32",
        "param_dtype": "float32",
    }
    assert models.build(description) == models.create("resnet_small", 10)
