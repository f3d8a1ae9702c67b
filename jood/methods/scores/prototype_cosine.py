"""The cosine to the class prototype by itself: HIMPLoS's Fig. 5.

HIMPLoS's logit smoothing (`jood.methods.transforms.prototype`) multiplies the logits by
it; here it is the score.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jood.core import component
from jood.core.activations import Activations
from jood.core.component import Component
from jood.methods.transforms import prototype


@component.row("Cosine to prototype")
def prototype_cosine() -> Component:
    """Cosine of the feature and the prototype of the predicted class: S = s(h, v_c).

    v_c is the mean training feature of class c by label, c the prediction of the
    unmodified pass and h the feature, both as rewritten before it. A class without
    training examples has no prototype: images predicted as one score 0, and `fit`
    warns of it. `she(metric='cosine')` averages correctly classified images alone.

    Returns:
      A score component, in [-1, 1]. It fits the prototypes in one pass.

    Raises:
      ValueError: while fitting, if the training data carry no labels.

    References:
      Sun et al., HIMPLoS (Classifier-head Informed Feature Masking and
      Prototype-based Logit Smoothing), Eq. 6-8, Fig. 5.
    """
    consequence = "Images that are predicted as one of them score 0."

    def feature(acts: Activations) -> jax.Array:
        return acts.penultimate

    def score(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        c = acts.prediction  # [B]
        cosine = prototype.cosine_to_prototype(fitted[0], acts.penultimate, c)
        return jnp.where(jnp.asarray(fitted[0]["known"])[c], cosine, 0.0)

    spec = component.call_spec("prototype_cosine")
    statistic = prototype.prototypes(feature, spec, consequence)
    return component.build(
        spec,
        "score",
        score,
        (lambda _: statistic,),
        reads=("feature",),
        needs_labels=True,
    )
