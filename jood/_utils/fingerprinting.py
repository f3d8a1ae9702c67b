"""Names of data: digests of arrays and files, and the fingerprint of batches."""

from collections.abc import Iterable, Iterator
import dataclasses
import hashlib
import os
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Fingerprinted:
    """Batches with a name of your own, for those whose content is not hashed.

    Attributes:
      batches: the batches themselves.
      text: name of the data, their order and batch size; another for other data. (The
        bytes of the first batch are compared as well.)
    """

    batches: Iterable[Any]
    text: str

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)

    def fingerprint(self) -> str:
        """Returns the text."""
        return self.text


def fingerprint(batches: Any) -> str:
    """Returns `batches.fingerprint()`, or raises ValueError without such a method."""
    if not hasattr(batches, "fingerprint"):
        raise ValueError(
            "a feature cache is keyed by the data, but what gives them, a "
            f"{type(batches).__name__}, has no method fingerprint(). Give it one, pass "
            "jood.data.pipeline.EvaluationBatches of an ArraySource, or name the data: "
            "jood.Fingerprinted(batches, 'which data, order, batch size')."
        )
    return batches.fingerprint()


def file_digest(path: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def array_digest(**arrays: Any) -> str:
    """Returns the SHA-256 of names, dtypes, shapes and bytes; None counts as absent."""
    digest = hashlib.sha256()
    for name, given in sorted(arrays.items()):
        if given is not None:
            array = np.ascontiguousarray(given)
            digest.update(f"{name} {array.dtype} {np.shape(given)}\n".encode())
            digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
