"""HIMPLoS's logit smoothing: temper the logits by the likeness to the class prototype.

Slot logit, after whatever rewrites feature or head. The similarity is that of the
*unmodified* feature, so a mask or a clip before it does not change it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood.core import component
from jood.core import norms
from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.component import Statistic


@component.row("ReAct+LS", "react({clip})|prototype_smoothing()|energy()")
def prototype_smoothing() -> Component:
    """Scales the logits by the cosine to the class prototype: f̂ = s(h, v_c) · f.

    v_c is the mean training feature of class c by label, c the prediction and h the
    feature of the unmodified pass. The bias is inside f (Eq. 10). A class without
    training examples has no prototype: logits of images predicted as one are left
    as they are (s = 1), and `fit` warns of it.

    Returns:
      A component of slot 'logit'. It fits the prototypes in one pass.

    Raises:
      ValueError: while fitting, if the training data carry no labels.

    References:
      Sun et al., HIMPLoS (Classifier-head Informed Feature Masking and
      Prototype-based Logit Smoothing), Eq. 6-8 and 10, Table III.
    """
    consequence = "Logits of images predicted as one of them are not smoothed."

    def smooth(fitted: tuple[Any, ...], acts: Activations) -> Activations:
        similarity = cosine_to_prototype(fitted[0], acts.original, acts.prediction)
        known = jnp.asarray(fitted[0]["known"])[acts.prediction]  # [B]
        similarity = jnp.where(known, similarity, 1.0)
        return acts.with_logits(similarity[:, None] * acts.logits)

    spec = component.call_spec("prototype_smoothing")
    passes = (lambda _: prototypes(original, "prototype_smoothing", consequence),)
    return component.build(spec, "logit", smooth, passes, needs_labels=True)


def original(acts: Activations) -> jax.Array:
    """Returns the feature of the unmodified pass, float32 [B, D]."""
    return acts.original


def prototypes(
    feature: Callable[[Activations], jax.Array], method: str, consequence: str
) -> Statistic:
    """Returns the statistic of the classes' prototypes, Eq. 6.

    Args:
      feature: activations -> the values to average by label, float32 [B, D].
      method: The method's name, for the warning of classes without training examples.
      consequence: sentence on what becomes of images predicted as one of these.

    Returns:
      A statistic whose value is {'unit': v_c / ‖v_c‖₂, float32 [K, D], 'known': bool
      [K], whether the class has training examples}.
    """
    means = stats.class_means(feature)

    def finalize(state: Any) -> dict[str, np.ndarray]:
        state = means.finalize(state)
        count, mean = state["count"], state["mean"]
        stats.check_classes(count, method, 1, consequence)
        norm = np.linalg.norm(mean, axis=-1, keepdims=True)
        unit = mean / np.where(norm == 0, 1.0, norm)
        return {"unit": unit.astype(np.float32), "known": count > 0}

    return means._replace(finalize=finalize)


def cosine_to_prototype(
    fitted: Mapping[str, Any], feature: jax.Array, prediction: jax.Array
) -> jax.Array:
    """Returns s(h, v_c), Eq. 7, of features [B, D] and classes int [B]; float32 [B].

    `fitted` is what `prototypes` fits.
    """
    prototype = jnp.asarray(fitted["unit"])[prediction]  # [B, D]
    return (norms.unit(feature) * prototype).sum(-1)
