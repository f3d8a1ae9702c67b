"""LINE: keeps the neurons and weights that are important for the predicted class.

Slot logit, because its mask of the head differs from image to image; it rewrites
from the feature on: `line()|energy()`, `line()|prototype_smoothing()|energy()`.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core import activations
from jood.core import component
from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Component


@component.row("LINE", "line({line})|energy()")
def line(q_a: float = 0.1, q_w: float = 0.1, clip: float = 0.8) -> Component:
    """Clips, then masks neurons and head weights by their Taylor contributions.

    The contribution of neuron d to class k is I_kd = mean over the training images
    with label k of h_d W_dk, which is μ_kd W_dk. For an image predicted as c (from
    the clipped feature h̄ = min(h, clip)): neurons with I_cd above the q_a-quantile
    of I_c stay, weights W_dk with |I_cd| W_dk above the q_w-quantile of that whole
    matrix stay, both strictly; f = h̄ masked · W masked + b. A class without
    training examples masks nothing, and `fit` warns of it.

    Args:
      q_a: fraction in (0, 1) of the neurons that is masked.
      q_w: fraction in (0, 1) of the head's weights that is masked.
      clip: upper bound of a feature, in its units (the authors' values are for
        ResNet-50 and DenseNet). The paper's (q_a, q_w, clip): CIFAR-10 (0.9, 0.9,
        1.0), CIFAR-100 (0.1, 0.9, 1.0), ImageNet (0.1, 0.1, 0.8).

    Returns:
      A component of slot 'logit'. It fits I, float32 [K, D], the neurons, bool
      [K, D], and one threshold per class in one pass.

    Raises:
      ValueError: a fraction is not in (0, 1), or clip is not finite.

    References:
      Ahn, Park, Kim, LINe (OOD Detection by Leveraging Important Neurons), CVPR 2023,
      Eq. 3-8.
    """
    arguments.check_fraction("q_a", q_a)
    arguments.check_fraction("q_w", q_w)
    arguments.check_range("clip", clip, -math.inf, math.inf, "a finite number")
    means = stats.class_means(lambda acts: acts.penultimate)

    def important(state: Any, kernel: np.ndarray, _: Any) -> dict[str, np.ndarray]:
        consequence = "Images predicted as one of them are not masked."
        stats.check_classes(state["count"], "line", 1, consequence)
        known = state["count"] > 0
        # float32, as in `apply`: a threshold may be one of the products itself.
        weights = kernel.astype(np.float32)  # [D, K]
        taylor = state["mean"].astype(np.float32) * weights.T  # [K, D]
        neurons = taylor > np.quantile(taylor, q_a, axis=-1, keepdims=True)
        least = np.full(len(taylor), -np.inf, np.float32)  # [K]
        for k in np.flatnonzero(known):  # one [D, K] matrix at a time
            least[k] = np.quantile(np.abs(taylor[k])[:, None] * weights, q_w)
        neurons[~known] = True
        return {"taylor": np.abs(taylor), "neurons": neurons, "least": least}

    def apply(fitted: tuple[Any, ...], acts: Activations) -> Activations:
        keys = ("taylor", "neurons", "least")
        taylor, neurons, least = (jnp.asarray(fitted[0][key]) for key in keys)
        clipped = jnp.minimum(acts.penultimate, clip)  # [B, D]
        plain = activations.linear(clipped, acts.kernel, acts.bias)
        predicted = jnp.argmax(plain, axis=-1)  # [B]
        kept = jnp.where(neurons[predicted], clipped, 0.0)  # [B, D]

        def logits(example: tuple[jax.Array, jax.Array]) -> jax.Array:
            h, c = example  # [D], []
            above = taylor[c][:, None] * acts.kernel > least[c]  # [D, K], one at a time
            masked = jnp.where(above, acts.kernel, 0.0)
            return jnp.matmul(h, masked, precision="highest")

        f = jax.lax.map(logits, (kept, predicted)) + acts.bias[None]  # [B, K]
        return acts.with_penultimate(kept).with_logits(f)

    spec = component.call_spec("line", q_a=q_a, q_w=q_w, clip=clip)
    passes = (lambda _: stats.with_head(means, important),)
    return component.build(
        spec, "logit", apply, passes, entry="feature", needs_labels=True
    )
