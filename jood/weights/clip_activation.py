"""Checks a CLIP's activation against the configuration beside its file of weights.

The tensors of a tower with QuickGELU and of one with GELU look alike, and the wrong
one gives embeddings that are only slightly wrong. So the configuration is asked, where
Hugging Face or OpenCLIP ship one.
"""

import json
import os
import pathlib
from typing import Any


def check(path: str | os.PathLike[str], name: str, activation: str) -> None:
    """Compares a model's activation with what stands beside its file of weights.

    Args:
      path: The file of weights.
      name: The model's name, for the message.
      activation: 'quick_gelu' or 'gelu'.

    Raises:
      ValueError: The configuration names the other one.
    """
    folder = pathlib.Path(path).parent
    for file, read in (
        ("open_clip_config.json", _of_open_clip),
        ("config.json", _of_hugging_face),
    ):
        in_file = read(_content(folder / file))
        if in_file is not None and in_file != activation:
            other = name.removesuffix("_gelu") + "_gelu" * (in_file == "gelu")
            raise ValueError(
                f"{folder / file} says that this CLIP computes with {in_file}, but "
                f"{name} does with {activation}. Say --model={other}."
            )


def _content(path: pathlib.Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _of_open_clip(config: dict[str, Any]) -> str | None:
    model = config.get("model_cfg")
    if not isinstance(model, dict):
        return None
    return "quick_gelu" if model.get("quick_gelu") else "gelu"


def _of_hugging_face(config: dict[str, Any]) -> str | None:
    """Theirs is QuickGELU where the file does not say."""
    if config.get("model_type") != "clip":
        return None
    vision = config.get("vision_config")
    named = vision.get("hidden_act") if isinstance(vision, dict) else None
    return named or "quick_gelu"
