"""MOS: how certain some group of classes is that the image is one of its own.

A softmax runs within each group over its classes and one more, "others", whose logits a
head beside the classifier gives (`jood.training.objectives.mos`).
"""

import chex
import jax
import jax.numpy as jnp

from jood.core import component
from jood.core.activations import Activations
from jood.core.activations import linear
from jood.core.component import Component

HEAD, GROUPS = "mos_head", "mos_head_groups"


def group_log_softmax(
    logits: jax.Array, others: jax.Array, group: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Log softmax within each group, over its classes and its "others".

    Args:
      logits: Logits of the classes, float32 [B, K].
      others: Logits of each group's "others", float32 [B, G].
      group: Group of each class, int32 [K], in [0, G).

    Returns:
      log p of the classes, float32 [B, K], each in its own group's softmax, and of
      "others", float32 [B, G].
    """
    chex.assert_rank([logits, others, group], [2, 2, 1])
    count = others.shape[-1]
    largest = jax.ops.segment_max(logits.T, group, count).T  # [B, G]
    largest = jax.lax.stop_gradient(jnp.maximum(largest, others))
    powers = jnp.exp(logits - largest[:, group])  # [B, K]
    total = jax.ops.segment_sum(powers.T, group, count).T + jnp.exp(others - largest)
    log_total = jnp.log(total) + largest  # [B, G]
    return logits - log_total[:, group], others - log_total


@component.row("MOS")
def mos() -> Component:
    """Minimum others score: S = -min_g p_g(others).

    It is 0 from below where a group is sure, so metrics rank by -min_g log p_g(others).

    Returns:
      A score component, in [-1, 0]; it needs a network that MOS trained.

    References:
      Huang, Li, MOS, CVPR 2021, Eq. 4.
    """

    def least(acts: Activations) -> jax.Array:
        head = acts.head(HEAD)
        others = linear(acts.penultimate, head["kernel"], head["bias"])
        group = jnp.asarray(acts.head(GROUPS)["group"])
        return group_log_softmax(acts.logits, others, group)[1].min(-1)

    spec, reads = component.call_spec("mos"), ("feature", "logit", HEAD)
    fine = component.score(spec, lambda acts: -least(acts), reads)
    score = component.score(spec, lambda acts: -jnp.exp(least(acts)), reads)
    return score._replace(ranking=fine)
