"""A second look: the record of the network on images moved against a gradient.

ODIN and the original Mahalanobis detector add a small step to the image, along the
gradient of their own score, before they score it. A component asks for that with
`needs_network=True`; `observe` then puts the network behind the record, and
`chain` keeps it in step with what the parts before rewrite.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jood.core import assumptions
from jood.core.activations import Activations


def perturbed(
    acts: Activations, loss: Callable[[Activations], jax.Array], epsilon: Any
) -> Activations:
    """Returns the record at x' = x - ε · s(∇_x loss) / std.

    s is +1 where the gradient is >= 0 and -1 elsewhere, as in the authors' code; std
    is that of the preprocessing, so ε is in normalised units times std.

    Args:
      acts: a record with a network behind it, rewritten as its chain has it.
      loss: activations -> float32 [B]; row i must depend on image i alone.
      epsilon: size of the step, >= 0; may be traced.
    """
    return moved(acts, -epsilon * signs(gradient(acts, loss), acts.behind().std))


def gradient(
    acts: Activations, measure: Callable[[Activations], jax.Array]
) -> jax.Array:
    """Returns ∇_x measure of each image, [B, H, W, C].

    Args:
      acts: a record with a network behind it.
      measure: activations -> float32 [B]; row i must depend on image i alone.
    """
    network = acts.behind()

    def total(images: jax.Array) -> jax.Array:
        with assumptions.ignored():
            return measure(network.run(images)).sum()

    return jax.grad(total)(network.images)


def signs(gradient: jax.Array, std: jax.Array | None) -> jax.Array:
    """Returns +1 where a gradient is >= 0, else -1, over the preprocessing's std."""
    step = jnp.where(gradient >= 0, 1.0, -1.0)
    return step if std is None else step / std.reshape(1, 1, 1, -1)


def moved(acts: Activations, step: jax.Array) -> Activations:
    """Returns the record at the images plus a step [B, H, W, C]."""
    network = acts.behind()
    with assumptions.ignored():
        return network.run(network.images + jnp.asarray(step, network.images.dtype))
