"""Outlier Exposure: the network learns to be uncertain about images that are not ID."""

import chex
import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import component
from jood.training.forward import TrainingPass
from jood.training.objectives import views
from jood.training.objectives.cross_entropy import softmax_cross_entropy
from jood.training.objectives.objective import Objective
from jood.training.objectives.objective import Part


def uniform_cross_entropy(logits: jax.Array) -> jax.Array:
    """Mean over outliers of log Σ_k exp f_k - mean_k f_k, in nats, float32 [].

    The cross-entropy to the uniform distribution, which is at least log K; its
    Kullback-Leibler divergence differs by that constant.

    Args:
      logits: f of outliers, float32 [M, K].
    """
    chex.assert_rank(logits, 2)
    return (jax.nn.logsumexp(logits, axis=-1) - logits.mean(-1)).mean()


def outlier_exposure(lam: float = 0.5) -> Objective:
    """L = CE(f, y) + λ · mean over outliers of CE(f, uniform); scored with MSP.

    Each mean is over its own set (pytorch-ood divides both by B + M).

    Args:
      lam: λ >= 0; 0.5 in the authors' code, which takes 256 outliers to 128 ID images.

    References:
      Hendrycks, Mazeika, Dietterich, Outlier Exposure (Deep Anomaly Detection with
      Outlier Exposure), ICLR 2019, Sec. 3 and 4.
    """
    arguments.check_at_least("lam", lam, 0)
    lam = float(lam)

    def loss(outputs: TrainingPass, _: jax.Array) -> tuple[jax.Array, dict[str, Part]]:
        count = len(outputs.labels)
        logits = outputs.acts.logits.astype(jnp.float32)  # [B + M, K]
        exposed = uniform_cross_entropy(logits[count:])
        total = softmax_cross_entropy(logits[:count], outputs.labels) + lam * exposed
        return total, {"outlier_loss": Part(exposed, jnp.float32(1))}

    return Objective(
        component.call_spec("outlier_exposure", lam=lam),
        loss,
        images=views.with_outliers,
        outliers="images that are not ID, to be unsure of",
    )
