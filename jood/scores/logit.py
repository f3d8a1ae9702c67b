"""Scores read off the logits f: MSP, MaxLogit, Energy."""

import jax

from jood import core
from jood.core import Component


def msp() -> Component:
    """Maximum softmax probability: S = max_k p_k, p = softmax(f).

    Returns:
      A score component, in (0, 1].

    References:
      Hendrycks, Gimpel, A Baseline for Detecting Misclassified and OOD Examples,
      ICLR 2017.
    """
    return core.score(
        core.call_spec("msp"), lambda acts: jax.nn.softmax(acts.logits).max(-1)
    )


def max_logit() -> Component:
    """Maximum logit: S = max_k f_k.

    Returns:
      A score component, in units of the logits.

    References:
      Hendrycks et al., Scaling OOD Detection for Real-World Settings, ICML 2022.
    """
    return core.score(core.call_spec("max_logit"), lambda acts: acts.logits.max(-1))


def energy(T: float = 1.0) -> Component:
    """Negative free energy: S = T · log Σ_k exp(f_k / T).

    Args:
      T: temperature above 0; may be traced.

    Returns:
      A score component, in units of the logits.

    Raises:
      ValueError: T is not a finite number above 0.

    References:
      Liu, Wang, Owens, Li, Energy-based OOD Detection, NeurIPS 2020, Eq. 4.
    """
    core.check_positive("T", T)
    return core.score(
        core.call_spec("energy", T=T),
        lambda acts: T * jax.nn.logsumexp(acts.logits / T, axis=-1),
    )
