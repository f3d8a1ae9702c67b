"""SupCon: views of one class are drawn together and pushed away from all others.

SSD+ and KNN+ are its networks, scored with `ssd()` and `knn()`.
"""

from typing import Literal, get_args

import chex
import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import component
from jood.training.forward import TrainingPass
from jood.training.objectives import projection
from jood.training.objectives import views
from jood.training.objectives.objective import Objective
from jood.training.objectives.objective import Part

Positives = Literal["class", "image"]
BASE_TEMPERATURE = 0.07  # of the authors' code, the paper has none


def contrastive_loss(
    features: jax.Array,
    positives: jax.Array,
    temperature: float,
    base_temperature: float = BASE_TEMPERATURE,
) -> jax.Array:
    """-(T / T_base) · mean_i 1/|P(i)| Σ_{j in P(i)} log p_ij, float32 [].

    log p_ij = v_i·v_j / T - log Σ_{l≠i} exp(v_i·v_l / T). An anchor without positives
    adds 0 and is counted in the mean, as in the authors' current code.

    Args:
      features: v, float32 [N, P], of length 1.
      positives: Whether j is in P(i), bool or float32 [A, N]; anchors are the first A
        rows, i itself never counts.
      temperature: T > 0.
      base_temperature: T_base > 0; at T = 0.1 the usual 0.07 makes the loss 1.43
        times the textbook's.
    """
    chex.assert_rank([features, positives], 2)
    anchors, count = positives.shape
    itself = jnp.eye(anchors, count, dtype=bool)
    highest = jax.lax.Precision.HIGHEST
    similarity = jnp.matmul(features[:anchors], features.T, precision=highest)
    logits = similarity / temperature  # [A, N]
    others = jnp.where(itself, -jnp.inf, logits)
    log_p = logits - jax.nn.logsumexp(others, axis=-1, keepdims=True)
    chosen = jnp.where(itself, 0.0, positives.astype(jnp.float32))
    number = chosen.sum(-1)  # |P(i)|
    mean = (chosen * log_p).sum(-1) / jnp.where(number > 0, number, 1.0)
    return -(temperature / base_temperature) * mean.mean()


def same(labels: jax.Array) -> jax.Array:
    """Whether two examples are of one class, bool [N, N]."""
    return labels[:, None] == labels[None]


_KINDS = {"class": lambda labels: labels, "image": lambda y: jnp.arange(len(y))}


def supcon(
    temperature: float = 0.1, width: int = 128, positives: Positives = "class"
) -> Objective:
    """L = contrastive loss of two projected views; the classifier beside it.

    Needs a random augmentation: crop, flip, jitter, grey. The network's classifier
    learns on features without gradient, which changes nothing of the network.

    Args:
      temperature: T > 0. SupContrast's is 0.07, that of SSD+ 0.5, of CIDER's
        comparison 0.1.
      width: P, of the projection.
      positives: Views that are drawn together: those of a 'class' (SupCon, SSD+,
        KNN+), or of an 'image' (SimCLR, SSD), which reads no labels.

    References:
      Khosla, Teterwak, Wang, Sarna, Tian, Isola, Maschinot, Liu, Krishnan, SupCon
      (Supervised Contrastive Learning), NeurIPS 2020, Eq. 2 (L_out).
    """
    arguments.check_positive("temperature", temperature)
    arguments.check_count("width", width)
    if positives not in get_args(Positives):
        known = " or ".join(map(repr, get_args(Positives)))
        raise ValueError(f"positives must be {known}, got {positives!r}.")
    temperature = float(temperature)

    def init(key: jax.Array, features: int) -> dict[str, object]:
        parts = projection.mlp_layers(key, features, features, width)
        return {projection.COLLECTION: parts}

    def loss(outputs: TrainingPass, _: jax.Array) -> tuple[jax.Array, dict[str, Part]]:
        kinds = projection.of_views(outputs, _KINDS[positives](outputs.labels))
        pull = contrastive_loss(projection.projected(outputs), same(kinds), temperature)
        beside = projection.classifier_loss(outputs)
        one = jnp.float32(1)
        return pull + beside, {
            "contrastive_loss": Part(pull, one),
            "classifier_loss": Part(beside, one),
        }

    values = {"temperature": temperature, "width": width, "positives": positives}
    spec = component.call_spec("supcon", **values)
    own = {"KNN+": "knn()", "SSD+": "ssd()"}
    return Objective(spec, loss, init=init, images=views.two_views, rows=own)
