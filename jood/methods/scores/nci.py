"""NCI: is the centred feature near the weights of its class, and is it large?

Neural collapse says that centred ID features align with the head's weights and grow.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import component
from jood.core import norms
from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Component


@component.row("NCI")
def nci(alpha: float = 1e-4) -> Component:
    """Neural collapse score: S = ⟨W_c, h - m⟩ / ‖h - m‖₂ + α ‖h‖₁.

    c is the predicted class and m the mean training feature; W_c is not normalised.

    Args:
      alpha: weight α >= 0 of the feature's norm, which filters out features near the
        origin; 0 disables it; may be traced. 1e-4 is OpenOOD's default, which it
        chooses among 1e-4, 1e-3, 1e-2 and 1e-1 on validation data.

    Returns:
      A score component. It fits m, float32 [D], in one pass.

    Raises:
      ValueError: alpha is negative or not finite.

    References:
      Liu, Qin, NCI (Detecting OOD Through the Lens of Neural Collapse), CVPR 2025,
      the detection score.
    """
    arguments.check_at_least("alpha", alpha, 0)

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        centred = acts.penultimate - fitted[0][None]  # [B, D]
        weights = acts.kernel[:, acts.prediction].T  # [B, D]
        proximity = (weights * norms.unit(centred)).sum(-1)  # [B]
        return proximity + alpha * jnp.abs(acts.penultimate).sum(-1)

    spec = component.call_spec("nci", alpha=alpha)
    passes = (lambda _: stats.mean(lambda acts: acts.penultimate),)
    return component.build(spec, "score", apply, passes)
