"""A vocabulary is read from the files that three code bases ship."""

import gzip
import json

import pytest

from jood.models import byte_pairs
from jood.weights import clip_vocabulary

PAIRS = [("c", "a"), ("ca", "t</w>")]
KNOWN = byte_pairs.vocabulary(PAIRS)
LINES = "#version: 0.2\nc a\nca t</w>\n"


def test_merges_alone_give_openais_ids(tmp_path):
    (tmp_path / "merges.txt").write_text(LINES)
    assert clip_vocabulary.read(tmp_path) == KNOWN
    assert clip_vocabulary.read(tmp_path / "merges.txt") == KNOWN


def test_ids_beside_the_merges_are_taken(tmp_path):
    (tmp_path / "merges.txt").write_text(LINES)
    other = {token: 7 + i for token, i in KNOWN.ids.items()}
    (tmp_path / "vocab.json").write_text(json.dumps(other))
    assert clip_vocabulary.read(tmp_path).ids == other


@pytest.mark.parametrize("merges", [["c a", "ca t</w>"], [list(p) for p in PAIRS]])
def test_a_tokenizer_of_hugging_face(tmp_path, merges):
    model = {"type": "BPE", "vocab": KNOWN.ids, "merges": merges}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}))
    assert clip_vocabulary.read(tmp_path) == KNOWN


def test_openais_list_is_longer_than_what_clip_uses(tmp_path, monkeypatch):
    monkeypatch.setattr(clip_vocabulary, "_MERGES", 2)
    path = tmp_path / "bpe_simple_vocab_16e6.txt.gz"
    path.write_bytes(gzip.compress((LINES + "d o\n").encode()))
    assert clip_vocabulary.read(tmp_path) == KNOWN


def test_a_vocabulary_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no vocabulary .*merges\.txt.*--voc"):
        clip_vocabulary.read(tmp_path)
    with pytest.raises(FileNotFoundError, match="no vocabulary"):
        clip_vocabulary.read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", b"{", "is damaged"),
        ("tokenizer.json", b'{"model": {}}', "is damaged.*KeyError: 'merges'"),
        ("merges.txt", b"#\nc\n", "is damaged"),
        ("bpe_simple_vocab_16e6.txt.gz", b"c a", "is damaged"),
        ("words.txt", b"c a", "not a vocabulary by its name"),
    ],
)
def test_a_file_that_is_something_else(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        clip_vocabulary.read(tmp_path / name)


def test_ids_of_another_network_are_refused(tmp_path):
    (tmp_path / "merges.txt").write_text(LINES)
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    with pytest.raises(ValueError, match=r"merges\.txt is damaged.*of different net"):
        clip_vocabulary.read(tmp_path)
