"""The tiny CLIP of the golden set: towers of its sizes, with its weights."""

import numpy as np

from jood import weights
from jood.models import clip_image
from jood.models import clip_text
from jood.weights import reading

HEADS = 4  # its README says so; every other size is read off the tensors
NAMES = ("hf", "openai")


def tensors(folder, names="openai"):
    """The tensors of both towers, float32, under one kind of names."""
    return reading.read(folder / f"clip_tiny_weights_{names}.npz")


def arrays(folder, kind="tiny"):
    """Golden arrays by name."""
    name = "clip_scores" if kind == "scores" else f"clip_{kind}_golden"
    with np.load(folder / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def towers(folder, activation="quick_gelu"):
    """The image tower, for a head of one class, and the text tower."""
    found = tensors(folder)
    width, _, _, patch = found["visual.conv1.weight"].shape
    tokens = len(found["visual.positional_embedding"])
    vocabulary, text_width = found["token_embedding.weight"].shape

    def depth(prefix):
        return sum(
            name.startswith(prefix) and name.endswith("ln_1.weight") for name in found
        )

    common = {
        "heads": HEADS,
        "embedding_width": found["visual.proj"].shape[1],
        "activation": activation,
    }
    block = "transformer.resblocks."
    image = clip_image.ClipImage(
        num_classes=1,
        image_size=patch * round((tokens - 1) ** 0.5),
        patch=patch,
        width=width,
        depth=depth(f"visual.{block}"),
        mlp_width=len(found[f"visual.{block}0.mlp.c_fc.weight"]),
        **common,
    )
    text = clip_text.ClipText(
        vocabulary=vocabulary,
        context=len(found["positional_embedding"]),
        width=text_width,
        depth=depth(block),
        mlp_width=len(found[f"{block}0.mlp.c_fc.weight"]),
        **common,
    )
    return image, text


def with_head(found, kernel):
    """Tensors with the head of a kernel [D, K]."""
    kernel = np.asarray(kernel, np.float32)
    return {**found, "head.weight": kernel.T, "head.bias": np.zeros(kernel.shape[1])}


def variables(folder, image, text, kernel, names="openai"):
    """Variables of the two towers, the image tower's with a head."""
    found = tensors(folder, names)
    return (
        weights.from_torch_names(with_head(found, kernel), image),
        weights.from_torch_names(found, text),
    )
