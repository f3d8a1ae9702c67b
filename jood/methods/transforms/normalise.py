"""Features of length 1; slot feature: `normalise()|mahalanobis()` is Mahalanobis++.

The length of a feature varies more within a class than Gaussians with one covariance
allow, most of all in vision transformers. Its direction does not.
"""

import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import component
from jood.core import norms
from jood.core.component import Component


@component.row("MDS++", "normalise()|mahalanobis()")
@component.row("RMDS++", "normalise()|relative_mahalanobis()")
def normalise(p: float = 2, beta: float = 1.0) -> Component:
    """Divides the feature by its length: ĥ = h / ‖h‖_p^β.

    A zero feature stays zero.

    Args:
      p: order of the norm, at least 1; 2 is the paper's.
      beta: exponent β in (0, 1]; 1 is the paper's, smaller ones keep a part of the
        length. May be traced.

    Returns:
      A component of slot 'feature'; nothing is fitted.

    Raises:
      ValueError: p is below 1 or not finite, or beta is not in (0, 1].

    References:
      Mueller, Hein, Mahalanobis++, ICML 2025, the normalised feature.
    """
    arguments.check_at_least("p", p, 1)
    arguments.check_within("beta", beta, 1e-6, 1.0, "an exponent in (0, 1]")
    spec = component.call_spec("normalise", p=p, beta=beta)

    def function(h: jax.Array) -> jax.Array:
        length = _length(h, p)  # [B, 1]
        return h / jnp.where(length == 0, 1.0, length) ** beta

    return component.stateless(
        spec, "feature", lambda acts: acts.with_penultimate(function(acts.penultimate))
    )


def _length(h: jax.Array, p: float) -> jax.Array:
    """‖h‖_p of rows [B, D], float32 [B, 1]."""
    if not isinstance(p, jax.core.Tracer) and p == 2:
        return norms.l2(h, keepdims=True)
    power = norms.power_of_two(h, axis=-1)  # so that no power overflows
    return power * (jnp.abs(h / power) ** p).sum(-1, keepdims=True) ** (1 / p)
