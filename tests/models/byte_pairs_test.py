"""Byte-pair encoding on a vocabulary of a few merges."""

import numpy as np
import pytest

from jood.models import byte_pairs

MERGES = [
    ("c", "a"),
    ("ca", "t</w>"),
    ("a", "t</w>"),
    ("d", "o"),
    ("do", "g</w>"),
    ("l", "l"),
    ("'", "s</w>"),
]
KNOWN = byte_pairs.vocabulary(MERGES)
START, END = KNOWN.ids[byte_pairs.START], KNOWN.ids[byte_pairs.END]


def tokens(text):
    """The tokens of a text, without the start, the end and the padding."""
    words = {i: token for token, i in KNOWN.ids.items()}
    (row,) = byte_pairs.encode(KNOWN, [text])
    assert row[0] == START
    end = int(np.argmax(row))
    assert row[end] == END
    assert not row[end + 1 :].any()
    return [words[i] for i in row[1:end]]


def test_ids_are_bytes_then_ends_of_words_then_merges():
    assert KNOWN.ids["!"] == 0
    assert KNOWN.ids["!</w>"] == 256
    assert KNOWN.ids["ca"] == 512
    assert KNOWN.ids[byte_pairs.START] == 512 + len(MERGES)
    assert KNOWN.ids[byte_pairs.END] == 513 + len(MERGES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat", ["cat</w>"]),
        ("Cat  DOG", ["cat</w>", "dog</w>"]),
        ("at cats", ["at</w>", "ca", "t", "s</w>"]),
        ("llll", ["ll", "l", "l</w>"]),  # 'l</w>' is another token than 'l'
        ("dog's", ["dog</w>", "'s</w>"]),
        ("dog’s", ["dog</w>", "'s</w>"]),
        ("a &amp;amp; b", ["a</w>", "&</w>", "b</w>"]),
        ("42", ["4</w>", "2</w>"]),
        ("cat-dog", ["cat</w>", "-</w>", "dog</w>"]),
        ("caté", ["ca", "t", "Ã", "©</w>"]),  # a letter of two bytes
        ("cat\u0301", ["ca", "t</w>", "Ì", "ģ</w>"]),  # a sign that letters carry
        ("½ ²", ["Â", "½</w>", "Â", "²</w>"]),
        ("", []),
    ],
)
def test_a_text_becomes_tokens(text, expected):
    if text == "cat\u0301":  # no composed letter exists; the sign is not a letter
        expected = ["cat</w>", *expected[2:]]
    assert tokens(text) == expected


def test_the_pair_that_was_merged_first_goes_first():
    merges = [("b", "c"), ("a", "b"), ("bc", "d</w>")]
    known = byte_pairs.vocabulary(merges)
    (row,) = byte_pairs.encode(known, ["abcd"], 4)
    expected = (byte_pairs.START, "a", "bcd</w>", byte_pairs.END)
    assert row.tolist() == [known.ids[token] for token in expected]


def test_a_long_text_is_refused_not_cut():
    assert byte_pairs.encode(KNOWN, ["4" * 75])[0, -1] == END
    with pytest.raises(ValueError, match=r"78 tokens, but at most 77 fit.*'4444"):
        byte_pairs.encode(KNOWN, ["cat", "4" * 76])


def test_a_vocabulary_without_its_merges_is_refused():
    with pytest.raises(ValueError, match=r"no id for 1 tokens .*, ca: .*different"):
        byte_pairs.vocabulary([("c", "a")], {"<|startoftext|>": 0, "<|endoftext|>": 1})
