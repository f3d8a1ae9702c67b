"""Threshold Activation (TA): suppress weak activations in mid-network.

Slot stage, the first in a chain: `ta(k=0.2)|feature_sim()`. OOD activations are
weak enough for a threshold after C4 to wipe them out, and the layers after it carry
the difference into the last map.
"""

import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import assumptions
from jood.core import component
from jood.core.activations import Activations
from jood.core.activations import StageEdit
from jood.core.component import Component
from jood.methods.transforms import ash


def threshold_activation(feature_map: jax.Array, k: float | jax.Array) -> jax.Array:
    """Returns ReLU(f - k), Eq. 5, of a map of any shape; k in the map's units."""
    return jnp.maximum(feature_map - jnp.asarray(k, feature_map.dtype), 0)


@component.row("FS+TA", "ta(k={k})|feature_sim()")
def ta(k: float = 0.2, stage: str = "C4") -> Component:
    """Rewrites a stage's map f to ReLU(f - k) and runs the layers after it on it.

    Args:
      k: threshold >= 0 in units of the map; may be traced. The paper's: 0.2 for
        ResNet-50 on ImageNet, ResNet-18 on CIFAR-10 and the Faster R-CNN backbone;
        0.15 for CIFAR-100 (the text says "CIFAR100" twice, 0.2 and 0.15; that the
        first means CIFAR-10 is our reading) and the FCN backbone. For another
        network choose k on Gaussian noise.
      stage: the stage after which it stands; the paper's is C4 (Table 3). The map
        should be an activated one, without negative values.

    Returns:
      A component of slot 'stage': `jood.observe` must be called with its `edits`.

    Raises:
      ValueError: k is negative or not finite, or stage is not a stage name.

    References:
      Feature Map Matters in Out-of-Distribution Detection, Eq. 5, Sec. 5.2,
      Tables 2, 3 and 7, App. A.1.
    """
    arguments.check_at_least("k", k, 0)
    component.check_stage(stage)
    spec = component.call_spec("ta", k=k, stage=stage)
    edit = StageEdit(spec, stage, lambda x: threshold_activation(x, k))

    def apply(acts: Activations) -> Activations:
        if stage in acts.stages:
            assumptions.assume_non_negative(
                acts.stages[stage],
                f"ta(stage={stage!r})",
                "the paper thresholds an activated map, as a ResNet stage returns it "
                "(Feature Sim, Eq. 5). ReLU(f - k) removes all that is below zero. "
                "Name a module after the activation as the stage. A transformer has "
                f"none. {ash.FOR_NEGATIVE_FEATURES}",
            )
        return acts.edit(spec)

    return component.stateless(spec, "stage", apply, edits=((edit,),))
