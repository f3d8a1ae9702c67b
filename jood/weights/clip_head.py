"""The head of a CLIP: the texts of its classes, as the text tower embeds them.

A class is the mean direction of its words in each template; the kernel's column is
that direction times the logit scale, the bias is 0. With word lists, NegLabel's texts
are made too. The text tower is read from the file of the weights and runs once; a copy
stays in the network's folder, for other texts (`text_tower`).
"""

from collections.abc import Callable, Mapping, Sequence
import os
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from jood import weights
from jood.core import norms
from jood.methods import negative_mining
from jood.models import byte_pairs
from jood.models import clip_text
from jood.weights import clip_activation
from jood.weights import clip_prompts
from jood.weights import clip_vocabulary
from jood.weights.checkpoint import TrainedNetwork
from jood.weights.clip_prompts import Prompts
from jood.weights.conversion import MadeHead

_BATCH = 64  # texts
_STEP = 8  # lengths of texts are rounded up to a multiple, so that few are compiled

# NegLabel's own templates: for classes and nouns, and for adjectives.
NOUN, ADJECTIVE = "the nice {}", "This is a {} photo"
NEGLABEL = "neglabel_head"  # the collection that the score `neglabel` reads
Maker = Callable[[Mapping[str, np.ndarray]], MadeHead]
Embed = Callable[[Sequence[str]], np.ndarray]  # texts -> float32 [N, D] of length 1


class WordLists(NamedTuple):
    """Words among which NegLabel looks for negative ones; either may be empty."""

    nouns: tuple[str, ...] = ()
    adjectives: tuple[str, ...] = ()


def of_files(
    name: str,
    path: str | os.PathLike[str],
    prompts: Prompts,
    *,
    nouns: str | os.PathLike[str] | None = None,
    adjectives: str | os.PathLike[str] | None = None,
    vocabulary: str | os.PathLike[str] | None = None,
) -> Maker:
    """Returns what makes the head of a file of weights.

    Args:
      name: Name of the model, one of `clip_image.FAMILY`.
      path: The file of weights; what lies beside it is read too.
      prompts: Words and templates of the classes.
      nouns: File of words for NegLabel, one per line.
      adjectives: The same.
      vocabulary: As for `maker`; by default beside the weights.

    Raises:
      FileNotFoundError: A file is missing.
      ValueError: As for `maker`; or the model is not a CLIP, or is one of another
        activation than the configuration beside the weights says.
    """
    tower = clip_text.beside(name)
    clip_activation.check(path, name, tower.activation)
    files = (nouns, adjectives)
    lists = WordLists(*(clip_prompts.read_words(f) if f else () for f in files))
    place = vocabulary or pathlib.Path(path).parent
    return maker(tower, place, prompts, lists if any(files) else None, str(path))


def described(network: TrainedNetwork) -> str:
    """Returns what the head of a network was made of, in words."""
    words, templates = (network.source[key] for key in ("words", "templates"))
    text = f"texts such as {templates[0].format(words[0])!r}, of "
    text += f"{len(templates)} template" + "s" * (len(templates) > 1)
    if NEGLABEL in network.variables:
        negative = network.variables[NEGLABEL]["negative"]
        text += f"; {negative.shape[1]:,} negative words"
    return text


def maker(
    tower: clip_text.ClipText,
    vocabulary: str | os.PathLike[str],
    prompts: Prompts,
    lists: WordLists | None = None,
    where: str = "the given tensors",
) -> Maker:
    """Returns what makes the head of the tensors of a CLIP.

    Args:
      tower: The text tower.
      vocabulary: The file or folder of its vocabulary; see `clip_vocabulary.read`.
      prompts: Words and templates of the classes.
      lists: Word lists for NegLabel; None makes none of its texts.
      where: Origin of the tensors, for messages.

    Raises:
      FileNotFoundError: There is no vocabulary.
      ValueError: The vocabulary is not the tower's, the tensors do not hold the text
        tower, or a text has too many tokens.
    """
    known = clip_vocabulary.read(vocabulary)
    if len(known.ids) != tower.vocabulary:
        raise ValueError(
            f"the vocabulary at {vocabulary} has {len(known.ids)} tokens, but the text "
            f"tower {tower.vocabulary}: it is another network's."
        )

    def make(tensors: Mapping[str, np.ndarray]) -> MadeHead:
        variables = weights.from_torch_names(tensors, tower, where=where)
        embed = embedder(tower, variables, known)
        scale = float(np.exp(variables["params"]["logit_scale"]))
        kernel = scale * directions(embed, prompts.words, prompts.templates)  # [D, K]
        head = {"head.weight": kernel.T, "head.bias": np.zeros(kernel.shape[1], "f")}
        collections: dict[str, Any] = {}
        if lists is not None:
            collections[NEGLABEL] = neglabel_texts(embed, prompts.words, lists)
        source: dict[str, Any] = {
            "words": list(prompts.words),
            "templates": list(prompts.templates),
        }
        return MadeHead(head, collections, source)

    return make


def embedder(
    tower: clip_text.ClipText, variables: Any, known: byte_pairs.Vocabulary
) -> Embed:
    """Returns a function that embeds texts, in batches of about equal length."""
    run = jax.jit(lambda held, ids: norms.unit(tower.apply(held, ids)))
    held = jax.device_put(variables)

    def embed(texts: Sequence[str]) -> np.ndarray:
        ids = byte_pairs.encode(known, texts, tower.context)
        lengths = ids.argmax(-1) + 1  # the end token has the largest id
        order = np.argsort(lengths, kind="stable")
        embeddings = np.zeros((len(texts), tower.embedding_width), np.float32)
        for start in range(0, len(texts), _BATCH):
            rows = order[start : start + _BATCH]
            longest = min(-(-lengths[rows].max() // _STEP) * _STEP, tower.context)
            batch = np.resize(ids[rows, :longest], (_BATCH, longest))  # repeats rows
            embeddings[rows] = run(held, batch)[: len(rows)]
        return embeddings

    return embed


def directions(
    embed: Embed, words: Sequence[str], templates: Sequence[str]
) -> np.ndarray:
    """Returns the mean direction of each class over templates, float32 [D, K]."""
    texts = [template.format(word) for word in words for template in templates]
    embedded = embed(texts).reshape(len(words), len(templates), -1)
    return norms.unit(embedded.mean(axis=1), xp=np).T


def neglabel_texts(
    embed: Embed, words: Sequence[str], lists: WordLists
) -> dict[str, np.ndarray]:
    """Returns what `neglabel` reads: 'positive' [D, K] and 'negative' [D, M]."""
    positive = directions(embed, words, [NOUN])
    mined = []
    for candidates, template in ((lists.nouns, NOUN), (lists.adjectives, ADJECTIVE)):
        if candidates:
            vectors = directions(embed, candidates, [template]).T
            near = negative_mining.nearness(vectors, positive.T)
            mined.append(vectors[negative_mining.least_near(near)])
    return {"positive": positive, "negative": np.concatenate(mined).T}
