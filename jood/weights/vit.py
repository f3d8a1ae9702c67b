"""Names of the Vision Transformer's tensors: torchvision's, timm's, mmpretrain's.

All three keep the projections to queries, keys and values as one matrix, in this
order, as we do; torchvision's has no module of its own.
"""

from collections.abc import Iterator

from jood.models import vit
from jood.weights import layout


def _torchvision(model: vit.ViT) -> Iterator[tuple[str, str]]:
    yield "class_token", "class_token"
    yield "position_embedding", "encoder.pos_embedding"
    yield "patch_embedding", "conv_proj"
    for i in range(model.depth):
        ours, theirs = f"block{i + 1}", f"encoder.layers.encoder_layer_{i}"
        yield f"{ours}/norm1", f"{theirs}.ln_1"
        yield f"{ours}/qkv/kernel", f"{theirs}.self_attention.in_proj_weight"
        yield f"{ours}/qkv/bias", f"{theirs}.self_attention.in_proj_bias"
        yield f"{ours}/out", f"{theirs}.self_attention.out_proj"
        yield f"{ours}/norm2", f"{theirs}.ln_2"
        yield f"{ours}/mlp1", f"{theirs}.mlp.0"
        yield f"{ours}/mlp2", f"{theirs}.mlp.3"
    yield "norm", "encoder.ln"
    yield "head", "heads.head"


def _timm(model: vit.ViT) -> Iterator[tuple[str, str]]:
    yield "class_token", "cls_token"
    yield "position_embedding", "pos_embed"
    yield "patch_embedding", "patch_embed.proj"
    for i in range(model.depth):
        ours, theirs = f"block{i + 1}", f"blocks.{i}"
        yield f"{ours}/norm1", f"{theirs}.norm1"
        yield f"{ours}/qkv", f"{theirs}.attn.qkv"
        yield f"{ours}/out", f"{theirs}.attn.proj"
        yield f"{ours}/norm2", f"{theirs}.norm2"
        yield f"{ours}/mlp1", f"{theirs}.mlp.fc1"
        yield f"{ours}/mlp2", f"{theirs}.mlp.fc2"
    yield "norm", "norm"
    yield "head", "head"


def _mmpretrain(model: vit.ViT) -> Iterator[tuple[str, str]]:
    yield "class_token", "backbone.cls_token"
    yield "position_embedding", "backbone.pos_embed"
    yield "patch_embedding", "backbone.patch_embed.projection"
    for i in range(model.depth):
        ours, theirs = f"block{i + 1}", f"backbone.layers.{i}"
        yield f"{ours}/norm1", f"{theirs}.ln1"
        yield f"{ours}/qkv", f"{theirs}.attn.qkv"
        yield f"{ours}/out", f"{theirs}.attn.proj"
        yield f"{ours}/norm2", f"{theirs}.ln2"
        yield f"{ours}/mlp1", f"{theirs}.ffn.layers.0.0"
        yield f"{ours}/mlp2", f"{theirs}.ffn.layers.1"
    yield "norm", "backbone.ln1"
    yield "head", "head.layers.head"


MODEL = vit.ViT
LAYOUTS = {
    "torchvision": layout.Layout(_torchvision),
    # The file that torchvision publishes (vit_b_16-c867db91.pth) is older than its
    # code, which renames these when it loads them.
    "torchvision_published": layout.renamed(
        layout.Layout(_torchvision),
        (".mlp.0", ".mlp.linear_1"),
        (".mlp.3", ".mlp.linear_2"),
    ),
    "timm": layout.Layout(_timm),
    "mmpretrain": layout.Layout(_mmpretrain),
}
