"""CLIP's towers: blocks, stages, the linear head, the text up to its end token."""

import functools

import chex
from helpers.tiny_network import random_variables
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood import models
from jood.models import clip_blocks
from jood.models import clip_image
from jood.models import clip_text
from jood.weights import matching

IMAGE = models.create("clip_small", 5)
TEXT = clip_text.beside("clip_small").clone(vocabulary=20, context=9)


def variables(model, seed=0):
    """Variables of which no two are alike, small enough for every tensor to matter."""
    return jax.tree.map(lambda leaf: leaf - 1, random_variables(model, seed))


def images(count=3):
    return np.random.default_rng(0).normal(size=(count, 32, 32, 3)).astype("f")


def test_the_logits_are_scaled_cosines_of_the_embedding_and_the_kernel():
    held = variables(IMAGE)
    held["params"]["head"]["bias"] = np.zeros(5, "f")
    _, seen = jax.jit(functools.partial(IMAGE.apply, capture_intermediates=True))(
        held, images()
    )
    (embedding,) = seen["intermediates"]["projection"]["__call__"]  # [B, D]
    acts = jax.jit(functools.partial(jood.observe, IMAGE))(held, images())
    length = np.linalg.norm(embedding, axis=-1, keepdims=True)
    assert length.std() > 0.01
    np.testing.assert_allclose(acts.penultimate, embedding / length, atol=1e-6)
    expected = embedding / length @ held["params"]["head"]["kernel"]
    np.testing.assert_allclose(acts.logits, expected, atol=1e-5)
    assert acts.prediction.tolist() == expected.argmax(-1).tolist()


def test_stages_are_patch_tokens_and_an_edit_reaches_the_logits():
    edit = jood.StageEdit("square", "C3", jnp.square)
    run = functools.partial(jood.observe, IMAGE, edits=((edit,),))
    acts = jax.jit(run)(variables(IMAGE), images())
    assert set(acts.stages) == {"C2", "C3", "C4", "C5"}
    for tokens in acts.stages.values():
        chex.assert_shape(tokens, (3, 16, 32))
    edited = acts.edit("square")
    np.testing.assert_allclose(
        edited.stages["C3"], np.square(acts.stages["C3"]), rtol=1e-5
    )
    assert np.abs(edited.logits - acts.logits).max() > 1e-3


@pytest.mark.parametrize(("depth", "stages"), [(2, {"C3", "C5"}), (3, {"C5"})])
def test_a_tower_has_the_stages_that_end_with_a_block(depth, stages):
    model = IMAGE.clone(depth=depth)
    held = jax.eval_shape(model.init, jax.random.key(0), images())
    acts = jax.eval_shape(functools.partial(jood.observe, model), held, images())
    assert set(acts.stages) == stages


@pytest.mark.slow
@pytest.mark.parametrize("text", ["msp()", "knn(k=2)", "odin(eps=0.1)"])
def test_methods_read_a_clip_like_any_other_network(text):
    detector = jood.Detector(text, IMAGE, variables(IMAGE), image_shape=(32, 32, 3))
    if detector.component.passes:
        detector = detector.fit([images(8)])
    scores = detector(images())
    chex.assert_shape(scores, (3,))
    assert np.isfinite(scores).all()
    assert np.std(scores) > 0


def test_what_follows_the_end_of_a_text_does_not_matter():
    held = variables(TEXT)
    run = jax.jit(TEXT.apply)
    ids = np.array([[18, 3, 4, 19, 0, 0], [18, 5, 19, 0, 0, 0]])
    embeddings = run(held, ids)
    others = np.array([[18, 3, 4, 19, 7, 19], [18, 5, 19, 1, 2, 3]])
    np.testing.assert_allclose(run(held, others), embeddings, atol=1e-5)
    assert np.abs(embeddings[0] - embeddings[1]).max() > 1e-2
    other_word = np.array([[18, 3, 5, 19, 0, 0], [18, 6, 19, 0, 0, 0]])
    assert (np.abs(run(held, other_word) - embeddings).max(-1) > 1e-3).all()


def test_a_text_longer_than_the_context_is_refused():
    with pytest.raises(ValueError, match=r"L <= 9, got \(2, 10\)"):
        TEXT.apply(variables(TEXT), np.zeros((2, 10), np.int32))


def test_quick_gelu_is_a_scaled_sigmoid():
    x = np.linspace(-3, 3, 7, dtype="f")
    expected = x / (1 + np.exp(-1.702 * x))
    np.testing.assert_allclose(clip_blocks.quick_gelu(x), expected, rtol=1e-6)


def test_the_two_activations_give_other_logits():
    held = variables(IMAGE)
    logits = [
        jax.jit(IMAGE.clone(activation=name).apply)(held, images())
        for name in ("gelu", "quick_gelu")
    ]
    assert np.abs(logits[0] - logits[1]).max() > 1e-3


def test_bfloat16_computes_in_bfloat16_but_keeps_float32_parameters_and_logits():
    model = IMAGE.clone(dtype="bfloat16")
    held = jax.eval_shape(model.init, jax.random.key(0), images())
    acts = jax.eval_shape(functools.partial(jood.observe, model), held, images())
    assert {leaf.dtype for leaf in jax.tree.leaves(held)} == {jnp.dtype("float32")}
    assert {leaf.dtype for leaf in acts.stages.values()} == {jnp.dtype("bfloat16")}
    assert acts.logits.dtype == acts.penultimate.dtype == jnp.float32
    text = TEXT.clone(dtype="bfloat16")
    held = jax.eval_shape(text.init, jax.random.key(0), text.example_input)
    found = jax.eval_shape(text.apply, held, text.example_input)
    assert found.dtype == jnp.float32


@pytest.mark.parametrize("name", sorted(clip_image.FAMILY.models))
def test_every_image_tower_has_a_text_tower_of_its_embedding_and_activation(name):
    image, text = models.create(name, 3), clip_text.beside(name)
    assert text.embedding_width == image.embedding_width
    assert text.activation == image.activation


@pytest.mark.parametrize(
    ("name", "expected"), [("clip_vit_b32", 63_428_097), ("clip_vit_l14", 123_650_305)]
)
def test_number_of_parameters_of_the_text_towers(name, expected):
    """With the logit scale; both towers of ViT-B/32 have 151,277,313."""
    shapes = matching.expected_shapes(clip_text.beside(name))
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 33}, "image_size must be a multiple of patch = 8, got 33"),
        ({"heads": 5}, "width must be a multiple of heads = 5, got 32"),
        ({"depth": 0}, "depth must be an integer from 1 to 1000, got 0"),
        ({"activation": "relu"}, "activation must be one of quick_gelu, gelu, got"),
        ({"dtype": "int8"}, "dtype must be one of .*got 'int8'"),
    ],
)
def test_a_bad_field_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        models.create("clip_small", 10, **options)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"images of 32 x 32 pixels .*got 24 x 32"):
        IMAGE.apply(variables(IMAGE), jnp.zeros((1, 24, 32, 3)))
    with pytest.raises(ValueError, match=r"resnet18 has no text tower; .*clip_vit_l14"):
        clip_text.beside("resnet18")
