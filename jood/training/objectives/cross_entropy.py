"""The plain classification objective."""

import chex
import jax
import jax.numpy as jnp
import optax

from jood.core import component
from jood.training.forward import TrainingPass
from jood.training.objectives.objective import Objective
from jood.training.objectives.objective import Part


def softmax_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean over the batch of -log p_y, p = softmax(f), in nats, float32 [].

    Args:
      logits: f, floating [B, K]; the loss is computed in float32.
      labels: y, int32 [B], each in [0, K).
    """
    chex.assert_rank([logits, labels], [2, 1])
    chex.assert_equal_shape_prefix([logits, labels], 1)
    logits = logits.astype(jnp.float32)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def classification_loss(outputs: TrainingPass) -> jax.Array:
    """Returns the cross-entropy of a pass, float32 []; the term that all share."""
    return softmax_cross_entropy(outputs.acts.logits, outputs.labels)


def cross_entropy() -> Objective:
    """L = mean over the batch of -log p_y (LFF, Eq. 2)."""

    def loss(outputs: TrainingPass, _: jax.Array) -> tuple[jax.Array, dict[str, Part]]:
        return classification_loss(outputs), {}

    return Objective(component.call_spec("cross_entropy"), loss)
