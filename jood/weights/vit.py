"""Names of the Vision Transformer's tensors: torchvision's, timm's, mmpretrain's.

All three keep the projections to queries, keys and values as one matrix, in this
order, as we do; torchvision's has no module of its own.
"""

from collections.abc import Sequence

from jood.models import vit
from jood.weights import layout

_EMBEDDINGS = ("class_token", "position_embedding", "patch_embedding")
_PARTS = ("norm1", "qkv/kernel", "qkv/bias", "out", "norm2", "mlp1", "mlp2")


def _layout(ends: Sequence[str], block: str, parts: Sequence[str]) -> layout.Layout:
    """Returns a layout of the embeddings, norm and head, and of numbered blocks."""

    def modules(model: vit.ViT) -> layout.Pairs:
        yield from zip((*_EMBEDDINGS, "norm", "head"), ends, strict=True)
        for i in range(model.depth):
            yield from layout.below(f"block{i + 1}", f"{block}{i}", _PARTS, parts)

    return layout.Layout(modules)


_QKV = ("attn.qkv.weight", "attn.qkv.bias", "attn.proj")
_OWN = ("in_proj_weight", "in_proj_bias", "out_proj")
_TORCHVISION = _layout(
    ("class_token", "encoder.pos_embedding", "conv_proj", "encoder.ln", "heads.head"),
    "encoder.layers.encoder_layer_",
    ("ln_1", *(f"self_attention.{name}" for name in _OWN), "ln_2", "mlp.0", "mlp.3"),
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
    "timm": _layout(
        ("cls_token", "pos_embed", "patch_embed.proj", "norm", "head"),
        "blocks.",
        ("norm1", *_QKV, "norm2", "mlp.fc1", "mlp.fc2"),
    ),
    "mmpretrain": layout.renamed(
        layout.prefixed(_MMPRETRAIN, "backbone."), ("backbone.head.", "head.")
    ),
}
