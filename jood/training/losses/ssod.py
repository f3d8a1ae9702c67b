"""SSOD, self-supervised sampling for OOD detection: an OOD head taught by patches.

The classifier labels the locations of ID images (`patches`): where it finds the true
class is ID, where it finds next to nothing of it is background and stands for OOD. A
second head learns to tell the two, together with the classifier and the network; at
test time it reads the pooled feature (`jood.scores.ood_factor`).
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import optax

from jood import core
from jood.models import layers
from jood.ood_head import COLLECTION as OOD_HEAD
from jood.training.forward import Seen
from jood.training.losses.cross_entropy import classification_loss
from jood.training.losses.local import probability
from jood.training.losses.objective import Objective
from jood.training.losses.objective import Part
from jood.training.losses.patches import Patches
from jood.training.losses.patches import resample
from jood.training.losses.patches import sample_patches

Balance = Literal["lwb", "lw", "dr"]


def _mean(part: Part) -> jax.Array:
    """A mean; of nothing 0."""
    return part.total / jnp.maximum(part.count, 1.0)


def _masked(values: jax.Array, mask: jax.Array) -> Part:
    return Part(jnp.where(mask, values, 0.0).sum(), mask.sum(dtype=jnp.float32))


def loss_wise(logit: jax.Array, patches: Patches, key: jax.Array) -> jax.Array:
    """LWB: the mean of the ID part's mean and the OOD part's mean; an empty one is 0.

    Args:
      logit: f_ood(z_j), float32 [B, HW].
      patches: bool [B, HW] each.
      key: not used.

    Returns:
      CE(ŷ_ood, y_ood) of Eq. 14 in nats, float32 [].
    """
    del key
    inside = _mean(_masked(jax.nn.softplus(-logit), patches.inside))
    outside = _mean(_masked(jax.nn.softplus(logit), patches.outside))
    return (inside + outside) / 2


def loss_weighting(logit: jax.Array, patches: Patches, key: jax.Array) -> jax.Array:
    """LW: the mean over labelled patches, the OOD ones weighted by n_ID / n_OOD.

    That is 2 n_ID / (n_ID + n_OOD) times `loss_wise` where both kinds are found: the
    more background there is, the less the OOD head counts. Arguments as there.
    """
    del key
    inside = _masked(jax.nn.softplus(-logit), patches.inside)
    outside = _masked(jax.nn.softplus(logit), patches.outside)
    factor = inside.count / jnp.maximum(outside.count, 1.0)
    labelled = inside.count + outside.count
    return _mean(Part(inside.total + factor * outside.total, labelled))


def data_resampling(logit: jax.Array, patches: Patches, key: jax.Array) -> jax.Array:
    """DR: the mean over equally many ID and OOD patches, drawn within each image.

    Arguments as for `loss_wise`; the key decides which are drawn.
    """
    drawn = resample(patches, key)
    labels = drawn.inside.astype(jnp.float32)
    values = optax.sigmoid_binary_cross_entropy(logit, labels)
    return _mean(_masked(values, drawn.inside | drawn.outside))


_BALANCES: dict[str, Callable[[jax.Array, Patches, jax.Array], jax.Array]] = {
    "lwb": loss_wise,
    "lw": loss_weighting,
    "dr": data_resampling,
}


def _init(key: jax.Array, width: int) -> dict[str, Any]:
    """The OOD head, one linear unit, begun as PyTorch's Linear is."""
    first, second = jax.random.split(key)
    kernel = layers.linear_init(first, (width, 1), jnp.float32)
    bias = layers.linear_bias_init(width)(second, (1,), jnp.float32)
    return {OOD_HEAD: {"kernel": kernel, "bias": bias}}


def ssod(
    gamma: float = 0.95, alpha: float = 1.0, balance: Balance = "lwb"
) -> Objective:
    """L = CE(ŷ, y) + α CE(ŷ_ood, y_ood), y_ood from the classifier's own patches.

    Both terms' gradients reach the network. The paper's OOD head has two outputs per
    location, ours one: the softmax of two logits is the sigmoid of their difference.

    Args:
      gamma: γ in (0.5, 1): patches with p_j(y) >= γ are ID, with p_j(y) < 1 - γ OOD.
        The paper's is 0.95.
      alpha: α >= 0, weight of the OOD head's loss; the paper's is 1 (Table 4).
      balance: how the many background patches are balanced with the few ID ones
        (Table 5): 'lwb' (loss-wise balance, the paper's), 'lw' (loss weighting) or
        'dr' (data resampling).

    Returns:
      The objective; it also logs the OOD head's loss, its accuracy on the patches, and
      the shares of ID and OOD patches.

    Raises:
      ValueError: a value is out of range.

    References:
      Pei, SSOD (Image Background Serves as Good Proxy for OOD Data), ICLR 2024,
      Eq. 11-15, Tables 4 and 5.
    """
    core.check_range("gamma", gamma, 0.5, 1.0, "a probability in (0.5, 1)")
    core.check_at_least("alpha", alpha, 0)
    if balance not in _BALANCES:
        raise ValueError(
            f"balance must be one of {', '.join(get_args(Balance))}, got {balance!r}."
        )

    def loss(seen: Seen, key: jax.Array) -> tuple[jax.Array, dict[str, Part]]:
        assert seen.acts.ood_head is not None, "the state was made without `init`"
        patches = sample_patches(probability(seen), gamma)
        logit = seen.acts.ood_head.logit(seen.local)  # [B, HW]
        ood_loss = _BALANCES[balance](logit, patches, key)
        labelled = patches.inside | patches.outside
        right = (logit > 0) == patches.inside
        size = jnp.float32(logit.size)
        return classification_loss(seen) + alpha * ood_loss, {
            "ood_loss": Part(ood_loss, jnp.float32(1)),
            "ood_accuracy": _masked(right.astype(jnp.float32), labelled),
            "id_share": Part(patches.inside.sum(dtype=jnp.float32), size),
            "ood_share": Part(patches.outside.sum(dtype=jnp.float32), size),
        }

    spec = core.call_spec("ssod", gamma=gamma, alpha=alpha, balance=balance)
    return Objective(spec, _init, loss)
