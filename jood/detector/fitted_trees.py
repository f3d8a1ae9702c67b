"""Fitted values as JSON beside their arrays, and back."""

from typing import Any

import numpy as np


def encode(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """Moves the arrays of a fitted value to `arrays`; returns its structure.

    Raises:
      ValueError: it is not a tree of tuples, lists, dicts and arrays.
    """
    if value is None:
        return None
    if type(value) is tuple or type(value) is list:
        items = [encode(v, f"{name}/{i}", arrays) for i, v in enumerate(value)]
        return {type(value).__name__: items}
    if type(value) is dict:
        return {"dict": {k: encode(v, f"{name}/{k}", arrays) for k, v in value.items()}}
    array = np.asarray(value)
    if array.dtype == object or isinstance(value, tuple | list | dict):
        raise ValueError(
            "fitted values must be tuples, lists, dicts and arrays, got "
            f"{type(value).__name__} in {name}."
        )
    arrays[name] = array
    return {"array": name}


def decode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Returns the fitted value of a structure that `encode` returned."""
    if value is None:
        return None
    ((kind, content),) = value.items()
    if kind == "array":
        return arrays[content]
    if kind == "dict":
        return {k: decode(v, arrays) for k, v in content.items()}
    items = [decode(v, arrays) for v in content]
    return tuple(items) if kind == "tuple" else items
