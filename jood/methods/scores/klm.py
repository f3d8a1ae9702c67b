"""KL matching: the distance of a softmax to the usual softmax of the nearest class."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood.core import component
from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Component
from jood.methods.scores.entropy import negative_entropy


@component.row("KLM")
def klm() -> Component:
    """KL matching: S = -min_k KL(p ‖ q_k), p = softmax(f).

    q_k is the mean softmax of the training images that the network *predicts* as k,
    so no labels are needed. A class that is never predicted has no q_k and is left
    out of the minimum; `fit` warns of it. The smallest q is 1e-38, float32's smallest
    normal number, where the paper's formula would be infinite.

    Returns:
      A score component, in nats, <= 0 (up to rounding). It fits log q, float32
      [K', K] of the K' classes that are predicted, in one pass.

    References:
      Hendrycks et al., Scaling OOD Detection for Real-World Settings, ICML 2022, the
      KL matching detector. (The paper fits q_k on validation images.)
    """
    means = stats.class_means(
        lambda acts: jax.nn.softmax(acts.logits), classes=lambda acts: acts.prediction
    )

    def finalize(state: Any) -> np.ndarray:
        state = means.finalize(state)
        method = "klm(), which groups images by their prediction,"
        consequence = "They are left out: no image is compared with them."
        stats.check_classes(state["count"], method, 1, consequence)
        q = state["mean"][state["count"] > 0]  # [K', K]
        return np.log(np.maximum(q, np.finfo(np.float32).tiny)).astype(np.float32)

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        p, log_q = jax.nn.softmax(acts.logits), jnp.asarray(fitted[0])  # [K', K]
        cross = jnp.matmul(p, log_q.T, precision="highest")  # [B, K'], Σ_j p_j log q_kj
        # KL = Σ p log p - Σ p log q, whose first term is the same for all classes.
        return cross.max(-1) - negative_entropy(acts.logits)

    passes = (lambda _: means._replace(finalize=finalize),)
    return component.build(component.call_spec("klm"), "score", apply, passes)
