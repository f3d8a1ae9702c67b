"""HIMPLoS's logit smoothing: temper the logits by the likeness to the class prototype.

Slot logit, after whatever rewrites feature or head. The similarity is that of the
*unmodified* feature, so a mask or a clip before it does not change it.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jood.core import component
from jood.core import norms
from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Component


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
    means = stats.class_means(lambda acts: acts.original)

    def finalize(state: Any) -> dict[str, np.ndarray]:
        state = means.finalize(state)
        count, mean = state["count"], state["mean"]
        consequence = "Logits of images predicted as one of them are not smoothed."
        stats.check_classes(count, "prototype_smoothing", 1, consequence)
        norm = np.linalg.norm(mean, axis=-1, keepdims=True)
        unit = mean / np.where(norm == 0, 1.0, norm)
        return {"unit": unit.astype(np.float32), "known": count > 0}

    def smooth(fitted: tuple[Any, ...], acts: Activations) -> Activations:
        prototype = jnp.asarray(fitted[0]["unit"])[acts.prediction]  # [B, D]
        known = jnp.asarray(fitted[0]["known"])[acts.prediction]  # [B]
        cosine = (norms.unit(acts.original) * prototype).sum(-1)
        similarity = jnp.where(known, cosine, 1.0)
        return acts.with_logits(similarity[:, None] * acts.logits)

    spec = component.call_spec("prototype_smoothing")
    passes = (lambda _: means._replace(finalize=finalize),)
    return component.build(spec, "logit", smooth, passes)
