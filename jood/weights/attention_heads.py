"""Attention as Flax keeps it, an axis for the heads, and as we do, one matrix.

    query, key, value   kernel [D, heads, D / heads], bias [heads, D / heads]
    ours, joined        kernel [D, 3 D], bias [3 D]
    out                 kernel [heads, D / heads, D]
    ours                kernel [D, D]

Google's Vision Transformers come in the first form (`jood.weights.vit`).
"""

from typing import Any

import numpy as np

from jood.weights import layout

PARTS = ("query", "key", "value")
JOINED = "+".join(PARTS)  # what the three are called when they are one
_RANKS = {"kernel": 3, "bias": 2}


def joined(_: Any, tensors: layout.Tensors) -> layout.Tensors:
    """Joins `query`, `key`, `value` of each attention, and the heads of its `out`.

    What is not of these names and ranks is left as it is.
    """
    with_joined = dict(tensors)
    for name in tensors:
        module, _, last = name.rpartition("/")
        attention, _, part = module.rpartition("/")
        names = [f"{attention}/{other}/{last}" for other in PARTS]
        if part == PARTS[0] and all(
            n in tensors and tensors[n].ndim == _RANKS.get(last) for n in names
        ):
            flat = [_flat(with_joined.pop(n), last) for n in names]
            with_joined[f"{attention}/{JOINED}/{last}"] = np.concatenate(flat, axis=-1)
        elif part == "out" and last == "kernel" and tensors[name].ndim == 3:
            with_joined[name] = tensors[name].reshape(-1, tensors[name].shape[-1])
    return with_joined


def split(model: Any, tensors: layout.Tensors) -> layout.Tensors:
    """The inverse of `joined`, for a model with `heads` heads."""
    parts = {}
    for name, tensor in tensors.items():
        module, _, last = name.rpartition("/")
        attention, _, part = module.rpartition("/")
        if part == JOINED:
            for other, one in zip(PARTS, np.split(tensor, 3, axis=-1), strict=True):
                shape = (*one.shape[:-1], model.heads, -1)
                parts[f"{attention}/{other}/{last}"] = one.reshape(shape)
        elif part == "out" and last == "kernel":
            parts[name] = tensor.reshape(model.heads, -1, tensor.shape[-1])
        else:
            parts[name] = tensor
    return parts


def _flat(tensor: np.ndarray, leaf: str) -> np.ndarray:
    """Without the axis of heads."""
    return tensor.reshape(-1) if leaf == "bias" else tensor.reshape(len(tensor), -1)
