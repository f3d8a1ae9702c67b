"""CSI: how like a training image it is, and how plainly upright, in four rotations.

CSI (`jood.training.objectives.csi`) trains a projector, a head that classifies
rotations, and, with labels, one that classifies pairs of class and rotation.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core import added_heads
from jood.core import component
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.component import Statistic
from jood.core.stats import reservoir
from jood.methods import nearest_neighbors

HEAD, JOINT = "csi_head", "csi_head_joint"
SHIFTS = 4  # rotations by 0, 90, 180 and 270 degrees
_SMALL = 1e-8  # that the authors' code adds to a norm


def rotated(images: jax.Array, shift: int) -> jax.Array:
    """Returns square images [B, H, H, C] turned by `shift` right angles.

    Raises:
      ValueError: they are not square.
    """
    if images.shape[1] != images.shape[2]:
        raise ValueError(
            f"CSI turns square images, got {images.shape[1:3]} pixels (height, width). "
            "Resize or crop them to a square."
        )
    return jnp.rot90(images, shift, axes=(1, 2))


def axes(z: np.ndarray, shift: np.ndarray) -> dict[str, np.ndarray]:
    """The values learned from the training images: directions and weights.

    Args:
      z: Their projected features in each rotation, float32 [M, 4, P].
      shift: The logits of each rotation, in that rotation, float32 [M, 4].

    Returns:
      'axis' [4, M, P], rows of length 1; 'similarity' 1 / mean ‖z_k‖₂ and 'shift' 1 /
      mean logit_k, both [4].
    """
    length = np.linalg.norm(z.astype(np.float64), axis=-1)  # [M, 4]
    axis = z / (length[..., None] + _SMALL)
    values = {
        "axis": np.swapaxes(axis, 0, 1),
        "similarity": 1 / length.mean(0),
        "shift": 1 / shift.astype(np.float64).mean(0),
    }
    return {name: value.astype(np.float32) for name, value in values.items()}


def similarity_and_shift(
    z: jax.Array, shift: jax.Array, learned: dict[str, Any]
) -> jax.Array:
    """¼ Σ_k (max_m z_k·axis_km / mean ‖z_k‖ + logit_k / mean logit_k), float32 [B].

    z is not divided by its length, which is a part of the score.

    Args:
      z: Projected features in each rotation, float32 [B, 4, P].
      shift: The logits of each rotation, in that rotation, float32 [B, 4].
      learned: Directions and weights that `axes` returns.
    """
    total = jnp.zeros(z.shape[0])
    for k in range(SHIFTS):
        axis = jnp.asarray(learned["axis"])[k]
        nearest = nearest_neighbors.best(z[:, k], axis, 1)[0][:, 0]
        total += nearest * learned["similarity"][k] + shift[:, k] * learned["shift"][k]
    return total / SHIFTS


def marginal(joint: jax.Array) -> jax.Array:
    """Largest softmax of ¼ Σ_k f_k[kK : (k+1)K], float32 [B].

    Args:
      joint: f_k, logits of pairs (class, rotation) of the image in rotation k, float32
        [4, B, 4K].
    """
    classes = joint.shape[-1] // SHIFTS
    blocks = [joint[k, :, k * classes : (k + 1) * classes] for k in range(SHIFTS)]
    return jax.nn.softmax(sum(blocks) / SHIFTS, axis=-1).max(-1)


def _records(acts: Activations) -> list[Activations]:
    network = acts.behind()
    turned = (rotated(network.images, k) for k in range(1, SHIFTS))
    return [acts, *(network.run(images) for images in turned)]


def _measure(acts: Activations) -> jax.Array:
    """Z and the shift logit of each rotation, float32 [B, 4 P + 4]."""
    head = acts.head(HEAD)
    features = [record.penultimate for record in _records(acts)]
    z = [added_heads.mlp(head["projector"], h) for h in features]
    logits = [added_heads.linear(head["shift"], h) for h in features]
    shift = [logit[:, k] for k, logit in enumerate(logits)]
    return jnp.concatenate([*z, jnp.stack(shift, axis=-1)], axis=-1)


def _parts(rows: Any) -> tuple[Any, Any]:
    """The inverse of `_measure`: [N, 4, P] and [N, 4]."""
    z, shift = rows[:, :-SHIFTS], rows[:, -SHIFTS:]
    return z.reshape(rows.shape[0], SHIFTS, z.shape[-1] // SHIFTS), shift


@component.row("CSI")
def csi(capacity: int = reservoir.CAPACITY) -> Component:
    """CSI: S = ¼ Σ_k (max_m z_k·ẑ_km / mean ‖z_k‖ + shift_k / mean shift_k).

    k runs over four rotations, m over training images. The authors average each over
    ten random crops; here the image is looked at whole.

    Args:
      capacity: number of training images that are kept, a uniform sample of all.

    Returns:
      A score component; it needs a network that CSI trained, and runs it on all four
      rotations. It fits the directions, float32 [4, min(N, capacity), P], and weights
      in one pass.

    References:
      Tack, Mo, Jeong, Shin, CSI, NeurIPS 2020, Eq. 6-9; its released code.
    """
    arguments.check_count("capacity", capacity)
    kept = reservoir.bank(_measure, capacity)

    def shape(acts: Activations) -> jax.Array:  # known without running the network
        width = acts.head(HEAD)["projector"]["output"]["bias"].shape[0]
        return jnp.zeros((1, SHIFTS * width + SHIFTS))

    statistic: Statistic = kept._replace(
        init=reservoir.bank(shape, capacity).init,
        finalize=lambda state: axes(*_parts(kept.finalize(state))),
    )

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        return similarity_and_shift(*_parts(_measure(acts)), fitted[0])

    return component.build(
        component.call_spec("csi", capacity=capacity),
        "score",
        apply,
        (lambda _: statistic,),
        reads=("feature", HEAD),
        needs_network=True,
    )


@component.row("CSI (labelled)")
def csi_marginal() -> Component:
    """Labelled CSI: S = max softmax(¼ Σ_k f_k), f_k the logits of (class, rotation k).

    Returns:
      A score component, in (0, 1]; it needs a network that labelled CSI trained, and
      runs it on four rotations.

    References:
      Tack, Mo, Jeong, Shin, CSI, NeurIPS 2020, Sec. 2.3.
    """

    def score(acts: Activations) -> jax.Array:
        head = acts.head(JOINT)
        logits = [added_heads.linear(head, r.penultimate) for r in _records(acts)]
        return marginal(jnp.stack(logits))

    return component.stateless(
        component.call_spec("csi_marginal"),
        "score",
        score,
        reads=("feature", JOINT),
        needs_network=True,
    )
