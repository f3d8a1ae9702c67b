"""A CLIP in a folder as it is published: weights, vocabulary, configuration."""

import functools
import json

import jax
import numpy as np
from safetensors import numpy as safetensors_numpy

from helpers.tiny_network import random_variables
from jood import models
from jood import weights
from jood.models import byte_pairs
from jood.models import clip_text

NAME = "clip_small"
IMAGE, TEXT = models.create(NAME, 3), clip_text.beside(NAME)
MERGES = ("c a", "ca t</w>", "d o", "do g</w>", "p h", "ph o", "t o</w>", "pho to</w>")


def variables(model, seed=0):
    """Variables of which no two are alike, small enough for every tensor to matter."""
    return jax.tree.map(lambda leaf: leaf - 1, random_variables(model, seed))


@functools.cache
def tensors(layout="hugging_face"):
    """Both towers under a code base's names, without a head."""
    found = {}
    for tower in (IMAGE, TEXT):
        found |= weights.to_torch_names(tower, variables(tower), layout)
    return {name: t for name, t in found.items() if not name.startswith("head.")}


def merges(count=TEXT.vocabulary - 514):
    """The lines of merges.txt: those above, and others that no text asks for."""
    filler = (f"{a}{b} {c}{d}" for a in LETTERS for b in LETTERS for c in LETTERS
              for d in LETTERS)  # fmt: skip
    lines = [*MERGES, *(next(filler) for _ in range(count - len(MERGES)))]
    return "#version: 0.2\n" + "\n".join(lines) + "\n"


LETTERS = "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎ"


def known():
    """The vocabulary of `merges`."""
    lines = merges().splitlines()[1:]
    return byte_pairs.vocabulary([tuple(line.split()) for line in lines])


def write(folder, layout="hugging_face", activation="quick_gelu"):
    """Writes the folder and returns the file of weights."""
    folder.mkdir(parents=True)
    (folder / "merges.txt").write_text(merges(), encoding="utf-8")
    config = {"model_type": "clip", "vision_config": {"hidden_act": activation}}
    (folder / "config.json").write_text(json.dumps(config))
    path = folder / "model.safetensors"
    safetensors_numpy.save_file(tensors(layout), path)
    return path


def embedded(text_ids):
    """Directions of token ids by the text tower, float32 [N, D]."""
    found = np.asarray(jax.jit(TEXT.apply)(variables(TEXT), text_ids))
    return found / np.linalg.norm(found, axis=-1, keepdims=True)
