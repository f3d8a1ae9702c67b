"""The forward pass of training: the record of detectors, and its local features.

A local feature z_j is what the classifier head would read at one location j of the
last map. The head is linear, so its logits of the pooled feature are the mean of
those of the locations; where the true class is improbable, LFF and SSOD see
background.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from flax import linen as nn
import jax

from jood.activations import Activations
from jood.network import Taps
from jood.network import forward
from jood.scores.feature_map import flat


class Seen(NamedTuple):
    """What a pass over a batch gave.

    Attributes:
      acts: the record.
      local: z, float32 [B, HW, D].
      labels: y, int32 [B].
    """

    acts: Activations
    local: jax.Array
    labels: jax.Array


def look(
    model: nn.Module,
    variables: Mapping[str, Any],
    images: jax.Array,
    labels: jax.Array,
    *,
    train: bool = True,
) -> tuple[Seen, Any]:
    """Runs the network once. Pure and differentiable; use it under `jit`.

    Args:
      model: of `jood.models`: stages C2..C5 and a head, and in training mode
        `model.apply(variables, images, train=True)`.
      variables: its parameters and statistics, and perhaps an OOD head.
      images: floating [B, H, W, C], preprocessed.
      labels: int32 [B].
      train: whether the batch's statistics are used, and the running ones updated.

    Returns:
      What the pass gave, and the batch statistics after it ({} where there are none).

    Raises:
      ValueError: the model has no such stages or head, or the head reads features of
        another width than the last map has.
    """
    acts, changed = forward(model, variables, images, (), Taps(), train=train)
    local = _local_features(model, variables, acts)
    stats = changed.get("batch_stats", variables.get("batch_stats", {}))
    return Seen(acts, local, labels), stats


def _local_features(
    model: nn.Module, variables: Mapping[str, Any], acts: Activations
) -> jax.Array:
    """The last map's own vectors, or what the model makes of them for the head."""
    features = flat(acts.stages[max(acts.stages)])  # [B, HW, C]
    if hasattr(model, "head_input"):  # layers stand between the map's mean and the head
        features = model.head_input(variables["params"], features)
    width = acts.kernel.shape[0]
    if features.shape[-1] != width:
        raise ValueError(
            f"the head reads {width} features, but the last map has "
            f"{features.shape[-1]} channels, so it cannot be applied to a location. "
            "Give the model a method head_input(params, [..., C]) -> [..., D] that "
            "does what stands between."
        )
    return features
