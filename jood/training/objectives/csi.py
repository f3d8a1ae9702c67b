"""CSI: views of an image are drawn together, its rotations count as other images.

Rotated images stand for what is not ID. A head learns to tell the rotations apart;
with labels, views of one class and rotation are drawn together, and further heads learn
on features without gradient.
"""

from typing import Any, Literal, get_args

import chex
import jax
import jax.numpy as jnp
import optax

from jood._utils import arguments
from jood.core import added_heads
from jood.core import component
from jood.core.activations import linear
from jood.methods.scores.csi import HEAD
from jood.methods.scores.csi import JOINT
from jood.methods.scores.csi import SHIFTS
from jood.methods.scores.csi import rotated
from jood.training.forward import TrainingPass
from jood.training.objectives import projection
from jood.training.objectives.cross_entropy import softmax_cross_entropy
from jood.training.objectives.objective import Augmented
from jood.training.objectives.objective import Objective
from jood.training.objectives.objective import Part

Kind = Literal["unsupervised", "labelled"]
TEMPERATURES = {"unsupervised": 0.5, "labelled": 0.07}  # the authors' code's
_SMALL = 1e-8  # that the authors' code adds


def unit(z: jax.Array) -> jax.Array:
    """Z / (‖z‖₂ + 1e-8) of rows."""
    return z / (optax.safe_norm(z, 0.0, axis=-1, keepdims=True) + _SMALL)


def _surprise(logits: jax.Array) -> jax.Array:
    """ℓ_ij = -log(E_ij / (Σ_l E_il + ε) + ε), E = exp(logits), E_ii = 0, [N, N]."""
    itself = jnp.eye(len(logits), dtype=bool)
    powers = jnp.where(itself, 0.0, jnp.exp(logits))
    return -jnp.log(powers / (powers.sum(-1, keepdims=True) + _SMALL) + _SMALL)


def pair_loss(u: jax.Array, temperature: float) -> jax.Array:
    """Mean of ℓ_ij of each row and the other view of its image and rotation, [].

    Other rotations of the image are negatives like all others.

    Args:
      u: float32 [N, P], of length 1: the first N / 2 rows are view 1.
      temperature: T > 0, logits are u_i·u_j / T.
    """
    chex.assert_rank(u, 2)
    similarity = jnp.matmul(u, u.T, precision=jax.lax.Precision.HIGHEST)
    surprise = _surprise(similarity / temperature)
    half = len(u) // 2
    return (
        jnp.diagonal(surprise, half).sum() + jnp.diagonal(surprise, -half).sum()
    ) / (2 * half)


def class_loss(u: jax.Array, kinds: jax.Array, temperature: float) -> jax.Array:
    """Mean over rows of the mean of ℓ_ij over rows j of the same kind, [].

    As in the authors' code j = i is among them, which adds log(1e8) / count to the
    value and takes a share 1 / count of the gradient.

    Args:
      u: float32 [N, P], of length 1.
      kinds: Class and rotation in one number, int32 [N].
      temperature: T > 0.
    """
    chex.assert_rank([u, kinds], [2, 1])
    similarity = jnp.matmul(u, u.T, precision=jax.lax.Precision.HIGHEST)
    largest = jax.lax.stop_gradient(similarity.max(-1, keepdims=True))
    surprise = _surprise((similarity - largest) / temperature)
    same = (kinds[:, None] == kinds[None]).astype(jnp.float32)
    weights = same / (same.sum(-1, keepdims=True) + _SMALL)
    return (weights * surprise).sum() / len(u)


def shift_labels(count: int) -> jax.Array:
    """The rotation of each row of one view, int32 [count]: all of 0 first."""
    return jnp.repeat(jnp.arange(SHIFTS), count // SHIFTS)


def _images(augmented: Augmented, batch: Any, key: jax.Array) -> tuple[Any, None]:
    """[view 1: rotation 0 (B), 1, 2, 3; view 2: the same].

    Turned after the augmentation: a flip of an image that was turned to the left is one
    of a flipped image that was turned to the right.
    """
    del batch
    keys = jax.random.split(key, 2 * SHIFTS)
    rows = [rotated(augmented(each), i % SHIFTS) for i, each in enumerate(keys)]
    return jnp.concatenate(rows), None


def csi(
    kind: Kind = "unsupervised",
    temperature: float | None = None,
    lam: float = 1.0,
    width: int = 128,
) -> Objective:
    """L = λ L_contrast + L_heads over two views of four rotations.

    Unsupervised: L_heads is CE of the rotation, whose gradient reaches the network;
    scored with `csi()`. Labelled: the contrast is that of class and rotation, and heads
    for the rotation and for both together learn on features without gradient, as in
    the authors' second stage, but at the same time; scored with `csi_marginal()`. The
    network's classifier learns so in either. Needs crops and colour jitter.

    Args:
      kind: 'unsupervised' or 'labelled'.
      temperature: T > 0; None for the authors' 0.5, with labels 0.07.
      lam: λ >= 0.
      width: P, of the projection.

    References:
      Tack, Mo, Jeong, Shin, CSI (Novelty Detection via Contrastive Learning on
      Distributionally Shifted Instances), NeurIPS 2020, Eq. 3-5 and Sec. 2.3.
    """
    if kind not in get_args(Kind):
        known = " or ".join(map(repr, get_args(Kind)))
        raise ValueError(f"kind must be {known}, got {kind!r}.")
    T = TEMPERATURES[kind] if temperature is None else temperature
    arguments.check_positive("temperature", T)
    arguments.check_at_least("lam", lam, 0)
    arguments.check_count("width", width)
    T, lam = float(T), float(lam)
    labelled = kind == "labelled"

    def init(key: jax.Array, features: int, classes: int) -> dict[str, Any]:
        first, second, third = jax.random.split(key, 3)
        head = {
            "projector": projection.mlp_layers(first, features, features, width),
            "shift": projection.linear_layer(second, features, SHIFTS),
        }
        joint = projection.linear_layer(third, features, SHIFTS * classes)
        return {HEAD: head, JOINT: joint} if labelled else {HEAD: head}

    def classifier_loss(outputs: TrainingPass) -> jax.Array:
        upright = jax.lax.stop_gradient(outputs.acts.penultimate[: len(outputs.labels)])
        logits = linear(upright, outputs.acts.kernel, outputs.acts.bias)
        return softmax_cross_entropy(logits, outputs.labels)

    def without_labels(outputs: TrainingPass) -> tuple[jax.Array, jax.Array]:
        head, features = outputs.added[HEAD], outputs.acts.penultimate
        u = unit(added_heads.mlp(head["projector"], features))
        shifts = jnp.tile(shift_labels(len(features) // 2), 2)
        head_loss = softmax_cross_entropy(
            added_heads.linear(head["shift"], features), shifts
        )
        return pair_loss(u, T), head_loss

    def with_labels(outputs: TrainingPass) -> tuple[jax.Array, jax.Array]:
        head, classes = outputs.added[HEAD], outputs.acts.kernel.shape[1]
        u = unit(added_heads.mlp(head["projector"], outputs.acts.penultimate))
        first = len(u) // 2  # rows of a view
        shifts = shift_labels(first)
        kinds = jnp.tile(outputs.labels, SHIFTS) + classes * shifts
        fixed = jax.lax.stop_gradient(outputs.acts.penultimate[:first])
        head_loss = softmax_cross_entropy(
            added_heads.linear(head["shift"], fixed), shifts
        )
        joint = added_heads.linear(outputs.added[JOINT], fixed)
        head_loss += softmax_cross_entropy(joint, kinds)
        return class_loss(u, jnp.tile(kinds, 2), T), head_loss

    terms = with_labels if labelled else without_labels

    def loss(outputs: TrainingPass, _: jax.Array) -> tuple[jax.Array, dict[str, Part]]:
        contrast, head_loss = terms(outputs)
        beside, one = classifier_loss(outputs), jnp.float32(1)
        return lam * contrast + head_loss + beside, {
            "contrastive_loss": Part(contrast, one),
            "head_loss": Part(head_loss, one),
            "classifier_loss": Part(beside, one),
        }

    values = {"kind": kind, "temperature": T, "lam": lam, "width": width}
    text = "csi_marginal()" if labelled else "csi()"
    return Objective(
        component.call_spec("csi", **values),
        loss,
        init=init,
        images=_images,
        rows={"CSI": text},
    )
