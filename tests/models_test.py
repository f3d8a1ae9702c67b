"""Models: golden parameter counts, stages, padding, initialisation, description."""

import functools
import json
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood import models
from jood import testing
from jood.models import resnet

# Parameters without running statistics: torchvision's for 1000 classes; the CIFAR
# variants' (3x3 stem, 10 classes) are those of PyTorch's usual CIFAR code.
COUNTS = {
    "resnet18": (1000, 11_689_512),
    "resnet34": (1000, 21_797_672),
    "resnet50": (1000, 25_557_032),
    "resnet101": (1000, 44_549_160),
    "resnet18_cifar": (10, 11_173_962),
    "resnet34_cifar": (10, 21_282_122),
    "resnet50_cifar": (10, 23_520_842),
    "resnet101_cifar": (10, 42_512_970),
    # stem 464, stages 9,344 + 33,088 + 131,712, head 650
    "resnet_small": (10, 175_258),
    "resnet_small_8x8": (10, 175_258),
}


def shapes(model, size=32, batch=1):
    images = jax.ShapeDtypeStruct((batch, size, size, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images), images


def test_every_model_has_a_golden_count():
    assert set(models.names()) == set(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_number_of_parameters(name):
    classes, expected = COUNTS[name]
    variables, _ = shapes(models.create(name, classes))
    leaves = jax.tree.leaves(variables["params"])
    assert sum(math.prod(leaf.shape) for leaf in leaves) == expected


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("resnet18", 224, {"C2": (56, 64), "C3": (28, 128), "C4": (14, 256)}),
        ("resnet50", 224, {"C2": (56, 256), "C3": (28, 512), "C4": (14, 1024)}),
        ("resnet18_cifar", 32, {"C2": (32, 64), "C3": (16, 128), "C4": (8, 256)}),
        ("resnet_small_8x8", 32, {"C3": (32, 16), "C4": (16, 32)}),
    ],
)
def test_stages_and_their_shapes(name, size, expected):
    model = models.create(name, 10)
    variables, images = shapes(model, size, batch=2)
    acts = jax.eval_shape(functools.partial(jood.observe, model), variables, images)
    side, channels = expected["C4"]
    expected = {**expected, "C5": (side // 2, 2 * channels)}
    assert set(acts.stages) == set(expected)
    for stage, (side, channels) in expected.items():
        chex.assert_shape(acts.stages[stage], (2, side, side, channels))
    chex.assert_shape(acts.penultimate, (2, 2 * expected["C4"][1]))
    chex.assert_shape(acts.logits, (2, 10))


def test_bfloat16_computes_in_bfloat16_but_keeps_float32_parameters_and_logits():
    model = models.create("resnet_small_8x8", 4, dtype="bfloat16")
    variables, images = shapes(model)
    acts = jax.eval_shape(functools.partial(jood.observe, model), variables, images)
    logits = jax.eval_shape(model.apply, variables, images)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert {leaf.dtype for leaf in acts.stages.values()} == {jnp.dtype("bfloat16")}
    assert logits.dtype == jnp.float32


def conv(x, kernel, stride):
    """PyTorch's convolution: k // 2 zeros on every side, in float64."""
    size, pad = kernel.shape[0], kernel.shape[0] // 2
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    out = [(side - size) // stride + 1 for side in x.shape[1:3]]
    y = np.zeros((x.shape[0], *out, kernel.shape[3]))
    for i, j in np.ndindex(*out):
        patch = x[:, i * stride : i * stride + size, j * stride : j * stride + size]
        y[:, i, j] = np.tensordot(patch, kernel, 3)
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

    imagenet = model.stem == "imagenet"
    x = conv(x, params["conv1"]["kernel"], 2 if imagenet else 1)
    x = relu(norm(x, "bn1"))
    x = max_pool(x) if imagenet else x
    strides = [1, 2, 1] if model.block == "bottleneck" else [2, 1]
    for index, blocks in enumerate(model.stage_sizes):
        stage = f"C{6 - len(model.stage_sizes) + index}"
        for number in range(1, blocks + 1):
            block = f"block{number}"
            stride = 2 if index and number == 1 else 1
            kernels, shortcut, y = params[stage][block], x, x
            for i, s in enumerate(strides, start=1):
                y = conv(y, kernels[f"conv{i}"]["kernel"], stride if s == 2 else 1)
                y = norm(y, stage, block, f"bn{i}")
                y = relu(y) if i < len(strides) else y
            if "downsample_conv" in kernels:
                shortcut = conv(x, kernels["downsample_conv"]["kernel"], stride)
                shortcut = norm(shortcut, stage, block, "downsample_bn")
            x = relu(y + shortcut)
    head = params["head"]
    return x, x.mean(axis=(1, 2)) @ head["kernel"] + head["bias"]


@pytest.mark.parametrize("size", [20, 23])
@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_forward_pass_is_torchvisions(block, stem, size):
    model = resnet.ResNet((1, 2), 3, block=block, stem=stem, width=3)
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
    acts = jood.observe(model, as_float32, jnp.asarray(images))
    last_map, logits = slow_resnet(model, variables, images.astype(np.float64))
    np.testing.assert_allclose(acts.stages["C5"], last_map, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(acts.logits, logits, rtol=1e-4, atol=1e-4)


@functools.cache
def initialised():
    model = models.create("resnet_small_8x8", 1000, width=32)
    return model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))["params"]


@pytest.mark.parametrize(
    ("stage", "layer", "fan_out"),
    [("C4", "conv1", 9 * 64), ("C5", "conv1", 9 * 128), ("C5", "downsample_conv", 128)],
)
def test_convolutions_start_normal_with_kaimings_fan_out(stage, layer, fan_out):
    kernel = np.asarray(initialised()[stage]["block1"][layer]["kernel"])
    std = math.sqrt(2 / fan_out)
    assert kernel.std() == pytest.approx(std, rel=0.03)
    assert kernel.mean() == pytest.approx(0, abs=0.05 * std)
    assert np.abs(kernel).max() > 2.5 * std  # not truncated


@pytest.mark.parametrize("name", ["kernel", "bias"])
def test_the_head_starts_uniform_within_one_over_root_fan_in(name):
    values = np.asarray(initialised()["head"][name])
    limit = 1 / math.sqrt(initialised()["head"]["kernel"].shape[0])
    assert np.abs(values).max() <= limit
    assert np.abs(values).max() > 0.98 * limit
    assert values.std() == pytest.approx(limit / math.sqrt(3), rel=0.05)


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


def test_an_unknown_name_lists_the_near_ones():
    with pytest.raises(ValueError, match=r"unknown model 'resnet5'; near: .*resnet50"):
        models.create("resnet5", 10)


@pytest.mark.parametrize("classes", [0, -3, 2.5, "10", None])
def test_num_classes_must_be_a_positive_integer(classes):
    with pytest.raises(ValueError, match="num_classes must be an integer >= 1, got"):
        models.create("resnet18", classes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widht": 4}, "widht.*in models.create"),
        ({"dtype": "int8"}, "dtype must be one of .*bfloat16.*got 'int8'"),
        ({"stem": "big"}, "stem must be one of imagenet, cifar, strided, got 'big'"),
        ({"block": "wide"}, "block must be one of basic, bottleneck, got 'wide'"),
        ({"stage_sizes": (2,)}, "2 to 4 stages"),
    ],
)
def test_a_bad_option_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        models.create("resnet18", 10, **options)


@pytest.mark.parametrize("name", models.names())
def test_a_model_survives_its_description_in_json(name):
    model = models.create(name, 7, width=8, dtype="bfloat16")
    rebuilt = models.build(json.loads(json.dumps(models.describe(model))))
    assert rebuilt == model
    assert models.create(name, 8, width=8, dtype="bfloat16") != rebuilt


def test_only_our_own_classes_have_a_description():
    stranger = type("ResNet", (testing.ToyNet,), {"__doc__": "another's"})
    assert models.describe(testing.ToyNet()) is None
    assert models.describe(stranger()) is None


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"family": "VGG"}, "unknown model family 'VGG'; known: ResNet"),
        ({}, "unknown model family None"),
        (
            {"family": "ResNet", "stage_sizes": [2, 2], "num_classes": 4, "depth": 9},
            "depth.*family ResNet",
        ),
    ],
)
def test_a_bad_description_is_refused(description, message):
    with pytest.raises(ValueError, match=message):
        models.build(description)
