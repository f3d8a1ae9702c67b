"""GEN: a generalised entropy of the largest softmax probabilities.

With a small exponent γ, probabilities near 0 and near 1 count almost as much as those
in between, so that a softmax that is only a little less sure than usual stands out.
"""

import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import component
from jood.core.component import Component
from jood.methods import top_k


@component.row("GEN")
def gen(gamma: float = 0.1, M: int = 100) -> Component:
    """Generalised entropy: S = -Σ_{j in top M} p_j^γ (1 - p_j)^γ, p = softmax(f).

    As in the authors' code, p is not clamped away from 0 and 1 (some libraries do:
    at γ = 0.1 a clamp at 1e-7 adds 0.2 per class, more than the spread of S).

    Args:
      gamma: exponent γ in (0, 1); may be traced. The paper's is 0.1.
      M: number of largest probabilities that are summed, at least 1; 100 in the
        paper, a tenth of ImageNet's classes.

    Returns:
      A score component, in [-M, 0].

    Raises:
      ValueError: gamma is not in (0, 1), or M is not a whole number above 0.

    References:
      Liu, Lochman, Zach, GEN, CVPR 2023, the definition of G_γ and its truncation to
      the top M classes.
    """
    arguments.check_range("gamma", gamma, 0.0, 1.0, "an exponent in (0, 1)")
    arguments.check_count("M", M)
    count = int(M)
    return component.score(
        component.call_spec("gen", gamma=gamma, M=count),
        lambda acts: -generalised_entropy(acts.logits, gamma, count),
    )


def generalised_entropy(logits: jax.Array, gamma: float, count: int) -> jax.Array:
    """Returns Σ p^γ (1 - p)^γ over the `count` largest p of logits [B, K]; [B]."""
    log_p, log_rest = log_probabilities(logits.astype(jnp.float32))
    terms = jnp.exp(gamma * (log_p + log_rest))  # [B, K]
    if count < logits.shape[-1]:
        terms = jnp.where(top_k.mask(log_p, count), terms, 0.0)
    return terms.sum(-1)


def log_probabilities(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns log p and log(1 - p) of float32 logits, both [B, K].

    1 - p of the top class is the sum of the other probabilities: the difference has
    no correct digit left where p is near 1, and GEN's exponent lets that be seen.
    """
    log_p = jax.nn.log_softmax(logits)  # [B, K]
    is_top = jax.nn.one_hot(logits.argmax(-1), logits.shape[-1], dtype=bool)  # [B, K]
    below = jnp.where(is_top, -jnp.inf, log_p)
    # log(1 - p) of the top class, [B, 1]; -inf if there is one class only.
    others = jax.nn.logsumexp(below, axis=-1, keepdims=True)
    # No other p exceeds 1/2; the bound keeps log1p off -1 in the entry not used.
    rest = jnp.log1p(-jnp.minimum(jnp.exp(log_p), 0.5))
    return log_p, jnp.where(is_top, others, rest)
