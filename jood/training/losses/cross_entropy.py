"""The plain classification objective."""

import chex
import jax
import jax.numpy as jnp
import optax


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean over the batch of -log p_y, p = softmax(f).

    Args:
      logits: f, floating [B, K]; the loss is computed in float32.
      labels: y, int32 [B], each in [0, K).

    Returns:
      The loss in nats, float32 [].
    """
    chex.assert_rank([logits, labels], [2, 1])
    chex.assert_equal_shape_prefix([logits, labels], 1)
    logits = logits.astype(jnp.float32)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
