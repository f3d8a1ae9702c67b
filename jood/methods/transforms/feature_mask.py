"""HIMPLoS's feature mask: keep what the classifier head says matters for the class.

`feature_mask(q=0.3)|react(clip=0.8)|prototype_smoothing()|energy()` is HIMPLoS.
"""

import jax.numpy as jnp

from jood._utils import arguments
from jood.core import component
from jood.core.activations import Activations
from jood.core.component import Component
from jood.methods import top_k


@component.row("ReAct+FM", "feature_mask(q={mask})|react({clip})|energy()")
def feature_mask(q: float = 0.3) -> Component:
    """Masks the features that weigh least for the predicted class: h_m = m_c ⊙ h.

    m_c marks the k = D - round(q D) largest entries of the column W[:, c] of the
    head, c the prediction of the unmodified pass; ties keep the lower index.

    Args:
      q: fraction in [0, 1) of the features that is masked; may be traced. 0.6 on
        CIFAR, 0.3 on ImageNet, chosen on Gaussian noise (Sec. V-F); 0, where Fig. 7
        begins, masks none.

    Returns:
      A component of slot 'feature'; nothing is fitted.

    Raises:
      ValueError: q is not a fraction in [0, 1).

    References:
      Sun et al., HIMPLoS (Classifier-head Informed Feature Masking and
      Prototype-based Logit Smoothing), Eq. 3, Table III, Fig. 7.
    """
    arguments.check_share("q", q)

    def mask(acts: Activations) -> Activations:
        weights = acts.kernel.T[acts.prediction]  # [B, D], W[:, c] of each image
        kept = top_k.largest(weights, q)
        return acts.with_penultimate(jnp.where(kept, acts.penultimate, 0.0))

    spec = component.call_spec("feature_mask", q=q)
    return component.stateless(spec, "feature", mask)
