"""EfficientNet-Lite0: the original network's numbers, and TensorFlow's padding."""

import functools

import chex
from flax import linen as nn
from helpers import demo_network
from helpers import torch_oracle
from helpers.tiny_network import scaled_variables
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood import models
from jood import weights
from jood.core import activations
from jood.models import efficientnet_lite
from jood.models import inverted_residual
from jood.models import layers
from jood.weights import matching

SMALL = efficientnet_lite.EfficientNetLite(5, width=0.25)
KIT = layers.Kit(padding="tensorflow")


@pytest.mark.slow
def test_logits_and_features_are_those_of_the_original_code(golden_imagenet_dir):
    network = demo_network.open_or_skip()
    golden = np.load(golden_imagenet_dir / "efficientnet_lite0_golden.npz")
    images = network.preprocessing(jnp.asarray(golden["images_u8"]))
    observe = jax.jit(functools.partial(jood.observe, network.model))
    acts = observe(network.variables, images)
    np.testing.assert_allclose(acts.logits, golden["logits"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(acts.penultimate, golden["features"], rtol=0, atol=1e-4)
    assert golden["logits"].std() > 1
    means = acts.stages["C5"].mean((1, 2))
    np.testing.assert_allclose(means, golden["mean_head"], rtol=0, atol=1e-4)
    corner = np.asarray(acts.stages["C5"])[:2, :, :, :8].transpose(0, 3, 1, 2)
    np.testing.assert_allclose(corner, golden["corner_head"], rtol=0, atol=1e-4)


def test_its_tensors_are_those_that_the_original_code_names(golden_imagenet_dir):
    lines = (golden_imagenet_dir / "state_dict.txt").read_text().splitlines()
    rows = [line.split("\t") for line in lines]
    expected = {n: s for n, s, _ in rows if not n.endswith("num_batches_tracked")}
    model = models.create("efficientnet_lite0", 1000)
    shapes = matching.expected_shapes(model)
    zeros = {name: np.broadcast_to(np.float32(0), s) for name, s in shapes.items()}
    variables = {}
    for name, zero in zeros.items():
        node = variables
        *folders, leaf = name.split("/")
        for folder in folders:
            node = node.setdefault(folder, {})
        node[leaf] = zero
    tensors = weights.to_torch_names(model, variables, "efficientnet_pytorch")
    assert {name: str(t.shape) for name, t in tensors.items()} == expected


def test_stages_and_their_shapes():
    model = models.create("efficientnet_lite0", 10)
    images = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    acts = jax.eval_shape(functools.partial(jood.observe, model), variables, images)
    expected = {"C2": (56, 144), "C3": (28, 240), "C4": (14, 672), "C5": (7, 1280)}
    assert {stage: x.shape for stage, x in acts.stages.items()} == {
        stage: (2, side, side, channels) for stage, (side, channels) in expected.items()
    }
    chex.assert_shape(acts.penultimate, (2, 1280))


@pytest.mark.slow
def test_all_that_follows_a_stage_reads_nothing_but_its_map():
    edit = activations.StageEdit("swap", "C3", lambda x: x[::-1])
    acts = jax.jit(lambda v, x: jood.observe(SMALL, v, x, edits=[(edit,)]))(
        scaled_variables(SMALL), torch_oracle.images(32)
    )
    assert np.abs(acts.logits[0] - acts.logits[1]).max() > 1e-2
    # The images swap all that is behind the stage, so they swap their logits.
    np.testing.assert_allclose(acts.edited["swap"].logits, acts.logits[::-1], atol=1e-5)
    for stage, value in acts.stages.items():
        assert value.min() == 0
        assert 1 < value.max() <= 6, stage
    pooled = acts.stages["C5"].mean(axis=(1, 2))
    np.testing.assert_allclose(acts.penultimate, pooled, rtol=1e-5)


def test_logits_are_those_of_timm_and_weights_go_both_ways():
    timm = torch_oracle.library("timm")
    torch = torch_oracle.torch_or_skip()
    network = torch_oracle.perturbed(
        timm.create_model("tf_efficientnet_lite0", num_classes=7)
    )
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        if parameter.ndim > 1:  # so that logits are of a trained network's size
            torch.nn.init.kaiming_normal_(parameter, a=0.6, generator=generator)
    model = models.create("efficientnet_lite0", 7)
    tensors = torch_oracle.tensors(network)
    assert weights.find_layout(tensors, model) == "timm"
    variables = weights.from_torch_names(tensors, model)
    images = torch_oracle.images(75)  # maps of 38, 19, 10, 5 and 3 pixels
    expected = torch_oracle.logits(network, images)
    assert 0.1 < np.abs(expected[0] - expected[1]).max() < 10
    logits = jax.jit(model.apply)(variables, images)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)
    back = weights.to_torch_names(model, variables, "timm")
    for name, tensor in back.items():
        np.testing.assert_array_equal(tensor, tensors[name])


@pytest.mark.parametrize("layout", ["efficientnet_pytorch", "timm"])
def test_weights_go_both_ways_without_pytorch(layout):
    variables = scaled_variables(SMALL)
    tensors = weights.to_torch_names(SMALL, variables, layout)
    assert weights.find_layout(tensors, SMALL) == layout
    chex.assert_trees_all_equal(weights.from_torch_names(tensors, SMALL), variables)


@pytest.mark.parametrize("side", [7, 10])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_convolutions_are_padded_as_flax_pads_the_same(kernel, stride, side):
    x = torch_oracle.images(side)
    sizes = (kernel, kernel), (stride, stride)
    for ours, groups, features in (
        (inverted_residual.Depthwise(kernel, stride, KIT), 3, 3),
        (layers.conv(KIT, 4, kernel, stride), 1, 4),
    ):
        options = {"feature_group_count": groups, "use_bias": False}
        theirs = nn.Conv(features, *sizes, padding="SAME", **options)
        variables = theirs.init(jax.random.key(0), x)
        got, expected = jax.jit(
            lambda v, ours=ours, theirs=theirs: (ours.apply(v, x), theirs.apply(v, x))
        )(variables)
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_numbers_of_batch_norm_are_tensorflows():
    found = set()

    def look(call, args, kwargs, context):
        if isinstance(context.module, nn.BatchNorm):
            found.add((context.module.epsilon, context.module.momentum))
        return call(*args, **kwargs)

    images = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
    with nn.intercept_methods(look):
        jax.eval_shape(SMALL.apply, scaled_variables(SMALL), images)
    assert found == {(1e-3, 0.99)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0.0}, "width must be a multiplier >= 0.25, got 0.0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"dtype": "int8"}, "dtype must be one of .*got 'int8'"),
    ],
)
def test_a_bad_option_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        models.create("efficientnet_lite0", 10, **options)
