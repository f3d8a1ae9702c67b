"""Maximum concept matching: softmax of the cosines to the texts of the classes."""

import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import component
from jood.core import norms
from jood.core.activations import Activations
from jood.core.component import Component
from jood.methods.scores.logit import log_odds


@component.row("MCM")
def mcm(T: float = 1.0) -> Component:
    """Maximum concept matching: S = max_k softmax(cos(h, w_k) / T)_k.

    w_k is column k of the head's kernel. On a CLIP that is the direction of the text of
    class k times the logit scale, which the cosine drops; on another network it is the
    weight of class k. `msp` is the same score at T = 1 / logit scale.

    Args:
      T: temperature above 0, 1 in the paper; may be traced.

    Returns:
      A score component, in (0, 1].

    Raises:
      ValueError: T is not a finite number above 0.

    References:
      Ming, Cai, Gu, Sun, Li, Li, Delving into Out-of-Distribution Detection with
      Vision-Language Representations, NeurIPS 2022, Sec. 3.
    """
    arguments.check_positive("T", T)

    def logits(acts: Activations) -> jax.Array:
        return cosines(acts.penultimate, acts.kernel) / T

    spec, reads = component.call_spec("mcm", T=T), ("feature", "head")
    fine = component.score(spec, lambda acts: log_odds(logits(acts)), reads)
    score = component.score(
        spec, lambda acts: jax.nn.softmax(logits(acts)).max(-1), reads
    )
    return score._replace(ranking=fine)


def cosines(features: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns the cosines of features [B, D] and columns [D, K], float32 [B, K]."""
    directions = norms.unit(kernel, axis=0)
    return jnp.matmul(norms.unit(features), directions, precision="highest")
