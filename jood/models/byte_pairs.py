"""Byte-pair encoding of texts, as CLIP's text tower was trained with.

A text is cleaned and cut into words; a word is spelled with its UTF-8 bytes, and the
pair of neighbours that was merged first in training is merged until none is left that
was. Only the list of merges is data: `jood.weights.clip_vocabulary` reads it.

Cleaning follows CLIP's (HTML entities, white space, lower case) without the library
that it calls to repair texts of a wrong encoding: typographic quotes become straight
ones, and letters are composed (NFC).
"""

from collections.abc import Mapping, Sequence
import html
import itertools
import re
from typing import NamedTuple
import unicodedata

import numpy as np

START, END = "<|startoftext|>", "<|endoftext|>"
_END_OF_WORD = "</w>"
_QUOTES = str.maketrans("‘’“”", "''\"\"")
# On a text whose other letters, numbers and signs are written as 'x', '0' and '!'.
_WORDS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+")
_ASCII = {"L": "x", "N": "0"}


class Vocabulary(NamedTuple):
    """Merges by their rank, and the id of each token."""

    ranks: Mapping[tuple[str, str], int]
    ids: Mapping[str, int]


def vocabulary(
    merges: Sequence[tuple[str, str]], ids: Mapping[str, int] | None = None
) -> Vocabulary:
    """Returns a vocabulary.

    Args:
      merges: Pairs of tokens in the order of training.
      ids: The ids of all tokens; by default those that OpenAI gave: bytes, bytes that
        end a word, merges, the start and the end of a text.

    Raises:
      ValueError: A token has no id.
    """
    if ids is None:
        single = list(_spelling().values())
        tokens = [*single, *(s + _END_OF_WORD for s in single)]
        tokens += [first + second for first, second in merges]
        ids = {token: i for i, token in enumerate([*tokens, START, END])}
    needed = {START, END, *(first + second for first, second in merges)}
    lacking = sorted(needed - ids.keys())
    if lacking:
        raise ValueError(
            f"the vocabulary has no id for {len(lacking)} tokens of its merges, "
            f"{', '.join(lacking[:6])}: its files are of different networks."
        )
    return Vocabulary({pair: rank for rank, pair in enumerate(merges)}, ids)


def encode(known: Vocabulary, texts: Sequence[str], context: int = 77) -> np.ndarray:
    """Returns token ids int32 [N, context]: start, text, end, and zeros behind them.

    Raises:
      ValueError: A text has more tokens than fit; nothing is cut off.
    """
    ids = np.zeros((len(texts), context), np.int32)
    for row, text in enumerate(texts):
        tokens = [known.ids[START], *_tokens(known, text), known.ids[END]]
        if len(tokens) > context:
            raise ValueError(
                f"a text has {len(tokens)} tokens, but at most {context} fit, the "
                f"start and the end among them. Shorten it: {text!r}."
            )
        ids[row, : len(tokens)] = tokens
    return ids


def clean(text: str) -> str:
    """Returns a text as it is cut into words: see the module."""
    text = html.unescape(html.unescape(text.translate(_QUOTES)))
    return " ".join(unicodedata.normalize("NFC", text).split()).lower()


def _tokens(known: Vocabulary, text: str) -> list[int]:
    text = clean(text)
    kinds = "".join(
        c if c.isascii() else _ASCII.get(unicodedata.category(c)[0], "!") for c in text
    )
    spelling = _spelling()
    ids: list[int] = []
    for word in _WORDS.finditer(kinds):
        letters = [spelling[byte] for byte in text[slice(*word.span())].encode()]
        letters[-1] += _END_OF_WORD
        ids += [known.ids[token] for token in _merged(known.ranks, letters)]
    return ids


def _merged(ranks: Mapping[tuple[str, str], int], word: list[str]) -> list[str]:
    """Merges the pair of the lowest rank throughout a word, until none is left."""
    while len(word) > 1:
        pairs = set(itertools.pairwise(word))
        best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        joined: list[str] = []
        rest = iter(range(len(word)))
        for i in rest:
            if tuple(word[i : i + 2]) == best:
                joined.append(best[0] + best[1])
                next(rest)
            else:
                joined.append(word[i])
        word = joined
    return word


def _spelling() -> dict[int, str]:
    """A printable character for each byte, in the order of the ids."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {
        **{byte: chr(byte) for byte in printable},
        **{byte: chr(256 + i) for i, byte in enumerate(others)},
    }
