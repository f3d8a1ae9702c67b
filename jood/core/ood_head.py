"""The OOD head of SSOD: one linear unit beside the classifier.

It is not a part of any model, but a collection beside a network's parameters,
`{'params': ..., 'ood_head': {'kernel', 'bias'}}`, and travels with them through
checkpoints, saved detectors and converted networks.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

COLLECTION = "ood_head"


class OodHead(NamedTuple):
    """f_ood, which separates ID features from background."""

    kernel: Any  # floating [D, 1]
    bias: Any  # floating [1]

    def logit(self, features: jax.Array) -> jax.Array:
        """Maps features [..., D] to the logit of "in-distribution", float32 [...]."""
        kernel = self.kernel[:, 0].astype(jnp.float32)
        features = features.astype(jnp.float32)
        product = jnp.matmul(features, kernel, precision=jax.lax.Precision.HIGHEST)
        return product + self.bias.astype(jnp.float32).reshape((1,) * product.ndim)


def checked(head: Any, width: int) -> OodHead:
    """Returns (kernel, bias) as an `OodHead`, or raises ValueError if D != width."""
    kernel, bias = (jnp.asarray(part, jnp.float32) for part in head)
    if kernel.shape != (width, 1) or bias.shape != (1,):
        raise ValueError(
            f"an OOD head has a kernel [D, 1] = {(width, 1)} and a bias (1,), got "
            f"{kernel.shape} and {bias.shape}."
        )
    return OodHead(kernel, bias)


_TORCH = {"kernel": f"{COLLECTION}.weight", "bias": f"{COLLECTION}.bias"}


def to_torch(
    variables: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Takes the OOD head out of variables, as PyTorch's tensors of a Linear layer.

    Returns:
      The other collections, and float32 tensors by name; {} without a head.
    """
    rest = dict(variables)
    head = rest.pop(COLLECTION, {}).items()
    return rest, {
        _TORCH[k]: np.array(np.transpose(v), np.float32, order="C") for k, v in head
    }


def from_torch(tensors: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Takes an OOD head out of PyTorch's tensors: the inverse of `to_torch`.

    Returns:
      The other tensors, and {'ood_head': ...}; {} if not both tensors are there.
    """
    rest = dict(tensors)
    if not set(_TORCH.values()) <= tensors.keys():
        return rest, {}
    head = {k: np.transpose(rest.pop(name)) for k, name in _TORCH.items()}
    return rest, {COLLECTION: {k: np.ascontiguousarray(v) for k, v in head.items()}}
