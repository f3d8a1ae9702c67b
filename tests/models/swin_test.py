"""Swin: equal to torchvision's and timm's, weights both ways, windows, stages."""

import functools
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
from jood.models import swin

_SMALL = swin.Swin((1, 2, 2, 1), (1, 2, 2, 4), 5, width=8, window=3)
SIZE = 40  # maps of 10, 5, 3 and 2: padded to windows, and to pairs
LARGER = 96  # of 24, 12, 6 and 3: timm makes windows smaller that a map does not fill


def create(library):
    """A PyTorch Swin of the size of _SMALL, whose logits depend on every tensor."""
    torch = torch_oracle.torch_or_skip()
    module = torch_oracle.library(library)
    depths, heads = _SMALL.depths, _SMALL.heads
    if library == "timm":
        network = module.models.swin_transformer.SwinTransformer(
            LARGER, 4, num_classes=5, embed_dim=8, depths=depths, num_heads=heads,
            window_size=3,
        )  # fmt: skip
    else:
        network = module.models.SwinTransformer(
            [4, 4], 8, list(depths), list(heads), [3, 3], num_classes=5
        )
    generator = torch.Generator().manual_seed(0)
    for tensor in network.parameters():
        torch.nn.init.normal_(tensor, 0, 0.3, generator=generator)
    return torch_oracle.perturbed(network)


@functools.cache
def random_variables():
    images = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    shapes = jax.eval_shape(_SMALL.init, jax.random.key(0), images)
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0, 0.3, leaf.shape), jnp.float32), shapes
    )


@pytest.mark.parametrize(("library", "size"), [("torchvision", SIZE), ("timm", LARGER)])
def test_logits_are_those_of_pytorch_and_weights_go_both_ways(library, size):
    network = create(library)
    tensors = torch_oracle.tensors(network)
    assert weights.find_layout(tensors, _SMALL) == library
    variables = weights.from_torch_names(tensors, _SMALL)
    images = torch_oracle.images(size)
    expected = torch_oracle.logits(network, images)
    assert 0.3 < expected.std() < 10
    logits = jax.jit(_SMALL.apply)(variables, images)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)

    torch = torch_oracle.torch_or_skip()
    back = weights.to_torch_names(_SMALL, variables, library)
    fresh = create(library)
    state = {n: torch.from_numpy(t) for n, t in back.items()}
    missing, unexpected = fresh.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("relative_position_index") for name in missing)
    np.testing.assert_array_equal(torch_oracle.logits(fresh, images), expected)


def test_the_authors_names_which_have_a_merging_at_the_end_of_a_stage():
    timm = weights.to_torch_names(_SMALL, random_variables(), "timm")
    tensors = {}
    for name, tensor in timm.items():
        name = re.sub(
            r"layers\.(\d)\.downsample",
            lambda found: f"layers.{int(found[1]) - 1}.downsample",
            name,
        )
        tensors[name.replace("head.fc", "head")] = tensor
    # Buffers that follow from sizes are in their files.
    buffers = {
        "layers.0.blocks.0.attn.relative_position_index": np.zeros((9, 9), int),
        "layers.1.blocks.1.attn_mask": np.zeros((4, 9, 9), np.float32),
    }
    assert "layers.0.downsample.reduction.weight" in tensors
    assert weights.find_layout(tensors | buffers, _SMALL) == "swin"
    found = weights.from_torch_names(tensors | buffers, _SMALL)
    chex.assert_trees_all_equal(found, random_variables())


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0, 1])
def test_a_patch_attends_to_those_of_its_window_alone(shift):
    side, heads, size = 3, 2, (6, 9)
    block = swin.Block(heads, side, shift, layers.Kit())
    rng = np.random.default_rng(0)
    x = rng.normal(3, 1, (1, *size, 4)).astype("f")
    params = jax.tree.map(
        lambda leaf: rng.normal(0, 0.5, leaf.shape),
        block.init(jax.random.key(0), x)["params"],
    )
    still = ("mlp1", "mlp2")  # the rest of a block is that of vit_test.py
    params |= {name: jax.tree.map(np.zeros_like, params[name]) for name in still}
    found = jax.jit(block.apply)({"params": jax.tree.map(np.float32, params)}, x)

    norm, qkv, out = (params[name] for name in ("norm1", "qkv", "out"))
    centred = x - x.mean(axis=-1, keepdims=True)
    y = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    y = (y * norm["scale"] + norm["bias"]) @ qkv["kernel"] + qkv["bias"]
    query, key, value = y[0].reshape(*size, 3, heads, 2).transpose(2, 0, 1, 3, 4)
    places = list(np.ndindex(*size))
    expected = np.array(x[0], np.float64)
    for at in places:
        attended = np.empty((heads, 2))
        window = [
            other for other in places
            if all((p - shift) // side == (q - shift) // side
                   for p, q in zip(at, other, strict=True))
        ]  # fmt: skip
        for head in range(heads):
            dots = [
                query[at][head] @ key[other][head] / np.sqrt(2)
                + params["position_bias"].reshape(5, 5, heads)[
                    at[0] - other[0] + 2, at[1] - other[1] + 2, head
                ]
                for other in window
            ]
            shares = np.exp(dots) / np.exp(dots).sum()
            attended[head] = shares @ [value[other][head] for other in window]
        expected[at] += attended.ravel() @ out["kernel"] + out["bias"]
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-4)


def test_stages_and_their_shapes():
    model = models.create("swin_t", 1000)
    images = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    acts = jax.eval_shape(functools.partial(jood.observe, model), variables, images)
    expected = {"C2": (56, 96), "C3": (28, 192), "C4": (14, 384), "C5": (7, 768)}
    assert set(acts.stages) == set(expected)
    for stage, (side, channels) in expected.items():
        chex.assert_shape(acts.stages[stage], (2, side, side, channels))
    chex.assert_shape(acts.penultimate, (2, 768))
    assert "batch_stats" not in variables


@pytest.mark.slow
def test_the_last_stage_is_what_is_pooled_and_an_edit_of_another_reaches_the_logits():
    images = jnp.asarray(torch_oracle.images(SIZE))
    edit = jood.StageEdit("square", "C3", jnp.square)
    run = jax.jit(functools.partial(jood.observe, _SMALL, edits=((edit,),)))
    acts = run(random_variables(), images)
    pooled = acts.stages["C5"].mean(axis=(1, 2))
    np.testing.assert_allclose(acts.penultimate, pooled, rtol=1e-5, atol=1e-6)
    head = random_variables()["params"]["head"]
    logits = pooled @ head["kernel"] + head["bias"][None]
    np.testing.assert_allclose(acts.logits, logits, rtol=1e-4, atol=1e-5)
    edited = acts.edit("square")
    squares = np.square(acts.stages["C3"])
    np.testing.assert_allclose(edited.stages["C3"], squares, rtol=1e-6)
    assert np.abs(edited.logits - acts.logits).max() > 1e-2


def test_bfloat16_computes_in_bfloat16_but_keeps_float32_parameters_and_logits():
    model = _SMALL.clone(dtype="bfloat16")
    images = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    acts = jax.eval_shape(functools.partial(jood.observe, model), variables, images)
    logits = jax.eval_shape(model.apply, variables, images)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert {leaf.dtype for leaf in acts.stages.values()} == {jnp.dtype("bfloat16")}
    assert logits.dtype == jnp.float32


def test_without_a_head_it_returns_the_feature():
    params = {k: v for k, v in random_variables()["params"].items() if k != "head"}
    images = jax.ShapeDtypeStruct((2, SIZE, SIZE, 3), jnp.float32)
    model = _SMALL.clone(num_classes=0)
    chex.assert_shape(jax.eval_shape(model.apply, {"params": params}, images), (2, 64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": (2, 2, 6)}, "depths and heads must each name 4 stages"),
        ({"depths": (2, 2, 0, 2)}, "4 stages of at least one block, got"),
        ({"heads": (3, 6, 12, 25)}, r"divide the stages' widths \[96, 192, 384, 768\]"),
        ({"window": 0}, "window must be >= 1, got 0"),
        ({"dtype": "int8"}, "dtype must be one of .*got 'int8'"),
    ],
)
def test_a_bad_field_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        models.create("swin_t", 10, **options)
