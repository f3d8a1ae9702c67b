"""LTS: scale the logits by how peaked the feature is; slot logit: `lts()|energy()`.

SCALE's ratio of sums, squared, on the logits in place of the feature.
"""

import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import component
from jood.core.component import Component
from jood.methods import top_k


@component.row("LTS", "lts(q=0.95)|energy()")
def lts(q: float = 0.95) -> Component:
    """Multiplies the logits by s²: f̂ = s² f, s = s₁ / s₂.

    s₁ is the sum of the positive entries of the feature and s₂ that of the positive
    ones among its k = D - round(q D) largest. The bias is inside f.

    Args:
      q: fraction in (0, 1) of the entries that s₂ leaves out; 0.95 is the authors'
        for ImageNet.

    Returns:
      A component of slot 'logit'; nothing is fitted.

    Raises:
      ValueError: q is not a fraction in (0, 1).

    References:
      Djurisic, Liu, Nikolic, LTS (Logit Scaling for Out-of-Distribution Detection),
      2024, the scaling factor.
    """
    arguments.check_fraction("q", q)
    spec = component.call_spec("lts", q=q)

    def factor(h: jax.Array) -> jax.Array:
        return sum_ratio(h, top_k.largest(h, q)) ** 2

    return component.stateless(
        spec,
        "logit",
        lambda acts: acts.with_logits(acts.logits * factor(acts.penultimate)),
    )


def sum_ratio(h: jax.Array, kept: jax.Array) -> jax.Array:
    """s₁ / s₂ of features [B, D] and the mask of their largest entries; [B, 1].

    It is 1 where no entry is positive.
    """
    positive = jnp.maximum(h, 0.0)
    after = jnp.where(kept, positive, 0.0).sum(-1, keepdims=True)
    before = positive.sum(-1, keepdims=True)
    return jnp.where(after == 0, 1.0, before / jnp.where(after == 0, 1.0, after))
