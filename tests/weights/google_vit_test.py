"""Google's ViT files: there and back, as timm reads them, and at another size."""

import re

import chex
from helpers import torch_oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jood import models
from jood import weights
from jood.core.preprocessing import Preprocessing
from jood.models import vit
from jood.weights import attention_heads
from jood.weights import conversion
from jood.weights import position_embedding
from jood.weights import reading

# 3 x 3 patches, and 5 x 5 of the same network at another size.
_SMALL = vit.ViT(5, image_size=24, patch=8, width=24, depth=4, heads=3, mlp_width=48)
_LARGER = _SMALL.clone(image_size=40)
_BLOCK = "Transformer/encoderblock_1/"
_ATTENTION = f"{_BLOCK}MultiHeadDotProductAttention_1/"
_POSITIONS = "Transformer/posembed_input/pos_embedding"
# By name, the shapes that Google's code (Flax) gives a network of this size.
SHAPES = {
    "cls": (1, 1, 24),
    "embedding/kernel": (8, 8, 3, 24),
    "embedding/bias": (24,),
    _POSITIONS: (1, 10, 24),
    f"{_BLOCK}LayerNorm_0/scale": (24,),
    f"{_BLOCK}LayerNorm_2/bias": (24,),
    f"{_ATTENTION}query/kernel": (24, 3, 8),
    f"{_ATTENTION}key/bias": (3, 8),
    f"{_ATTENTION}value/kernel": (24, 3, 8),
    f"{_ATTENTION}out/kernel": (3, 8, 24),
    f"{_ATTENTION}out/bias": (24,),
    f"{_BLOCK}MlpBlock_3/Dense_0/kernel": (24, 48),
    f"{_BLOCK}MlpBlock_3/Dense_1/kernel": (48, 24),
    "Transformer/encoder_norm/scale": (24,),
    "head/kernel": (24, 5),
    "head/bias": (5,),
}


def random_variables():
    images = jax.ShapeDtypeStruct((1, 24, 24, 3), jnp.float32)
    shapes = jax.eval_shape(_SMALL.init, jax.random.key(0), images)
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.normal(0, 0.3, leaf.shape).astype("f"), shapes)


@pytest.fixture
def tensors():
    return weights.to_torch_names(_SMALL, random_variables(), "google")


def saved(tensors, tmp_path):
    path = tmp_path / "ViT.npz"
    np.savez(path, **tensors)
    return path


def test_names_and_shapes_are_googles(tensors):
    assert {name: tensors[name].shape for name in SHAPES} == SHAPES
    assert len([name for name in tensors if name.startswith(_BLOCK)]) == 16
    assert len(tensors) == 4 * 16 + 8


def test_there_and_back(tensors, tmp_path):
    read = reading.read(saved(tensors, tmp_path))
    assert weights.find_layout(read, _SMALL) == "google"
    assert weights.num_classes(read, _SMALL, "google") == 5
    found = weights.from_torch_names(read, _SMALL)
    chex.assert_trees_all_equal(found, random_variables())
    back = weights.to_torch_names(_SMALL, found, "google")
    chex.assert_trees_all_equal(back, tensors)


def test_the_keys_of_one_head_land_in_that_heads_columns(tensors):
    tensors[f"{_ATTENTION}key/kernel"][:, 2] = 7.0
    kernel = weights.from_torch_names(tensors, _SMALL)["params"]["block2"]["qkv"]
    columns = kernel["kernel"].reshape(24, 3, 3, 8)  # [D, q k v, heads, D / heads]
    assert (columns[:, 1, 2] == 7).all()
    assert (columns == 7).sum() == 24 * 8


@pytest.mark.parametrize("model", [_SMALL, _LARGER])
def test_timm_reads_the_same_network(model, tensors, tmp_path):
    """timm's own reading of Google's files, also for larger images, beside ours."""
    timm = torch_oracle.library("timm")
    network = timm.models.vision_transformer.VisionTransformer(
        model.image_size, 8, num_classes=5, embed_dim=24, depth=4, num_heads=3,
        mlp_ratio=2,
    )  # fmt: skip
    path = saved(tensors, tmp_path)
    network.load_pretrained(str(path))
    found = weights.load(path, model)
    expected = network.pos_embed.detach().numpy()
    own = found["params"]["position_embedding"]
    np.testing.assert_allclose(own, expected, rtol=0, atol=1e-5)
    images = torch_oracle.images(model.image_size)
    expected = torch_oracle.logits(network.eval(), images)
    assert expected.std() > 0.3
    logits = jax.jit(model.apply)(found, images)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)


def test_timm_resamples_its_own_files_alike():
    torch, timm = torch_oracle.torch_or_skip(), torch_oracle.library("timm")
    given = weights.to_torch_names(_SMALL, random_variables(), "timm")
    for side in (5, 2):
        expected = timm.layers.resample_abs_pos_embed(
            torch.from_numpy(given["pos_embed"]), [side, side]
        )
        found = position_embedding.resampled(given["pos_embed"], side)
        np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-5)


def cubic(x):
    x = np.abs(x)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def linear(x):
    return np.maximum(1 - np.abs(x), 0)


@pytest.mark.parametrize("kernel", [cubic, linear])
@pytest.mark.parametrize(("before", "after"), [(3, 5), (5, 3), (4, 4)])
def test_resampling_resizes_the_grid_like_an_image(before, after, kernel):
    embedding = np.random.default_rng(0).normal(size=(1, 1 + before**2, 6)).astype("f")
    found = position_embedding.resampled(embedding, after, kernel.__name__)
    chex.assert_shape(found, (1, 1 + after**2, 6))
    np.testing.assert_array_equal(found[:, 0], embedding[:, 0])
    # Smaller grids are smoothed: the kernel is as wide as a new patch.
    wide = max(before / after, 1)
    centres = (np.arange(after) + 0.5) * before / after - 0.5
    matrix = kernel((centres[:, None] - np.arange(before)[None]) / wide)
    matrix /= matrix.sum(1, keepdims=True)
    grid = embedding[0, 1:].reshape(before, before, 6)
    expected = np.einsum("ai,bj,ijd->abd", matrix, matrix, grid).reshape(-1, 6)
    np.testing.assert_allclose(found[0, 1:], expected, rtol=0, atol=1e-5)


def test_only_squares_are_resampled():
    with pytest.raises(ValueError, match=r"a square of patches.*\(1, 8, 6\)"):
        position_embedding.resampled(np.zeros((1, 8, 6), np.float32), 4)


@pytest.mark.parametrize(
    ("layout", "method"),
    [
        ("google", "linear"), ("timm", "cubic"), ("torchvision", "cubic"),
        ("mmpretrain", "cubic"),
    ],
)  # fmt: skip
def test_every_layout_resamples_and_says_so(layout, method, caplog):
    given = weights.to_torch_names(_SMALL, random_variables(), layout)
    with caplog.at_level("INFO", logger="jood"):
        found = weights.from_torch_names(given, _LARGER)["params"]
    assert caplog.text.count("of 3 x 3 patches are resampled to 5 x 5, for images") == 1
    own = random_variables()["params"]
    expected = position_embedding.resampled(own.pop("position_embedding"), 5, method)
    np.testing.assert_array_equal(found.pop("position_embedding"), expected)
    chex.assert_trees_all_equal(found, own)
    caplog.clear()
    weights.from_torch_names(given, _SMALL)
    assert not caplog.text


@pytest.mark.parametrize("length", [0, 1, 8])
def test_embeddings_of_no_square_are_refused(length, tensors):
    tensors[_POSITIONS] = np.zeros((1, length, 24), np.float32)
    with pytest.raises(ValueError, match=f"{_POSITIONS} .model .*, file .1, {length},"):
        weights.from_torch_names(tensors, _LARGER)


@pytest.mark.parametrize(
    ("layout", "layer"), [("google", "pre_logits/"), ("timm", "pre_logits.fc.")]
)
def test_a_classifier_behind_another_layer_is_left_out_on_request(layout, layer):
    """The paper's networks of ImageNet-21k: head(tanh(pre_logits(feature)))."""
    tensors = weights.to_torch_names(_SMALL, random_variables(), layout)
    for leaf in ("kernel" if layout == "google" else "weight", "bias"):
        tensors[f"{layer}{leaf}"] = np.zeros((24, 24), np.float32)
    with pytest.raises(ValueError, match=f"unexpected: {layer}bias.*") as error:
        weights.from_torch_names(tensors, _SMALL)
    assert "num_classes=0 (--num_classes=0)" in str(error.value)
    assert weights.num_classes(tensors, _SMALL, layout) == 5
    found = weights.from_torch_names(tensors, _SMALL.clone(num_classes=0))["params"]
    own = random_variables()["params"]
    del own["head"]
    chex.assert_trees_all_equal(found, own)


def test_what_is_missing_is_named_as_in_the_file(tensors):
    del tensors[f"{_ATTENTION}key/kernel"]
    del tensors["Transformer/encoder_norm/scale"]
    with pytest.raises(ValueError, match="layout 'google'") as error:
        weights.from_torch_names(tensors, _SMALL)
    text = str(error.value)
    missing = re.search("missing: (.*)", text)[1]
    assert "Transformer/encoder_norm/scale" in missing
    assert f"{_ATTENTION}{attention_heads.JOINED}/kernel" in missing
    assert f"{_ATTENTION}query/kernel" in re.search("unexpected: (.*)", text)[1]


def test_a_file_is_converted_for_images_of_another_size(tensors, tmp_path, monkeypatch):
    def create(_, num_classes, **options):
        return _SMALL.clone(num_classes=num_classes, **options)

    monkeypatch.setattr(models, "create", create)
    plain = Preprocessing((0.5,) * 3, (0.5,) * 3)
    path = saved(tensors, tmp_path)
    network = conversion.convert(path, "vit_small", plain, image_size=40)
    assert network.model.image_size == 40
    assert network.source["layout"] == "google"
    shape = network.variables["params"]["position_embedding"].shape
    assert shape == (1, 26, 24)
