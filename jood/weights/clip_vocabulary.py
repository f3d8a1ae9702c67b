"""The vocabulary of a CLIP's text tower, as it lies beside its weights.

Hugging Face ships `tokenizer.json`, or `vocab.json` and `merges.txt`; the packages of
OpenAI and OpenCLIP hold `bpe_simple_vocab_16e6.txt.gz`.
"""

from collections.abc import Callable
import gzip
import json
import os
import pathlib
from typing import Any

from jood.models import byte_pairs

# OpenAI's list goes on; CLIP has 49,408 ids: 512 bytes, these merges, start and end.
_MERGES = 49_408 - 512 - 2


def read(path: str | os.PathLike[str]) -> byte_pairs.Vocabulary:
    """Reads a vocabulary.

    Args:
      path: One of the files, or the folder in which they lie.

    Raises:
      FileNotFoundError: There is none.
      ValueError: A file is damaged or is something else.
    """
    path = pathlib.Path(path)
    files = [path / name for name in _READERS] if path.is_dir() else [path]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise FileNotFoundError(
            f"there is no vocabulary of a text tower at {path}; expected "
            f"{', '.join(_READERS)} beside the weights, as Hugging Face, OpenAI and "
            "OpenCLIP ship them, or say where: --vocabulary=FILE_OR_FOLDER."
        )
    if file.name not in _READERS:
        raise ValueError(
            f"{file} is not a vocabulary by its name; expected {', '.join(_READERS)}."
        )
    try:
        return _READERS[file.name](file)
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise ValueError(
            f"{file} is damaged or no vocabulary of byte pairs "
            f"({type(error).__name__}: {error}). Fetch it again."
        ) from None


def write(path: pathlib.Path, known: byte_pairs.Vocabulary) -> None:
    """Writes a vocabulary as a new `tokenizer.json`."""
    merges = sorted(known.ranks, key=known.ranks.__getitem__)
    model = {"type": "BPE", "vocab": dict(known.ids), "merges": merges}
    path.write_text(json.dumps({"model": model}), encoding="utf-8")


def _of_tokenizer(path: pathlib.Path) -> byte_pairs.Vocabulary:
    model = json.loads(path.read_text(encoding="utf-8"))["model"]
    merges = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
    return byte_pairs.vocabulary([_pair(m) for m in merges], model["vocab"])


def _of_merges(path: pathlib.Path) -> byte_pairs.Vocabulary:
    beside = path.with_name("vocab.json")
    ids = None
    if beside.is_file():
        ids = json.loads(beside.read_text(encoding="utf-8"))
    return byte_pairs.vocabulary(_listed(path.read_text(encoding="utf-8")), ids)


def _of_openai(path: pathlib.Path) -> byte_pairs.Vocabulary:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return byte_pairs.vocabulary(_listed(file.read()))


def _listed(text: str) -> list[tuple[str, str]]:
    """The merges of a list, one pair per line below a line with the version."""
    lines = text.split("\n")[1 : _MERGES + 1]
    return [_pair(line.split()) for line in lines if line]


def _pair(parts: Any) -> tuple[str, str]:
    first, second = parts
    return str(first), str(second)


_READERS: dict[str, Callable[[pathlib.Path], byte_pairs.Vocabulary]] = {
    "tokenizer.json": _of_tokenizer,
    "merges.txt": _of_merges,
    "bpe_simple_vocab_16e6.txt.gz": _of_openai,
}
