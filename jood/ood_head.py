"""The OOD head of SSOD: one linear unit beside the classifier.

It is no part of any model: it lies in a collection of its own beside a network's
parameters, `{'params': ..., 'batch_stats': ..., 'ood_head': {'kernel', 'bias'}}`, and
travels with them through checkpoints, saved detectors and converted networks.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

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
        product = jnp.matmul(features.astype(jnp.float32), kernel)
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
