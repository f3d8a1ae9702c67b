"""SCALE: ASH-S without the pruning; slot feature: `scale(q=0.85)|energy()`."""

import jax

from jood._utils import arguments
from jood.core import component
from jood.core.component import Component
from jood.methods.transforms import ash


@component.row("SCALE", "scale(q=0.85)|energy()")
def scale(q: float = 0.85) -> Component:
    """Multiplies the whole feature by exp(s₁ / s₂).

    s₁ is the sum of the feature and s₂ that of its k = D - round(q D) largest entries,
    as in `ash_s`, but no entry is set to 0.

    Args:
      q: fraction in (0, 1) of the entries that s₂ leaves out; 0.85 is the paper's.

    Returns:
      A component of slot 'feature'; nothing is fitted.

    Raises:
      ValueError: q is not a fraction in (0, 1).

    References:
      Xu, Chen, Franchi, Yao, SCALE, ICLR 2024, the scaling factor r and SCALE.
    """
    arguments.check_fraction("q", q)
    spec = component.call_spec("scale", q=q)

    def shape(h: jax.Array, q: float) -> jax.Array:
        return h * ash.scaling_factor(h, ash.prune(h, q))

    return component.stateless(
        spec, "feature", lambda acts: ash.reshaped(acts, shape, q, spec)
    )
