"""Tensors that a code base keeps in parts, or transposed, marked in a layout's names.

In a layout, `attn.{q,k,v}_proj.weight` is one tensor that the file keeps as three,
`attn.q_proj.weight` and so on, one below the other along the first axis. A name that
ends in `^T` (`visual.proj^T`) is kept without it and transposed.
"""

from collections.abc import Iterable, Mapping
import re
from typing import Any

import numpy as np

from jood.weights.layout import Layout

_PARTS = re.compile(r"\{([^{}]*,[^{}]*)\}")
_TRANSPOSED = "^T"


def in_parts(layout: Layout) -> Layout:
    """Returns a layout whose names mark parts, as one that joins and splits them."""

    def joins(model: Any, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return joined(tensors, (theirs for _, theirs in layout.modules(model)))

    def splits(_: Any, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return split(tensors)

    return layout._replace(joined=joins, split=splits)


def joined(
    tensors: Mapping[str, np.ndarray], names: Iterable[str]
) -> dict[str, np.ndarray]:
    """Returns a file's tensors by a layout's names, with marked parts joined.

    Args:
      tensors: Tensors by the names in the file.
      names: The names of a layout.

    Returns:
      The tensors, with the parts of each of the names joined. Where a part is missing,
      or parts do not fit each other, the others stay as they are.
    """
    whole = dict(tensors)
    for name in names:
        parts = _stored_names(name)
        if parts == [name] or not whole.keys() >= set(parts):
            continue
        arrays = [whole[part] for part in parts]
        if len({array.shape for array in arrays}) > 1:
            continue
        for part in parts:
            del whole[part]
        array = np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
        whole[name] = array.T if name.endswith(_TRANSPOSED) else array
    return whole


def split(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns tensors by the names of a layout as a file keeps them, contiguous."""
    kept: dict[str, np.ndarray] = {}
    for name, array in tensors.items():
        parts = _stored_names(name)
        array = array.T if name.endswith(_TRANSPOSED) else array
        arrays = np.split(array, len(parts)) if len(parts) > 1 else [array]
        kept |= {
            part: np.array(one, order="C")
            for part, one in zip(parts, arrays, strict=True)
        }
    return kept


def _stored_names(name: str) -> list[str]:
    name = name.removesuffix(_TRANSPOSED)
    match = _PARTS.search(name)
    if match is None:
        return [name]
    return [
        name[: match.start()] + part + name[match.end() :]
        for part in match[1].split(",")
    ]
