"""Names of the Vision Transformer's tensors: PyTorch's code bases and Google's files.

torchvision, timm and mmpretrain keep the projections to queries, keys and values as one
matrix, in this order, as we do; torchvision's has no module of its own. Google's `.npz`
files have the names and axes of Flax, and three projections with an axis of heads.

The position embeddings of images of another size are resampled to the model's.
"""

from collections.abc import Sequence
import functools

from jood.models import vit
from jood.weights import attention_heads
from jood.weights import layout
from jood.weights import matching
from jood.weights import position_embedding

_EMBEDDINGS = ("class_token", "position_embedding", "patch_embedding")
_PARTS = ("norm1", "qkv/kernel", "qkv/bias", "out", "norm2", "mlp1", "mlp2")


def _layout(
    ends: Sequence[str],
    block: str,
    parts: Sequence[str],
    convention: layout.Convention = layout.PYTORCH,
) -> layout.Layout:
    """Returns a layout of the embeddings, norm and head, and of numbered blocks."""

    def modules(model: vit.ViT) -> layout.Pairs:
        yield from zip((*_EMBEDDINGS, "norm", "head"), ends, strict=True)
        for i in range(model.depth):
            names = (f"{block}{i}{convention.separator}{part}" for part in parts)
            yield from zip(
                (f"block{i + 1}/{part}" for part in _PARTS), names, strict=True
            )

    return layout.Layout(
        modules, convention=convention, fitted=position_embedding.fitted
    )


def _behind(layer: str, plain: layout.Layout) -> layout.Layout:
    """Names the layer that the classifier of the paper's ImageNet-21k networks reads.

    It is left out where a network is fine-tuned, and our ViT does not have it.
    """

    def modules(model: vit.ViT) -> layout.Pairs:
        yield from plain.modules(model)
        yield matching.BEFORE_HEAD, layer

    return plain._replace(modules=modules)


def _google() -> layout.Layout:
    """Google's files, of the paper's networks and of AugReg's."""
    attention = "MultiHeadDotProductAttention_1/"
    plain = _layout(
        (
            "cls",
            "Transformer/posembed_input/pos_embedding",
            "embedding",
            "Transformer/encoder_norm",
            "head",
        ),
        "Transformer/encoderblock_",
        (
            "LayerNorm_0",
            *(f"{attention}{attention_heads.JOINED}/{leaf}" for leaf in _LEAVES),
            f"{attention}out",
            "LayerNorm_2",
            "MlpBlock_3/Dense_0",
            "MlpBlock_3/Dense_1",
        ),
        layout.FLAX,
    )

    return _behind("pre_logits", plain)._replace(
        joined=attention_heads.joined,
        split=attention_heads.split,
        fitted=functools.partial(position_embedding.fitted, method="linear"),
    )


_LEAVES = ("kernel", "bias")
_QKV = ("attn.qkv.weight", "attn.qkv.bias", "attn.proj")
_OWN = ("in_proj_weight", "in_proj_bias", "out_proj")
_TORCHVISION = _layout(
    ("class_token", "encoder.pos_embedding", "conv_proj", "encoder.ln", "heads.head"),
    "encoder.layers.encoder_layer_",
    ("ln_1", *(f"self_attention.{name}" for name in _OWN), "ln_2", "mlp.0", "mlp.3"),
)
_TIMM = _layout(
    ("cls_token", "pos_embed", "patch_embed.proj", "norm", "head"),
    "blocks.",
    ("norm1", *_QKV, "norm2", "mlp.fc1", "mlp.fc2"),
)
_MMPRETRAIN = _layout(
    ("cls_token", "pos_embed", "patch_embed.projection", "ln1", "head.layers.head"),
    "layers.",
    ("ln1", *_QKV, "ln2", "ffn.layers.0.0", "ffn.layers.1"),
)
MODEL = vit.ViT
LAYOUTS = {
    "torchvision": _TORCHVISION,
    # The file that torchvision publishes (vit_b_16-c867db91.pth) is older than its
    # code, which renames these when it loads them.
    "torchvision_published": layout.renamed(
        _TORCHVISION, (".mlp.0", ".mlp.linear_1"), (".mlp.3", ".mlp.linear_2")
    ),
    "timm": _behind("pre_logits.fc", _TIMM),
    "mmpretrain": layout.renamed(
        layout.prefixed(_MMPRETRAIN, "backbone."), ("backbone.head.", "head.")
    ),
    "google": _google(),
}
