"""ViT: equal to torchvision's and timm's, weights both ways, stages of patch tokens."""

import functools
import math
import re

import chex
from helpers import torch_oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood import models
from jood import weights
from jood.models import layers
from jood.models import vit

_SMALL = vit.ViT(
    5, image_size=24, patch=8, width=24, depth=4, heads=3, mlp_width=48
)  # 9 patches


@functools.cache
def random_variables():
    """Variables of which no two are alike, none of them too large."""
    images = jax.ShapeDtypeStruct((1, 24, 24, 3), jnp.float32)
    shapes = jax.eval_shape(_SMALL.init, jax.random.key(0), images)
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0, 0.3, leaf.shape), jnp.float32), shapes
    )


def observe(images, edits=()):
    run = jax.jit(functools.partial(jood.observe, _SMALL, edits=edits))
    return run(random_variables(), jnp.asarray(images))


def create(library):
    """A PyTorch ViT of the size of _SMALL, whose logits depend on every tensor."""
    torch = torch_oracle.torch_or_skip()
    module = torch_oracle.library(library)
    if library == "timm":
        network = module.models.vision_transformer.VisionTransformer(
            24, 8, num_classes=5, embed_dim=24, depth=4, num_heads=3, mlp_ratio=2
        )
    else:
        network = module.models.VisionTransformer(24, 8, 4, 3, 24, 48, num_classes=5)
    generator = torch.Generator().manual_seed(0)
    for tensor in network.parameters():
        torch.nn.init.normal_(tensor, 0, 0.3, generator=generator)
    return torch_oracle.perturbed(network)


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_logits_are_those_of_pytorch_and_weights_go_both_ways(library):
    network = create(library)
    tensors = torch_oracle.tensors(network)
    variables = weights.from_torch_names(tensors, _SMALL, library)
    images = torch_oracle.images(24)
    expected = torch_oracle.logits(network, images)
    assert 0.3 < expected.std() < 10
    logits = jax.jit(_SMALL.apply)(variables, images)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)

    torch = torch_oracle.torch_or_skip()
    back = weights.to_torch_names(_SMALL, variables, library)
    fresh = create(library)
    fresh.load_state_dict({n: torch.from_numpy(t) for n, t in back.items()})
    np.testing.assert_array_equal(torch_oracle.logits(fresh, images), expected)


def test_the_older_names_of_torchvisions_published_file():
    torch = torch_oracle.torch_or_skip()
    network = create("torchvision")
    images = torch_oracle.images(24)
    expected = torch_oracle.logits(network, images)
    variables = weights.from_torch_names(torch_oracle.tensors(network), _SMALL)
    older = weights.to_torch_names(_SMALL, variables, "torchvision_published")
    assert "encoder.layers.encoder_layer_3.mlp.linear_2.bias" in older
    assert weights.find_layout(older, _SMALL) == "torchvision_published"
    chex.assert_trees_all_equal(weights.from_torch_names(older, _SMALL), variables)
    fresh = torch_oracle.library("torchvision").models.VisionTransformer(
        24, 8, 4, 3, 24, 48, num_classes=5
    )
    # torchvision renames them itself in a file that tells no version.
    fresh.load_state_dict({n: torch.from_numpy(t) for n, t in older.items()})
    found = torch_oracle.logits(fresh.eval(), images)
    np.testing.assert_array_equal(found, expected)


def test_mmpretrains_names():
    changes = [
        (r"^(cls_token|pos_embed|patch_embed|blocks|norm)\b", r"backbone.\1"),
        (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
        (r"\.blocks\.", ".layers."),
        (r"\.norm(\d)\.", r".ln\1."),
        (r"\.norm\.", ".ln1."),
        (r"\.mlp\.fc1\.", ".ffn.layers.0.0."),
        (r"\.mlp\.fc2\.", ".ffn.layers.1."),
        (r"^head\.", "head.layers.head."),
    ]
    tensors = {}
    for name, tensor in weights.to_torch_names(
        _SMALL, random_variables(), "timm"
    ).items():
        for old, new in changes:
            name = re.sub(old, new, name)
        tensors[name] = tensor
    assert weights.find_layout(tensors, _SMALL) == "mmpretrain"
    found = weights.from_torch_names(tensors, _SMALL)
    chex.assert_trees_all_equal(found, random_variables())


@pytest.mark.slow
def test_a_block_is_attention_and_a_perceptron_behind_layer_norms():
    block = vit.Block(2, 5, layers.Kit())
    rng = np.random.default_rng(0)
    x = rng.normal(3, 1, (2, 4, 6)).astype("f")
    params = jax.tree.map(
        lambda leaf: rng.normal(0, 0.5, leaf.shape),
        block.init(jax.random.key(0), x)["params"],
    )
    found = block.apply({"params": jax.tree.map(np.float32, params)}, x)

    def dense(x, name):
        return x @ params[name]["kernel"] + params[name]["bias"]

    def norm(x, name):
        centred = x - x.mean(axis=-1, keepdims=True)
        x = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)
        return x * params[name]["scale"] + params[name]["bias"]

    def gelu(x):
        return x * (1 + np.vectorize(math.erf)(x / np.sqrt(2))) / 2

    query, key, value = np.split(dense(norm(x, "norm1"), "qkv"), 3, axis=-1)
    attended = np.empty_like(query)
    for head in (slice(0, 3), slice(3, 6)):
        dots = query[..., head] @ key[..., head].transpose(0, 2, 1) / np.sqrt(3)
        shares = np.exp(dots) / np.exp(dots).sum(axis=-1, keepdims=True)
        attended[..., head] = shares @ value[..., head]
    x = x + dense(attended, "out")
    expected = x + dense(gelu(dense(norm(x, "norm2"), "mlp1")), "mlp2")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_stages_of_the_large_one_are_patch_tokens():
    model = models.create("vit_b16", 1000)
    images = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    acts = jax.eval_shape(functools.partial(jood.observe, model), variables, images)
    assert set(acts.stages) == {"C2", "C3", "C4", "C5"}
    for tokens in acts.stages.values():
        chex.assert_shape(tokens, (2, 196, 768))
    chex.assert_shape(acts.penultimate, (2, 768))
    assert "batch_stats" not in variables


def test_stages_are_timms_tokens_without_the_class_token():
    torch = torch_oracle.torch_or_skip()
    network = create("timm")
    variables = weights.from_torch_names(torch_oracle.tensors(network), _SMALL, "timm")
    images = torch_oracle.images(24)
    acts = jax.jit(functools.partial(jood.observe, _SMALL))(variables, images)
    with torch.inference_mode():
        batch = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        last, others = network.forward_intermediates(batch, output_fmt="NLC")
    for stage, expected in zip(("C2", "C3", "C4"), others, strict=False):
        np.testing.assert_allclose(acts.stages[stage], expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(acts.stages["C5"], last[:, 1:], rtol=0, atol=1e-4)
    np.testing.assert_allclose(acts.penultimate, last[:, 0], rtol=0, atol=1e-4)
    scores = jood.parse("feature_sim()").apply((), acts)
    tokens = last[:, 1:].numpy()  # Feature Sim, by hand
    expected = np.abs(tokens - tokens.mean(axis=1, keepdims=True)).mean(axis=(1, 2))
    np.testing.assert_allclose(scores, expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    ["feature_sim()", "feature_sim_median()", "feature_sim_std(stage='C4')"],
)
def test_feature_sim_reads_tokens(text):
    component = jood.parse(text)
    images = torch_oracle.images(24, batch=4)
    images[0] = 0.5  # a flat image
    scores = component.apply((), observe(images))
    chex.assert_shape(scores, (4,))
    assert np.isfinite(scores).all()
    assert np.argmin(scores) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "reaches"), [("C2", True), ("C4", True), ("C5", False)]
)
def test_an_edit_reaches_the_logits_through_later_attention_only(stage, reaches):
    # Not a scaling: LayerNorm would undo it.
    edit = jood.StageEdit("square", stage, jnp.square)
    acts = observe(torch_oracle.images(24), edits=((edit,),))
    edited = acts.edit("square")
    expected = np.square(acts.stages[stage])
    np.testing.assert_allclose(edited.stages[stage], expected, rtol=1e-6)
    changed = np.abs(edited.logits - acts.logits).max()
    assert changed > 1e-2 if reaches else changed == 0


@pytest.mark.slow
def test_threshold_activation_warns_of_signed_tokens():
    component = jood.parse("ta(k=0.2, stage='C4')|feature_sim()")
    acts = observe(torch_oracle.images(24), edits=component.edits)
    with pytest.warns(UserWarning, match="ta\\(stage='C4'\\)"):
        scores = component.apply((), acts)
    assert np.isfinite(scores).all()


def test_bfloat16_computes_in_bfloat16_but_keeps_float32_parameters_and_logits():
    model = _SMALL.clone(dtype="bfloat16")
    images = jax.ShapeDtypeStruct((1, 24, 24, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    acts = jax.eval_shape(functools.partial(jood.observe, model), variables, images)
    logits = jax.eval_shape(model.apply, variables, images)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert {leaf.dtype for leaf in acts.stages.values()} == {jnp.dtype("bfloat16")}
    assert logits.dtype == jnp.float32


@pytest.mark.parametrize(
    ("name", "count"), [("vit_b16", 86_859_496), ("vit_l16", 304_715_752)]
)
def test_at_384_pixels_only_the_position_embeddings_are_more(name, count):
    """ViT's ImageNet networks are fine-tuned at 384; the counts are timm's."""
    model = models.create(name, 1000, image_size=384)
    images = jax.ShapeDtypeStruct((1, 384, 384, 3), jnp.float32)
    leaves = jax.tree.leaves(jax.eval_shape(model.init, jax.random.key(0), images))
    assert sum(math.prod(leaf.shape) for leaf in leaves) == count


def test_without_a_head_it_returns_the_feature():
    model, variables = _SMALL.clone(num_classes=0), random_variables()
    params = {k: v for k, v in variables["params"].items() if k != "head"}
    images = torch_oracle.images(24)
    feature = model.apply({"params": params}, images)
    np.testing.assert_allclose(feature, observe(images).penultimate, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 32, 32, 3), (1, 24, 32, 3)])
def test_images_of_another_size_are_refused(shape):
    message = f"images of 24 x 24 pixels .*got {shape[1]} x {shape[2]}. Resize them"
    with pytest.raises(ValueError, match=message):
        _SMALL.apply(random_variables(), jnp.zeros(shape))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 225}, "image_size must be a multiple of patch = 16, got 225"),
        ({"image_size": 0}, "image_size must be a multiple of patch = 16, got 0"),
        ({"patch": 0}, "image_size must be a multiple of patch = 0, got 224"),
        ({"heads": 5}, "width must be a multiple of heads = 5, got 768"),
        ({"depth": 6}, "depth must be a multiple of 4, got 6"),
        ({"dtype": "int8"}, "dtype must be one of .*got 'int8'"),
    ],
)
def test_a_bad_field_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        models.create("vit_b16", 10, **options)
