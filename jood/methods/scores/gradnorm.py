"""GradNorm: how strongly the head would be pulled towards the uniform softmax.

The gradient of the head's weights is an outer product, so its L1 norm is a product
of two norms and needs no backward pass.
"""

import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import component
from jood.core.activations import Activations
from jood.core.component import Component


@component.row("GradNorm")
def gradnorm(T: float = 1.0) -> Component:
    """L1 norm of the gradient, with respect to W, of KL(uniform ‖ softmax(f / T)).

    With p = softmax(f / T) the gradient is h (p - 1/K)ᵀ / T, hence
    S = ‖h‖₁ · Σ_k |1 - K p_k| / (K T). As in the paper the loss is a mean over
    classes; the authors' code sums instead, so its scores are K times these.

    Args:
      T: temperature above 0; may be traced. The paper's is 1.

    Returns:
      A score component, in units of the feature, >= 0.

    Raises:
      ValueError: T is not a finite number above 0.

    References:
      Huang, Geng, Li, GradNorm, NeurIPS 2021, the score of the last layer's weights
      and its factors U and V.
    """
    arguments.check_positive("T", T)

    def function(acts: Activations) -> jax.Array:
        p = jax.nn.softmax(acts.logits / T)  # [B, K]
        pull = jnp.abs(1.0 - p.shape[-1] * p).mean(-1) / T  # V, [B]
        return jnp.abs(acts.penultimate).sum(-1) * pull  # U is the L1 norm of h

    return component.score(component.call_spec("gradnorm", T=T), function)
