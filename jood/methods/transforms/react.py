"""ReAct: clip abnormally high features; slot feature: `react(q=0.9)|energy()`."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core import assumptions
from jood.core import component
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.stats import quantiles


@component.row("ReAct", "react({react})|energy()")
def react(q: float | None = None, clip: float | None = None) -> Component:
    """Clips the penultimate feature from above: h̄ = min(h, c).

    Args:
      q: fraction in (0, 1): c is the q-quantile of all entries of all training
        features, pooled. 0.9 if neither q nor clip is given. Where at least q of them
        are 0, as LFF or a mask can make them, c is 0 and fitting warns.
      clip: c itself (any finite number, may be traced); then nothing is fitted.
        Feature Sim uses 1.5 for DenseNet-121, 0.9-quantiles otherwise.

    Returns:
      A component of slot 'feature'. It fits c in one pass unless `clip` is given.

    Raises:
      ValueError: both are given, or one is out of range.

    References:
      Sun, Guo, Li, ReAct, NeurIPS 2021, Eq. 2; Feature Sim, App. A.2.
    """
    if q is not None and clip is not None:
        raise ValueError(f"react takes q or clip, not both; got {q=}, {clip=}.")
    if clip is not None:
        arguments.check_range("clip", clip, -math.inf, math.inf, "a finite number")
        spec = component.call_spec("react", clip=clip)
        return component.stateless(spec, "feature", lambda acts: _clipped(acts, clip))
    q = 0.9 if q is None else q
    arguments.check_fraction("q", q)
    sketch = quantiles.quantile_sketch(lambda acts: acts.penultimate)

    def finalize(state: Any) -> np.float32:
        c = np.float32(quantiles.quantile(sketch.finalize(state), q))
        message = (
            f"react({q=}): that quantile of the training features is {c:g}, which "
            "leaves nothing of features that are >= 0. Choose a larger q, or a clip."
        )
        assumptions.warn({message: c <= 0})
        return c

    return component.build(
        component.call_spec("react", q=q),
        "feature",
        lambda fitted, acts: _clipped(acts, fitted[0]),
        (lambda _: sketch._replace(finalize=finalize),),
    )


def _clipped(acts: Activations, c: Any) -> Activations:
    return acts.with_penultimate(jnp.minimum(acts.penultimate, c))
