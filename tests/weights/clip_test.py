"""CLIP's tensors under the names of three code bases, both ways."""

from helpers.tiny_network import random_variables
import jax
import numpy as np
import pytest

from jood import models
from jood import weights
from jood.models import clip_text

IMAGE = models.create("clip_small", 3)
TEXT = clip_text.beside("clip_small").clone(vocabulary=20, context=9)
TOWERS = {"image": IMAGE, "text": TEXT}


def published(layout):
    """A file of both towers under a code base's names, without a head."""
    found = {}
    for tower in TOWERS.values():
        found |= weights.to_torch_names(tower, random_variables(tower), layout)
    return {name: t for name, t in found.items() if not name.startswith("head.")}


def with_head(tensors):
    head = random_variables(IMAGE)["params"]["head"]
    return {**tensors, "head.weight": head["kernel"].T, "head.bias": head["bias"]}


@pytest.mark.parametrize("layout", weights.layouts(IMAGE))
@pytest.mark.parametrize("tower", TOWERS)
def test_both_towers_are_read_from_one_file_and_written_back(tower, layout):
    model, given = TOWERS[tower], with_head(published(layout))
    assert weights.find_layout(given, model) == layout
    found = weights.from_torch_names(given, model)
    jax.tree.map(np.testing.assert_array_equal, found, random_variables(model))
    back = weights.to_torch_names(model, found, layout)
    for name, tensor in back.items():
        np.testing.assert_array_equal(tensor, given[name])
        assert tensor.flags.c_contiguous


def test_queries_keys_and_values_are_three_tensors_or_one():
    kernel = random_variables(IMAGE)["params"]["block2"]["qkv"]["kernel"]  # [32, 96]
    ours = published("hugging_face")
    prefix = "vision_model.encoder.layers.1.self_attn."
    for place, name in enumerate("qkv"):
        expected = kernel[:, 32 * place : 32 * (place + 1)].T
        np.testing.assert_array_equal(ours[f"{prefix}{name}_proj.weight"], expected)
    openai = published("openai")["visual.transformer.resblocks.1.attn.in_proj_weight"]
    np.testing.assert_array_equal(openai, kernel.T)


def test_openais_projections_are_transposed():
    kernel = random_variables(IMAGE)["params"]["projection"]["kernel"]  # [32, 24]
    np.testing.assert_array_equal(published("openai")["visual.proj"], kernel)
    theirs = published("hugging_face")["visual_projection.weight"]
    np.testing.assert_array_equal(theirs, kernel.T)


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        (
            "hugging_face",
            (
                "text_model.embeddings.position_ids",
                "vision_model.embeddings.position_id",
            ),
        ),
        ("openai", ("input_resolution", "context_length", "vocab_size")),
    ],
)
def test_what_is_no_weight_is_ignored(layout, names):
    given = with_head(published(layout)) | {name: np.arange(3) for name in names}
    for model in TOWERS.values():
        weights.from_torch_names(given, model, layout)


def test_a_tower_without_the_texts_of_its_classes_says_what_to_do():
    with pytest.raises(
        ValueError, match=r"Only the classifier .*jood convert --prompts"
    ):
        weights.from_torch_names(published("openai"), IMAGE)


def test_a_missing_part_is_named():
    given = with_head(published("hugging_face"))
    name = "vision_model.encoder.layers.2.self_attn.k_proj.weight"
    del given[name]
    with pytest.raises(ValueError, match="does not fit") as error:
        weights.from_torch_names(given, IMAGE)
    assert "missing: " + name.replace("k_", "{q,k,v}_") in str(error.value)
    given[name] = np.zeros((2, 32))
    with pytest.raises(ValueError, match=r"missing: .*\{q,k,v\}_proj"):
        weights.from_torch_names(given, IMAGE)


def test_a_text_tower_of_another_size_says_so():
    given = published("openai")
    with pytest.raises(ValueError, match=r"token_embedding\.weight \(model \(30, 16\)"):
        weights.from_torch_names(given, TEXT.clone(vocabulary=30))
