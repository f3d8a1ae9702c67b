"""MobileNets: the papers' networks, cut where their maps are activated; weights."""

import functools

import chex
from flax import linen as nn
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
from jood.models import inverted_residual
from jood.models import layers
from jood.models import mobilenet_v2
from jood.models import mobilenet_v3
from jood.training.forward import look

_V2 = mobilenet_v2.MobileNetV2(5, width=0.25)
_V3 = mobilenet_v3.MobileNetV3(5, width=0.25)
_SMALL = pytest.mark.parametrize("model", [_V2, _V3], ids=["v2", "v3"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mobilenet_v2", {"C2": 144, "C3": 192, "C4": 576, "C5": 1280}),
        ("mobilenet_v3_large", {"C2": 72, "C3": 240, "C4": 672, "C5": 960}),
    ],
)
def test_stages_and_their_shapes(name, expected):
    model = models.create(name, 10)
    images = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    acts = jax.eval_shape(functools.partial(jood.observe, model), variables, images)
    sides = (56, 28, 14, 7)
    assert {stage: x.shape for stage, x in acts.stages.items()} == {
        stage: (2, side, side, channels)
        for side, (stage, channels) in zip(sides, expected.items(), strict=True)
    }
    chex.assert_shape(acts.penultimate, (2, 1280))
    chex.assert_shape(acts.logits, (2, 10))


@pytest.mark.slow
@_SMALL
def test_all_that_follows_a_stage_reads_nothing_but_its_map(model):
    edits = [
        (activations.StageEdit(f"swap({stage})", stage, lambda x: x[::-1]),)
        for stage in activations.STAGES
    ]
    edits += [(activations.StageEdit("zero(C5)", "C5", jnp.zeros_like),)]
    acts = jax.jit(lambda v, x: jood.observe(model, v, x, edits=edits))(
        scaled_variables(model), torch_oracle.images(32)
    )
    assert np.abs(acts.logits[0] - acts.logits[1]).max() > 1e-2
    for stage in activations.STAGES:
        # The images swap all that is behind the stage, so they swap their logits.
        swapped = acts.edited[f"swap({stage})"].logits
        np.testing.assert_allclose(swapped, acts.logits[::-1], atol=1e-5)
    params = scaled_variables(model)["params"]
    left = params["head"]["bias"]
    if "hidden" in params:
        hidden = params["hidden"]["bias"]
        hidden = hidden * np.clip(hidden + 3, 0, 6) / 6  # hard swish
        left = hidden @ params["head"]["kernel"] + left
    zeroed = acts.edited["zero(C5)"].logits
    np.testing.assert_allclose(zeroed, np.stack([left, left]), atol=1e-5)

    for stage, value in acts.stages.items():
        if model is _V2:
            assert value.min() == 0, stage
            assert 1 < value.max() <= 6, stage
        elif stage == "C2":
            assert value.min() == 0
        else:  # the hard swish
            assert -0.375 <= value.min() < -0.3, stage
    pooled = acts.stages["C5"].mean(axis=(1, 2))
    if model is _V2:
        np.testing.assert_allclose(acts.penultimate, pooled, rtol=1e-5)
    else:
        assert acts.penultimate.shape[1] > pooled.shape[1]


@pytest.mark.parametrize(
    ("library", "theirs", "name", "options"),
    [
        ("torchvision", "mobilenet_v2", "mobilenet_v2", {}),
        ("timm", "mobilenetv2_050", "mobilenet_v2", {"width": 0.5}),
        ("torchvision", "mobilenet_v3_large", "mobilenet_v3_large", {}),
    ],
)
def test_logits_are_those_of_pytorch_and_weights_go_both_ways(
    library, theirs, name, options
):
    module = torch_oracle.library(library)
    torch = torch_oracle.torch_or_skip()
    create = module.create_model if library == "timm" else module.models.get_model
    network = torch_oracle.perturbed(create(theirs, num_classes=7))
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        if parameter.ndim > 1:  # so that logits are of a trained network's size
            torch.nn.init.kaiming_normal_(parameter, a=0.6, generator=generator)
    model = models.create(name, 7, **options)
    variables = weights.from_torch_names(torch_oracle.tensors(network), model)
    images = torch_oracle.images(75)  # maps of 38, 19, 10, 5 and 3 pixels
    expected = torch_oracle.logits(network, images)
    assert 0.1 < np.abs(expected[0] - expected[1]).max() < 10
    logits = jax.jit(model.apply)(variables, images)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)

    back = weights.to_torch_names(model, variables, library)
    fresh = create(theirs, num_classes=7).eval()
    fresh.load_state_dict({n: torch.from_numpy(t) for n, t in back.items()})
    np.testing.assert_array_equal(torch_oracle.logits(fresh, images), expected)


@pytest.mark.slow
@_SMALL
def test_weights_go_both_ways_without_pytorch(model):
    variables = scaled_variables(model)
    for layout in weights.layouts(model):
        tensors = weights.to_torch_names(model, variables, layout)
        found = weights.from_torch_names(tensors, model)
        chex.assert_trees_all_equal(found, variables)
    # The fourth block is of two stages here.
    tensors = weights.to_torch_names(model, variables, "torchvision")
    name = "features.4.conv" if model is _V2 else "features.4.block"
    for stage, part, i in (("C2", "expand", 0), ("C3", "depthwise", 1)):
        kernel = variables["params"][stage]["block4"][part]
        kernel = kernel.get("conv", kernel)["kernel"]
        weight = tensors[f"{name}.{i}.0.weight"]
        np.testing.assert_array_equal(weight, kernel.transpose(3, 2, 0, 1))


@pytest.mark.parametrize("side", [7, 10])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_depthwise_is_flaxs_grouped_convolution(kernel, stride, side):
    x = torch_oracle.images(side)
    ours = inverted_residual.Depthwise(kernel, stride, layers.Kit())
    theirs = nn.Conv(
        3,
        (kernel, kernel),
        (stride, stride),
        padding=[(kernel // 2, kernel // 2)] * 2,
        feature_group_count=3,
        use_bias=False,
    )
    variables = theirs.init(jax.random.key(0), x)
    mine = ours.init(jax.random.key(0), x)
    chex.assert_trees_all_equal_shapes_and_dtypes(mine, variables)
    got, expected = jax.jit(lambda v: (ours.apply(v, x), theirs.apply(v, x)))(variables)
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.slow
def test_depthwise_adds_in_float32_whatever_the_compute_type():
    kit = layers.Kit(jnp.dtype("bfloat16"))
    module = inverted_residual.Depthwise(5, 1, kit)
    x = jnp.ones([1, 9, 9, 1], jnp.bfloat16)
    kernel = np.full([5, 5, 1, 1], 1 / 256, np.float32)
    kernel[0, 0] = 1  # in bfloat16, 1 + 1/256 is 1
    y = module.apply({"params": {"kernel": kernel}}, x)
    assert y.dtype == jnp.bfloat16
    assert y[0, 4, 4, 0] == jnp.bfloat16(1 + 24 / 256)


@pytest.mark.slow
def test_bfloat16_computes_in_bfloat16_but_keeps_float32_parameters_and_logits():
    for model in (_V2.clone(dtype="bfloat16"), _V3.clone(dtype="bfloat16")):
        images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
        variables = jax.eval_shape(model.init, jax.random.key(0), images)
        acts = jax.eval_shape(functools.partial(jood.observe, model), variables, images)
        assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
        assert {x.dtype for x in acts.stages.values()} == {jnp.dtype("bfloat16")}
        assert acts.logits.dtype == acts.penultimate.dtype == jnp.float32


@pytest.mark.parametrize(
    ("channels", "expected"),
    # 20 is as near to 16; 18 would lose more than a tenth with 16, 17.7 does not.
    [(1, 8), (16, 16), (20, 24), (18, 24), (17.7, 16), (12, 16), (44.8, 48)],
)
def test_channels_are_rounded_to_multiples_of_8(channels, expected):
    assert inverted_residual.rounded(channels) == expected


def test_ranges_name_the_blocks_of_each_stage():
    v2 = {"C2": (1, 4), "C3": (4, 7), "C4": (7, 14), "C5": (14, 18)}
    assert inverted_residual.ranges(_V2.rows) == v2
    v3 = {"C2": (1, 4), "C3": (4, 7), "C4": (7, 13), "C5": (13, 16)}
    assert inverted_residual.ranges(_V3.rows) == v3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "epsilon", "momentum"), [(_V2, 1e-5, 0.9), (_V3, 1e-3, 0.99)]
)
def test_batch_norm_is_torchvisions(model, epsilon, momentum):
    found = set()

    def look(call, args, kwargs, context):
        if isinstance(context.module, nn.BatchNorm):
            found.add((context.module.epsilon, context.module.momentum))
        return call(*args, **kwargs)

    with nn.intercept_methods(look):
        jax.eval_shape(model.apply, scaled_variables(model), torch_oracle.images(32))
    assert found == {(epsilon, momentum)}


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_large"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0.0}, "width must be a multiplier >= 0.25, got 0.0"),
        ({"width": float("nan")}, "width must be a multiplier >= 0.25, got nan"),
        ({"dtype": "int8"}, "dtype must be one of .*got 'int8'"),
        ({"depth": 3}, "depth.*in models.create"),
    ],
)
def test_a_bad_option_is_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        models.create(name, 10, **options)


@pytest.mark.slow
def test_mobilenet_v3_drops_a_fifth_of_its_feature_in_training():
    """As torchvision's: p = 0.2, and what is left is divided by 0.8."""
    images = jnp.ones((8, 32, 32, 3)) * jnp.arange(1.0, 9.0)[:, None, None, None]
    variables = jax.jit(_V3.init)(jax.random.key(0), images)
    labels = jnp.zeros(8, jnp.int32)

    @functools.partial(jax.jit, static_argnums=1)
    def feature(key, keyed):
        key = key if keyed else None
        return look(_V3, variables, images, labels, key=key)[0].acts.penultimate

    whole, dropped = (feature(jax.random.key(1), keyed) for keyed in (False, True))
    kept = dropped != 0
    assert 0.7 < kept.mean() < 0.9
    np.testing.assert_allclose(dropped[kept], whole[kept] / 0.8, rtol=1e-4)
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\)"):
        mobilenet_v3.MobileNetV3(5, dropout=1.0)
