"""VRA: suppress abnormally low and abnormally high penultimate activations.

Slot feature: `vra(low=0.6, high=0.95)|energy()`. ReAct clips from above only; VRA also
sets what is below a threshold to zero.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core import assumptions
from jood.core import component
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.stats import quantiles
from jood.methods.transforms import ash


@component.row("VRA", "vra()|energy()")
def vra(low: float = 0.1, high: float = 0.9) -> Component:
    """Rectifies the feature at both ends (the paper's VRA-P).

    h̄ is 0 where h < α, h where α <= h <= β, and β where h > β. α and β are quantiles
    of all entries of all training features, pooled.

    Two libraries have other methods under this name: OpenOOD clips, so an entry below
    α becomes α instead of 0 (the same where α is 0, as in sparse features);
    pytorch-ood takes other quantiles for each entry d.

    Args:
      low: fraction in (0, 1), α is this quantile. OpenOOD's default; the paper
        chooses among 0.5, 0.6, 0.65 and 0.7 on Gaussian noise.
      high: fraction in (low, 1), β is this quantile. OpenOOD's default; the paper
        chooses among 0.8, 0.85, 0.9, 0.95 and 0.99.

    Returns:
      A component of slot 'feature'. It fits α and β, float32 [2], in one pass.

    Raises:
      ValueError: one is not a fraction in (0, 1), or low is not below high.

    References:
      Xu, Lian, Liu, Tao, VRA (Variational Rectified Activation), NeurIPS 2023, VRA-P.
    """
    arguments.check_fraction("low", low)
    arguments.check_fraction("high", high)
    if not low < high:
        raise ValueError(f"low must be below high, got {low=}, {high=}.")
    spec = component.call_spec("vra", low=low, high=high)
    sketch = quantiles.quantile_sketch(lambda acts: acts.penultimate)

    def finalize(state: Any) -> np.ndarray:
        counts = sketch.finalize(state)
        ends = [quantiles.quantile(counts, q) for q in (low, high)]
        return np.array(ends, np.float32)

    def apply(fitted: tuple[Any, ...], acts: Activations) -> Activations:
        h = acts.penultimate
        assumptions.assume_non_negative(
            h,
            spec,
            "the paper rectifies features that passed a ReLU (VRA, NeurIPS 2023). A "
            "negative entry below the threshold would be raised to 0. "
            + ash.FOR_NEGATIVE_FEATURES,
        )
        return acts.with_penultimate(rectify(h, *fitted[0]))

    passes = (lambda _: sketch._replace(finalize=finalize),)
    return component.build(spec, "feature", apply, passes)


def rectify(h: jax.Array, alpha: Any, beta: Any) -> jax.Array:
    """Sets entries below α to 0 and those above β to β; any shape."""
    return jnp.where(h < alpha, 0.0, jnp.minimum(h, beta))
