"""Shannon entropy of the softmax, with its sign turned: a peaked one is ID."""

import jax
import jax.numpy as jnp

from jood.core import component
from jood.core.component import Component


@component.row("Entropy")
def entropy() -> Component:
    """Negative Shannon entropy: S = Σ_k p_k log p_k, p = softmax(f).

    Returns:
      A score component, in nats, in [-log K, 0].

    References:
      Shannon, A Mathematical Theory of Communication, BSTJ 1948, Sec. 6; a baseline
      in Liu, Lochman, Zach, GEN, CVPR 2023.
    """
    spec = component.call_spec("entropy")
    return component.score(spec, lambda acts: negative_entropy(acts.logits))


def negative_entropy(logits: jax.Array) -> jax.Array:
    """Returns Σ_k p_k log p_k of logits [B, K]; float32 [B]."""
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))  # [B, K]
    return (jnp.exp(log_p) * log_p).sum(-1)  # p = 0 meets a finite log p
