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


def of(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the collections of a network that scores read, by name."""
    return {name: variables[name] for name in variables if _is_one(name)}


def lacking(reads: tuple[str, ...], variables: Mapping[str, Any]) -> list[str]:
    """Returns what a score reads of such collections and a network lacks."""
    return [name for name in reads if _is_one(name) and name not in variables]


def _is_one(name: str) -> bool:
    return MARK in name and name != ood_head.COLLECTION


def linear(layer: Mapping[str, Any], x: jax.Array) -> jax.Array:
    """Returns x W + b of a layer {'kernel' [D, P], 'bias' [P]}, float32 [N, P]."""
    highest = jax.lax.Precision.HIGHEST
    product = jnp.matmul(x.astype(jnp.float32), layer["kernel"], precision=highest)
    return product + layer["bias"][None]


def mlp(parts: Mapping[str, Any], x: jax.Array) -> jax.Array:
    """Returns W₂ relu(W₁ x + b₁) + b₂ of layers 'hidden' and 'output', float32."""
    return linear(parts["output"], jax.nn.relu(linear(parts["hidden"], x)))
