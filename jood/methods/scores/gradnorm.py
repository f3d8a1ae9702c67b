"""GradNorm: how strongly the head would be pulled towards the uniform softmax.

The gradient of the head's weights is an outer product, so its L1 norm is a product
of two norms and needs no backward pass.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import component
from jood.core.activations import Activations
from jood.core.component import Component

_LENGTHS = {"l1": jnp.sum, "mean": jnp.mean}  # U, of |h|


@component.row("GradNorm")
def gradnorm(T: float = 1.0, norm: Literal["l1", "mean"] = "l1") -> Component:
    """L1 norm of the gradient, with respect to W, of KL(uniform ‖ softmax(f / T)).

    With p = softmax(f / T) the gradient is h (p - 1/K)ᵀ / T, hence
    S = ‖h‖₁ · Σ_k |1 - K p_k| / (K T). As in the paper the loss is a mean over
    classes; the authors' code sums instead, so its scores are K times these.

    Feature Sim fuses FS + 0.4 GradNorm so that "the two scores are in the same order
    of magnitude". That holds of a mean over the D features as well, ‖h‖₁ / D, which
    is norm='mean': on CIFAR-10's DenseNet FS has a standard deviation of 0.018, 0.4 S
    one of 4.6 and 0.4 S / D one of 0.013. Alone, both rank images alike.

    Args:
      T: temperature above 0; may be traced. The paper's is 1.
      norm: Reduction of the feature's absolute values: 'l1', their sum, or 'mean'.

    Returns:
      A score component, in units of the feature, >= 0.

    Raises:
      ValueError: T is not a finite number above 0, or norm is neither.

    References:
      Huang, Geng, Li, GradNorm, NeurIPS 2021, the score of the last layer's weights
      and its factors U and V; Feature Sim, App. A.1, for 'mean'.
    """
    arguments.check_positive("T", T)
    if norm not in _LENGTHS:
        raise ValueError(f"norm must be 'l1' or 'mean', got {norm=}.")
    length = _LENGTHS[norm]

    def function(acts: Activations) -> jax.Array:
        p = jax.nn.softmax(acts.logits / T)  # [B, K]
        pull = jnp.abs(1.0 - p.shape[-1] * p).mean(-1) / T  # V, [B]
        return length(jnp.abs(acts.penultimate), axis=-1) * pull  # U, [B], times V

    # Detectors that were saved before norm= was there have the text without it.
    spec = component.call_spec("gradnorm", T=T, norm=None if norm == "l1" else norm)
    return component.score(spec, function)
