"""The OOD head of SSOD: one linear unit beside the classifier.

It is no part of any model: it lies in a collection of its own beside a network's
parameters, `{'params': ..., 'batch_stats': ..., 'ood_head': {'kernel', 'bias'}}`, and
travels with them through checkpoints, saved detectors and converted networks.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

COLLECTION = "ood_head"


class OodHead(NamedTuple):
    """f_ood, which tells ID features from background.

    Attributes:
      kernel: floating [D, 1].
      bias: floating [1].
    """

    kernel: Any
    bias: Any

    def logit(self, features: jax.Array) -> jax.Array:
        """Maps features [..., D] to the logit of "in-distribution", float32 [...]."""
        kernel = self.kernel[:, 0].astype(jnp.float32)
        product = jnp.matmul(
            features.astype(jnp.float32), kernel, precision=jax.lax.Precision.HIGHEST
        )
        return product + self.bias.astype(jnp.float32).reshape((1,) * product.ndim)


def checked(head: Any, width: int) -> OodHead:
    """Returns (kernel, bias) as an `OodHead` for features of a width D.

    Raises:
      ValueError: they have other shapes.
    """
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
    rest = {k: v for k, v in variables.items() if k != COLLECTION}
    head = variables.get(COLLECTION, {})
    return rest, {
        _TORCH[k]: np.array(np.transpose(v), np.float32, order="C")
        for k, v in head.items()
    }


def from_torch(
    tensors: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Takes an OOD head out of PyTorch's tensors: the inverse of the above.

    Returns:
      The other tensors, and {'ood_head': ...}; {} if not both tensors are there.
    """
    if not set(_TORCH.values()) <= tensors.keys():
        return dict(tensors), {}
    head = {
        k: np.ascontiguousarray(np.transpose(tensors[theirs]))
        for k, theirs in _TORCH.items()
    }
    rest = {k: v for k, v in tensors.items() if k not in _TORCH.values()}
    return rest, {COLLECTION: head}
