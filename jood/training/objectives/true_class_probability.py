"""p_j(y): how probable the head finds the true class at each location of the map."""

import chex
import jax
import jax.numpy as jnp

from jood.training.forward import TrainingPass


def true_class_probability(
    local: jax.Array, kernel: jax.Array, bias: jax.Array, labels: jax.Array
) -> jax.Array:
    """p_j(y), p_j = softmax(z_j W + b), at each location, float32 [B, HW], no gradient.

    Args:
      local: z, float32 [B, HW, D].
      kernel: W, float32 [D, K].
      bias: b, float32 [K].
      labels: y, int32 [B], each in [0, K).

    References:
      LFF (Local Background Features Matter in OOD Detection), Eq. 4; SSOD (Image
      Background Serves as Good Proxy for OOD Data), Sec. 2.3.
    """
    chex.assert_rank([local, kernel, bias, labels], [3, 2, 1, 1])
    # What counts as background is not to be learned.
    local, kernel, bias = jax.lax.stop_gradient((local, kernel, bias))
    logits = local @ kernel + bias[None, None]  # [B, HW, K]
    true = jnp.take_along_axis(logits, labels[:, None, None], axis=-1)[..., 0]
    return jnp.exp(true - jax.nn.logsumexp(logits, axis=-1))


def probability(outputs: TrainingPass) -> jax.Array:
    """Returns p_j(y) of a pass, float32 [B, HW]."""
    return true_class_probability(
        outputs.locations(), outputs.acts.kernel, outputs.acts.bias, outputs.labels
    )
