"""Names of the tensors of CLIP's text tower; as `clip_image`, for the other half."""

from collections.abc import Sequence
from typing import Any

from jood.models import clip_text
from jood.weights import clip_image
from jood.weights import layout

_ENDS = ("token_embedding/embedding", "position_embedding", "norm", "logit_scale")


def _layout(ends: Sequence[str], *others: Any) -> layout.Layout:
    named = dict(zip(_ENDS, (*ends, "logit_scale"), strict=True))
    return clip_image.tower(named, *others)


def _openai(prefix: str) -> layout.Layout:
    names = ("token_embedding.weight", "positional_embedding", "ln_final")
    return _layout(
        tuple(prefix + name for name in names),
        ("projection/kernel", f"{prefix}text_projection^T"),
        f"{prefix}transformer.resblocks.",
        clip_image.OPENAI,
        ("visual.", "logit_bias", "head.", *clip_image.OPENAI_NUMBERS),
    )


_EMBEDDINGS = "text_model.embeddings."
MODEL = clip_text.ClipText
LAYOUTS = {
    "hugging_face": _layout(
        (
            f"{_EMBEDDINGS}token_embedding.weight",
            f"{_EMBEDDINGS}position_embedding.weight",
            "text_model.final_layer_norm",
        ),
        ("projection", "text_projection"),
        "text_model.encoder.layers.",
        clip_image.HUGGING_FACE,
        ("vision_model.", "visual_projection.", "head.", f"{_EMBEDDINGS}position_id"),
    ),
    "openai": _openai(""),
    "open_clip": _openai("text."),
}
