"""Heads that an objective adds to a network, for the scores that read them.

A collection beside a network's parameters whose name holds '_head' travels with the
record: `{'params': ..., 'godin_head': ..., 'godin_head_stats': ...}`. Others, such as
queues of features, are for training alone. SSOD's, `ood_head`, has a field of its own.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jood.core import ood_head

MARK = "_head"
# Made from texts, by the conversion of a CLIP and not by training.
_CONVERTED = {"neglabel_head": "--nouns, --adjectives"}


def of(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the collections of a network that scores read, by name."""
    return {name: variables[name] for name in variables if _is_one(name)}


def lacking(reads: tuple[str, ...], variables: Mapping[str, Any]) -> list[str]:
    """Returns the collections of this kind that a score reads and a network lacks."""
    return [name for name in reads if _is_one(name) and name not in variables]


def is_added(name: str) -> bool:
    """Whether a collection is a head that an objective added, SSOD's among them."""
    return MARK in name


def _is_one(name: str) -> bool:
    return is_added(name) and name != ood_head.COLLECTION


def linear(layer: Mapping[str, Any], x: jax.Array) -> jax.Array:
    """Returns x W + b of a layer {'kernel' [D, P], 'bias' [P]}, float32 [N, P]."""
    highest = jax.lax.Precision.HIGHEST
    product = jnp.matmul(x.astype(jnp.float32), layer["kernel"], precision=highest)
    return product + layer["bias"][None]


def mlp(parts: Mapping[str, Any], x: jax.Array) -> jax.Array:
    """Returns W₂ relu(W₁ x + b₁) + b₂ of layers 'hidden' and 'output', float32."""
    return linear(parts["output"], jax.nn.relu(linear(parts["hidden"], x)))


def maker(name: str) -> str:
    """Returns in words how a collection is made."""
    if name in _CONVERTED:
        return f"jood convert makes it from a CLIP ({_CONVERTED[name]})"
    return f"{name.partition(MARK)[0]} trains it"


def command(name: str) -> str:
    """Returns an imperative sentence that says how to get a collection."""
    if name in _CONVERTED:
        flags = _CONVERTED[name]
        return f"Convert a CLIP with word lists: jood convert ({flags})"
    objective = name.partition(MARK)[0]
    return f"Train one: jood train --objective={objective}"
