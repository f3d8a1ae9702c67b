"""Energy with a weight per class, as VOS learns them beside the network."""

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core import component
from jood.core.activations import Activations
from jood.core.component import Component


@component.row("Weighted energy")
def weighted_energy(weights: float | tuple[float, ...] = 1.0) -> Component:
    """Negative free energy with weights: S = log Σ_k max(w_k, 0) exp(f_k).

    With w = 1 it is Energy.

    Args:
      weights: w, one per class, or one number for all; at least one above 0, others
        count nothing. VOS learns them with its uncertainty loss; a network that was
        trained without it has none.

    Returns:
      A score component, in units of the logits.

    Raises:
      ValueError: a weight is not a finite number, or none is above 0; while scoring, if
        there are neither one nor K.

    References:
      Du, Wang, Cai, Li, VOS, ICLR 2022, the energy with learnable weights w_k.
    """
    given = weights if isinstance(weights, tuple) else (weights,)
    for weight in given:
        arguments.check_range("weights", weight, -np.inf, np.inf, "finite numbers")
    # The shortest decimals of float32: a thousand of them fit into a text.
    numbers = tuple(float(str(np.float32(weight))) for weight in given)
    if not any(weight > 0 for weight in numbers):
        raise ValueError(
            f"weights must hold a number above 0 to have a sum, got {weights=}."
        )
    w = np.maximum(np.asarray(numbers, np.float32), 0)

    def function(acts: Activations) -> jax.Array:
        classes = acts.logits.shape[-1]
        if len(w) not in (1, classes):
            raise ValueError(
                f"weighted_energy() needs one weight, or one for each of the {classes} "
                f"classes of this network, got {len(w)}."
            )
        return jax.nn.logsumexp(acts.logits, axis=-1, b=jnp.asarray(w)[None])

    text = numbers if isinstance(weights, tuple) else numbers[0]
    return component.score(
        component.call_spec("weighted_energy", weights=text), function
    )
