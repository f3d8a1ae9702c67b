"""Models: golden parameter counts, stages, padding, initialisation, description."""

import functools
import json
import math

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood import models
from jood import testing
from jood.models import layers
from jood.models import resnet
from jood.models import resnet_cifar
from jood.models import wide_resnet

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
    # The deep stem has 28,512 - 9,408 more weights, and 128 more of BatchNorm, than
    # the 7x7 convolution; pooling and dilation have none. timm counts the same.
    "resnet50d": (1000, 25_576_264),
    "resnet50_d8": (1000, 25_576_264),
    "fcn_r50_d8": (1000, 47_636_296),
    "resnet50_dilated": (1000, 25_557_032),
    "faster_rcnn_r50": (1000, 25_557_032),
    # akamaster's, the published weights of which fit; 97,216 more for each n.
    "resnet20": (10, 269_722),
    "resnet32": (10, 464_154),
    "resnet44": (10, 658_586),
    "resnet56": (10, 853_018),
    # The paper says 36.5 M and 2.2 M.
    "wrn_28_10": (10, 36_479_194),
    "wrn_40_2": (10, 2_243_546),
    # torchvision's; the CIFAR network is the DICE authors', of 342 features.
    "densenet121": (1000, 7_978_856),
    "densenet100_cifar": (10, 769_162),
    "mobilenet_v2": (1000, 3_504_872),
    "mobilenet_v3_large": (1000, 5_483_032),
    "efficientnet_lite0": (1000, 4_652_008),
    # The first two are torchvision's, the third timm's, whose widths differ.
    "regnet_y_400mf": (1000, 4_344_144),
    "regnet_y_800mf": (1000, 6_432_512),
    "regnety_008": (1000, 6_263_168),
    "regnet_y_16gf": (1000, 83_590_140),  # torchvision's
    "vit_b16": (1000, 86_567_656),
    "vit_l16": (1000, 304_326_632),
    "swin_t": (1000, 28_288_354),  # torchvision's
    # OpenAI's image towers have 87,849,216, 86,192,640 and 303,966,208; the head is
    # ours. The small one: patches 6,144, positions and class token 576, four blocks of
    # 8,544, two LayerNorms 128, the projection 768, the head 250.
    **dict.fromkeys(("clip_vit_b32", "clip_vit_b32_gelu"), (1000, 88_362_216)),
    **dict.fromkeys(("clip_vit_b16", "clip_vit_b16_gelu"), (1000, 86_705_640)),
    **dict.fromkeys(("clip_vit_l14", "clip_vit_l14_gelu"), (1000, 304_735_208)),
    **dict.fromkeys(("clip_small", "clip_small_gelu"), (10, 42_042)),
}


# More than a second of tracing each; their files have tests with smaller ones.
DEEP = {
    *("densenet121", "densenet100_cifar", "mobilenet_v2", "mobilenet_v3_large"),
    *("efficientnet_lite0", "regnet_y_400mf", "regnet_y_800mf", "regnety_008"),
    *("regnet_y_16gf", "resnet101", "vit_l16", "swin_t", "clip_vit_l14"),
    "clip_vit_l14_gelu",
}


def shapes(model, size=32, batch=1):
    images = jax.ShapeDtypeStruct((batch, size, size, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images), images


def test_every_model_has_a_golden_count():
    assert set(models.names()) == set(COUNTS)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n in DEEP else []) for n in COUNTS],
)
def test_number_of_parameters(name):
    classes, expected = COUNTS[name]
    model = models.create(name, classes)
    variables, _ = shapes(model, getattr(model, "image_size", 32))
    leaves = jax.tree.leaves(variables["params"])
    assert sum(math.prod(leaf.shape) for leaf in leaves) == expected


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("resnet18", 224, {"C2": (56, 64), "C3": (28, 128), "C4": (14, 256)}),
        ("resnet50", 224, {"C2": (56, 256), "C3": (28, 512), "C4": (14, 1024)}),
        ("resnet18_cifar", 32, {"C2": (32, 64), "C3": (16, 128), "C4": (8, 256)}),
        ("resnet_small_8x8", 32, {"C3": (32, 16), "C4": (16, 32)}),
        ("resnet50d", 224, {"C2": (56, 256), "C3": (28, 512), "C4": (14, 1024)}),
        ("resnet20", 32, {"C3": (32, 16), "C4": (16, 32)}),
        ("wrn_40_2", 32, {"C3": (32, 32), "C4": (16, 64)}),
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


SMALL = [
    resnet.ResNet((1, 1), 3, stem="cifar", width=4),
    resnet_cifar.CifarResNet(1, 3, width=4),
    wide_resnet.WideResNet(10, 2, 3),
]


@pytest.mark.parametrize("model", SMALL, ids=lambda model: type(model).__name__)
def test_all_that_follows_a_stage_reads_nothing_but_its_map(model):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 8, 8, 3)).astype("f")
    variables = jax.tree.map(
        lambda leaf: rng.uniform(0.1, 0.5, leaf.shape).astype("f"),
        shapes(model, 8)[0],
    )

    def constant_c4(call, args, kwargs, context):
        output = call(*args, **kwargs)
        return jnp.ones_like(output) if context.module.name == "C4" else output

    plain = model.apply(variables, images)
    with nn.intercept_methods(constant_c4):
        cut = model.apply(variables, images)
    assert np.abs(plain[0] - plain[1]).max() > 1e-3
    np.testing.assert_allclose(cut[0], cut[1], rtol=1e-6)  # of one batch


def test_bfloat16_computes_in_bfloat16_but_keeps_float32_parameters_and_logits():
    model = models.create("resnet_small_8x8", 4, dtype="bfloat16")
    variables, images = shapes(model)
    acts = jax.eval_shape(functools.partial(jood.observe, model), variables, images)
    logits = jax.eval_shape(model.apply, variables, images)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert {leaf.dtype for leaf in acts.stages.values()} == {jnp.dtype("bfloat16")}
    assert logits.dtype == jnp.float32


@functools.cache
def initialised():
    model = models.create("resnet_small_8x8", 1000, width=32)
    return model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))["params"]


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kernel", "bias"])
def test_the_head_starts_uniform_within_one_over_root_fan_in(name):
    values = np.asarray(initialised()["head"][name])
    limit = 1 / math.sqrt(initialised()["head"]["kernel"].shape[0])
    assert np.abs(values).max() <= limit
    assert np.abs(values).max() > 0.98 * limit
    assert values.std() == pytest.approx(limit / math.sqrt(3), rel=0.05)


def test_an_unknown_name_lists_the_near_ones():
    with pytest.raises(ValueError, match=r"unknown model 'resnet5'; near: .*resnet50"):
        models.create("resnet5", 10)


@pytest.mark.parametrize("classes", [0, -3, 2.5, "10", None])
def test_num_classes_must_be_a_positive_integer(classes):
    with pytest.raises(ValueError, match="num_classes must be an integer >= 1, got"):
        models.create("wrn_40_2", classes)
    if classes != 0:  # a backbone without a head
        with pytest.raises(ValueError, match="must be an integer >= 0, got"):
            models.create("resnet18", classes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widht": 4}, "widht.*in models.create"),
        ({"dtype": "int8"}, "dtype must be one of .*bfloat16.*got 'int8'"),
        ({"stem": "big"}, "stem must be one of imagenet, deep, .*, got 'big'"),
        ({"block": "wide"}, "block must be one of basic, bottleneck, got 'wide'"),
        ({"stage_sizes": (2,)}, "2 to 4 stages"),
        ({"downsample": "pad"}, "downsample must be one of conv, avgpool, got 'pad'"),
        ({"strides": (1, 2)}, r"1 or 2 for each of the 4 stages.*got \(1, 2\)"),
        ({"strides": (1, 2, 3, 2)}, r"strides must be 1 or 2 .*got \(1, 2, 3, 2\)"),
        ({"dilations": (2,)}, r"dilations .* each of the 4 stages.*got \(2,\)"),
        ({"dilations": (1, 1, 1, 0)}, "dilations must be >= 1"),
    ],
)
def test_a_bad_option_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        models.create("resnet18", 10, **options)


@pytest.mark.parametrize("name", models.names())
def test_a_model_survives_its_description_in_json(name):
    model = models.create(name, 7, dtype="bfloat16")
    rebuilt = models.build(json.loads(json.dumps(models.describe(model))))
    assert rebuilt == model
    assert models.create(name, 8, dtype="bfloat16") != rebuilt


@pytest.mark.parametrize("name", models.names())
def test_a_model_is_called_by_its_name(name):
    assert models.title(models.create(name, 7, dtype="bfloat16")) == name


def test_a_model_without_a_name_is_called_by_its_class():
    assert models.title(models.create("resnet32", 7, width=3)) == "CifarResNet"
    assert models.title(testing.ToyNet()) == "ToyNet"


def test_a_cifar_shortcut_takes_every_second_pixel_between_zero_channels():
    block = resnet.Block(8, "basic", "pad", layers.Kit(), stride=2)
    x = jnp.arange(1.0, 101.0).reshape(1, 5, 5, 4)
    variables = jax.eval_shape(block.init, jax.random.key(0), x)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), variables)
    expected = np.zeros((1, 3, 3, 8), np.float32)
    expected[..., 2:6] = x[:, ::2, ::2]
    np.testing.assert_array_equal(block.apply(zeros, x), expected)


def test_a_cifar_resnet_needs_blocks():
    with pytest.raises(ValueError, match=r"blocks must be an .* from 1 to 1000, got 0"):
        models.create("resnet20", 10, blocks=0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 0}, "width must be an integer >= 1, got width=0"),
        ({"stem": "deep", "width": 1}, "width must be >= 2 with stem='deep'"),
        ({"stage_sizes": (2, 10**30)}, r"stage_sizes must be integers from 1 to 1000"),
    ],
)
def test_a_resnet_that_cannot_be_built_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        models.create("resnet_small", 10, **fields)


def test_only_our_own_classes_have_a_description():
    stranger = type("ResNet", (testing.ToyNet,), {"__doc__": "another's"})
    assert models.describe(testing.ToyNet()) is None
    assert models.describe(stranger()) is None


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"family": "VGG"}, "unknown model family 'VGG'; known: ResNet.*--plugins"),
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


@pytest.mark.parametrize("size", [7, 8, 37])
def test_pooling_in_two_directions_is_the_square_one(size):
    x = jax.random.normal(jax.random.key(0), (2, size, size + 3, 4))
    square = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
    np.testing.assert_array_equal(layers.max_pool(x), square)
