"""How a value changes with a stage's map: the gradient at mid-network.

The rest of the network runs again behind the map, which is moved by a shift of zero;
the gradient is that of the shift. A component asks for it with `needs_network=True`,
as those do that take gradients at the image (`input_perturbation`).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jood.core import assumptions
from jood.core.activations import Activations
from jood.core.activations import StageEdit


def gradient(
    acts: Activations, stage: str, measure: Callable[[Activations], jax.Array]
) -> jax.Array:
    """Returns the gradient of a measure at a stage's map, float32, of the map's shape.

    Args:
      acts: a record with a network behind it, which has the stage.
      stage: the map's name.
      measure: activations -> float32 [B]; row i must depend on image i alone.

    Raises:
      MissingStageError: the record is of features only, was observed without
        `needs_network`, or has no such stage.
    """
    network, here = acts.behind(), acts.stage(stage)

    def total(shift: jax.Array) -> jax.Array:
        move = StageEdit(f"shift of {stage}", stage, lambda z: z + shift)
        with assumptions.ignored():
            return measure(network.edited((move,), network.images)).sum()

    return jax.grad(total)(jnp.zeros_like(here))
