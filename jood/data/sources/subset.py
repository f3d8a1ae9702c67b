"""Holding out ID validation examples from a training set, for `jood.select`."""

from collections.abc import Mapping
import dataclasses
from typing import Any

import numpy as np

from jood._utils import fingerprinting
from jood.data import sources


@dataclasses.dataclass(frozen=True, eq=False)
class Subset:
    """Some examples of a source."""

    source: sources.Source
    indices: np.ndarray  # int [N], their places in the source

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Mapping[str, Any]:
        return self.source[int(self.indices[index])]

    def fingerprint(self) -> str:
        """Returns the source's fingerprint, and which examples these are."""
        digest = fingerprinting.array_digest(indices=self.indices)
        return f"subset {digest} of {sources.fingerprint(self.source)}"


def part(source: sources.Source, indices: np.ndarray) -> sources.Source:
    """Returns some examples; arrays stay arrays, which are read batch by batch."""
    if not isinstance(source, sources.ArraySource):
        return Subset(source, indices)
    labels = None if source.labels is None else source.labels[indices]
    return sources.ArraySource(source.images[indices], labels)


def hold_out(source: sources.Source, every: int = 5) -> tuple[Subset, Subset]:
    """Splits a source into (kept, held out): every 5th example is held out.

    Raises:
      ValueError: There are fewer than two examples, or `every` is below 2.
    """
    if every < 2 or len(source) < 2:
        raise ValueError(
            "holding out needs at least two examples and every >= 2, got "
            f"{len(source)} examples, {every=}."
        )
    index = np.arange(len(source))
    held = index % every == min(every, len(source)) - 1
    return Subset(source, index[~held]), Subset(source, index[held])
