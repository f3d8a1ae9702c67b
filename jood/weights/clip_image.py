"""Names of the tensors of CLIP's image tower: Hugging Face's, OpenAI's, OpenCLIP's.

A published file holds both towers and no head; `head` is our name for the texts of
the classes. OpenCLIP has OpenAI's names, except in models with a text tower of their
own kind, which is below 'text.'.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jood.models import clip_image
from jood.weights import layout
from jood.weights import stored_parts

PARTS = ("norm1", "qkv/kernel", "qkv/bias", "out", "norm2", "mlp1", "mlp2")
HUGGING_FACE = (
    "layer_norm1",
    "self_attn.{q,k,v}_proj.weight",
    "self_attn.{q,k,v}_proj.bias",
    "self_attn.out_proj",
    "layer_norm2",
    "mlp.fc1",
    "mlp.fc2",
)
OPENAI = (
    "ln_1",
    "attn.in_proj_weight",
    "attn.in_proj_bias",
    "attn.out_proj",
    "ln_2",
    "mlp.c_fc",
    "mlp.c_proj",
)
# What OpenAI's programs hold beside tensors of weights.
OPENAI_NUMBERS = ("input_resolution", "context_length", "vocab_size")
_ENDS = (
    "class_embedding",
    "position_embedding",
    "patch_embedding",
    "norm_pre",
    "norm",
    "head",
)


def tower(
    ends: Mapping[str, str],
    projection: tuple[str, str],
    block: str,
    parts: Sequence[str],
    ignored: tuple[str, ...],
) -> layout.Layout:
    """Returns the layout of a tower.

    Args:
      ends: the file's names of the parts that are not blocks, by ours.
      projection: our name of the map to the embedding, and the file's.
      block: text before a block's number.
      parts: the file's names of a block's `PARTS`.
      ignored: prefixes of tensors that are not of this tower.
    """

    def modules(model: Any) -> layout.Pairs:
        yield from ends.items()
        yield projection
        for i in range(model.depth):
            yield from layout.below(f"block{i + 1}", f"{block}{i}", PARTS, parts)

    return stored_parts.in_parts(layout.Layout(modules, ignored))


def _layout(ends: Sequence[str], *others: Any) -> layout.Layout:
    return tower(dict(zip(_ENDS, (*ends, "head"), strict=True)), *others)


def _openai(ignored: tuple[str, ...]) -> layout.Layout:
    names = ("class_embedding", "positional_embedding", "conv1", "ln_pre", "ln_post")
    return _layout(
        tuple(f"visual.{name}" for name in names),
        ("projection/kernel", "visual.proj^T"),
        "visual.transformer.resblocks.",
        OPENAI,
        ("logit_scale", *OPENAI_NUMBERS, *ignored),
    )


_EMBEDDINGS = "vision_model.embeddings."
MODEL = clip_image.ClipImage
LAYOUTS = {
    "hugging_face": _layout(
        (
            f"{_EMBEDDINGS}class_embedding",
            f"{_EMBEDDINGS}position_embedding.weight",
            f"{_EMBEDDINGS}patch_embedding",
            "vision_model.pre_layrnorm",  # their spelling
            "vision_model.post_layernorm",
        ),
        ("projection", "visual_projection"),
        "vision_model.encoder.layers.",
        HUGGING_FACE,
        ("text_model.", "text_projection.", "logit_scale", f"{_EMBEDDINGS}position_id"),
    ),
    "openai": _openai(
        (
            "transformer.",
            "token_embedding.",
            "positional_embedding",
            "ln_final.",
            "text_projection",
        )
    ),
    "open_clip": _openai(("text.", "logit_bias")),
}
