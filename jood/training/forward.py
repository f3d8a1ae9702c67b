"""The forward pass of training: the record of detectors, and its local features.

A local feature z_j is what the head would read at one location j of the last map: the
map's own vector, or what a layer between (`head_input` of MobileNetV3) makes of it.
"""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
from flax import struct
import jax

from jood.core.activations import Activations
from jood.core.backbones.linen import forward
from jood.core.backbones.protocol import Taps
from jood.methods.scores.feature_map import flat

NETWORK_COLLECTIONS = ("params", "batch_stats")  # others belong to an objective


class TrainingPass(struct.PyTreeNode):
    """What an objective reads of a pass over a batch.

    Attributes:
      acts: The record of all N images that the objective looks at.
      labels: y, int32 [B], of the first B of them; the ID images.
      local: z, float32 [B, HW, D]; None where the head cannot be applied to one.
      why_not: The reason, for the error.
      added: The collections beside the network's own, by name; see `Objective.init`.
      reference: Pytree that `Objective.reference` read of the network that the run
        began with; None for objectives without it.
      drawn: Pytree that `Objective.images` drew.
      epoch: Epochs done, with the share of this one, float32 [].
    """

    acts: Activations
    labels: jax.Array
    local: jax.Array | None
    why_not: str = struct.field(pytree_node=False, default="")
    added: Mapping[str, Any] = struct.field(default_factory=dict)
    reference: Any = None
    drawn: Any = None
    epoch: Any = 0.0

    def locations(self) -> jax.Array:
        """Returns z; raises ValueError where there are no local features."""
        if self.local is None:
            raise ValueError(f"the objective needs local features, but {self.why_not}.")
        return self.local


def look(
    model: nn.Module,
    variables: Mapping[str, Any],
    images: jax.Array,
    labels: jax.Array,
    *,
    train: bool = True,
    key: jax.Array | None = None,
) -> tuple[TrainingPass, Any]:
    """Runs the network once. Pure and differentiable; use it under `jit`.

    Args:
      model: One of `jood.models`, with stages, a head and an argument `train`.
      variables: Its variables, and what an objective added to them.
      images: Floating [B, H, W, C], preprocessed.
      labels: int32 [B]; more images than labels are not those of the ID batch.
      train: Whether to use the batch's statistics and update the running ones.
      key: Decides what a network with dropout drops; None drops nothing. What the head
        reads at a location is never dropped.

    Returns:
      The pass, and the batch statistics after it ({} where there are none).
    """
    acts, changed = forward(model, variables, images, (), Taps(), train, key)
    stats = changed.get("batch_stats", variables.get("batch_stats", {}))
    added = {k: v for k, v in variables.items() if k not in NETWORK_COLLECTIONS}
    local, why_not = _local_features(model, variables, acts)
    return TrainingPass(acts, labels, local, why_not, added), stats


def _local_features(
    model: nn.Module, variables: Mapping[str, Any], acts: Activations
) -> tuple[jax.Array | None, str]:
    """Z [B, HW, D], or None and why there is none."""
    last = acts.stages[max(acts.stages)]
    if last.ndim != 4:
        return None, "the last stage gives tokens, and the head reads the class token"
    features = flat(last)  # [B, HW, C]
    if hasattr(model, "head_input"):
        features = model.head_input(variables["params"], features)
    width, channels = acts.kernel.shape[0], features.shape[-1]
    if channels != width:
        return None, (
            f"the head reads {width} features and the last map has {channels} channels:"
            " give the model a method head_input(params, [..., C]) -> [..., D]"
        )
    return features, ""
