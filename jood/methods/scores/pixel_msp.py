"""The segmentation baseline: confidence of the head at every location of a map.

A segmentation network classifies each location. A classifier's head can be applied to
the map before pooling in the same way.
"""

import jax
import jax.numpy as jnp

from jood.core import activations
from jood.core import component
from jood.core.activations import Activations
from jood.core.component import Component
from jood.methods.scores.feature_map import flat
from jood.methods.scores.feature_map import sum_over_locations


def mean_confidence(
    feature_map: jax.Array, kernel: jax.Array, bias: jax.Array
) -> jax.Array:
    """mean_HW max_k softmax(z W + b)_k of [B, H, W, D] or [B, L, D]; float32 [B]."""
    z = flat(feature_map)
    batch, locations, width = z.shape

    def total(block: jax.Array) -> jax.Array:
        """Sum over a block of locations, [B, R, D] -> [B]."""
        logits = activations.linear(block.reshape(-1, width), kernel, bias)
        below = logits - logits.max(-1, keepdims=True)
        return (1 / jnp.exp(below).sum(-1)).reshape(batch, -1).sum(-1)

    return sum_over_locations(total, z, batch * len(bias)) / locations


@component.row("Pixel MSP")
def pixel_msp(stage: str = "C5") -> Component:
    """Mean confidence of the head over a map: S = mean_j max_k softmax(z_j W + b)_k.

    Args:
      stage: stage whose map is read: the one that the head's input is, or is pooled
        from; 'decoded' of a segmentation network with its decode head, such as
        `fcn_r50_d8`.

    Returns:
      A score component, in [1/K, 1].

    Raises:
      ValueError: stage is not a stage name; on scoring, the map does not have the D
        channels that the head takes.

    References:
      Feature Map Matters in Out-of-Distribution Detection, App. B.7,
      Table 12, row MSP.
    """
    component.check_stage(stage)

    def score(acts: Activations) -> jax.Array:
        feature_map = acts.stage(stage)
        channels, width = feature_map.shape[-1], acts.kernel.shape[0]
        if channels != width:
            raise ValueError(
                f"pixel_msp applies the head, which takes {width} channels, to stage "
                f"{stage!r}, whose map has {channels}. Choose the stage that it reads."
            )
        return mean_confidence(feature_map, acts.kernel, acts.bias)

    spec = component.call_spec("pixel_msp", stage=stage)
    return component.score(spec, score, reads=(stage, "head"))
