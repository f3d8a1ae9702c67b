"""Scores read off the logits f: MSP, MaxLogit, Energy."""

import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import component
from jood.core.component import Component


@component.row("MSP")
def msp() -> Component:
    """Maximum softmax probability: S = max_k p_k, p = softmax(f).

    In float32 it is exactly 1 for every confident image (a third of CIFAR-10's test
    images with ResNet-20), so the metrics of a table rank by `log_odds`.

    Returns:
      A score component, in (0, 1].

    References:
      Hendrycks, Gimpel, A Baseline for Detecting Misclassified and OOD Examples,
      ICLR 2017.
    """
    spec = component.call_spec("msp")
    fine = component.score(spec, lambda acts: log_odds(acts.logits))
    score = component.score(spec, lambda acts: jax.nn.softmax(acts.logits).max(-1))
    return score._replace(ranking=fine)


def log_odds(logits: jax.Array) -> jax.Array:
    """log(p / (1 - p)) of p = max_k softmax(f)_k, = f_c - log Σ_{k≠c} exp f_k.

    It is in the order of p, but float32 does not saturate. [B, K] -> [B]; 0 if K is 1.
    """
    if logits.shape[-1] == 1:  # p = 1, whatever the image
        return jnp.zeros(logits.shape[0])
    largest = jax.nn.one_hot(logits.argmax(-1), logits.shape[-1], dtype=bool)  # [B, K]
    others = jnp.where(largest, -jnp.inf, logits)
    return logits.max(-1) - jax.nn.logsumexp(others, axis=-1)


@component.row("MaxLogit")
def max_logit() -> Component:
    """Maximum logit: S = max_k f_k.

    Returns:
      A score component, in units of the logits.

    References:
      Hendrycks et al., Scaling OOD Detection for Real-World Settings, ICML 2022.
    """
    spec = component.call_spec("max_logit")
    return component.score(spec, lambda acts: acts.logits.max(-1))


@component.row("Energy")
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
    arguments.check_positive("T", T)
    return component.score(
        component.call_spec("energy", T=T),
        lambda acts: T * jax.nn.logsumexp(acts.logits / T, axis=-1),
    )
