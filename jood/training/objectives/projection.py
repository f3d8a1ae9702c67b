"""The projector of contrastive objectives, and the classifier beside it.

z = W₂ relu(W₁ h + b₁) + b₂ is what the loss compares; detectors read h before it. The
network's own classifier gets no gradient from a contrastive loss, so it is trained
beside it, on features without gradient, which it does not change.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jood.core import activations
from jood.core import added_heads
from jood.models import layers
from jood.training.forward import TrainingPass
from jood.training.objectives.cross_entropy import softmax_cross_entropy

COLLECTION = "projector"


def linear_layer(key: jax.Array, width: int, outputs: int) -> dict[str, jax.Array]:
    """A linear layer begun as PyTorch's is: kernel [width, outputs], bias [outputs]."""
    first, second = jax.random.split(key)
    return {
        "kernel": layers.linear_init(first, (width, outputs), jnp.float32),
        "bias": layers.linear_bias_init(width)(second, (outputs,), jnp.float32),
    }


def mlp_layers(key: jax.Array, width: int, hidden: int, outputs: int) -> dict[str, Any]:
    """Two linear layers, `hidden` and `output`; for `added_heads.mlp`."""
    first, second = jax.random.split(key)
    return {
        "hidden": linear_layer(first, width, hidden),
        "output": linear_layer(second, hidden, outputs),
    }


def unit(x: jax.Array) -> jax.Array:
    """X / max(‖x‖₂, 1e-12) of rows, with a gradient that is finite at x = 0."""
    return x / optax.safe_norm(x, 1e-12, axis=-1, keepdims=True)


def projected(outputs: TrainingPass) -> jax.Array:
    """U = z / ‖z‖₂ of all images, float32 [N, P]."""
    return unit(added_heads.mlp(outputs.added[COLLECTION], outputs.acts.penultimate))


def of_views(outputs: TrainingPass, values: jax.Array) -> jax.Array:
    """Values [B] of all N images, view after view: [v; v] of two."""
    return jnp.tile(values, len(outputs.acts.penultimate) // len(values))


def labels_of_views(outputs: TrainingPass) -> jax.Array:
    """Returns y of all N images, int32 [N]."""
    return of_views(outputs, outputs.labels)


def classifier_loss(outputs: TrainingPass) -> jax.Array:
    """Cross-entropy of the network's classifier on features without gradient."""
    features = jax.lax.stop_gradient(outputs.acts.penultimate)
    logits = activations.linear(features, outputs.acts.kernel, outputs.acts.bias)
    return softmax_cross_entropy(logits, labels_of_views(outputs))
