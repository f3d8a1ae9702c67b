"""DOCTOR: the odds that the classifier is wrong, from the softmax alone.

Made to find misclassified images; OOD images have no right class, so they are found,
too. With a step ε the image is first moved so that it looks more certain, as in ODIN.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import component
from jood.core import input_perturbation
from jood.core.activations import Activations
from jood.core.component import Component
from jood.methods.scores.gen import log_probabilities


@component.row("DOCTOR (alpha)")
def doctor_alpha(T: float = 1.0, eps: float = 0.0) -> Component:
    """Odds of an error of a sampled label: S = -(1 - g) / g, g = Σ_k p_k².

    p = softmax(f / T). 1 - g is the probability that two labels drawn from p differ.
    It is summed from p_k (1 - p_k), so that it keeps its digits where p is near 1.

    Args:
      T: temperature above 0; may be traced.
      eps: step ε >= 0 of the image, x' = x - ε · s(∇_x (1 - g)) / std, in units and
        with the sign s of `odin`; 0, the default, moves nothing and runs the network
        once. May be traced.

    Returns:
      A score component, in [1 - K, 0].

    Raises:
      ValueError: T is not above 0, or eps is negative or not finite.
      MissingStageError: while scoring with a step, if the record has no network behind
        it.

    References:
      Granese, Romanelli, Gorla, Palamidessi, Piantanida, DOCTOR, NeurIPS 2021, the
      discriminator D_α and its input pre-processing.
    """

    def disagreement(logits: jax.Array) -> jax.Array:
        return 1 - jnp.square(jax.nn.softmax(logits)).sum(-1)

    def odds(logits: jax.Array) -> jax.Array:
        log_p, log_rest = log_probabilities(logits)
        differ = jnp.exp(log_p + log_rest).sum(-1)  # 1 - g
        return differ / jnp.exp(2 * log_p).sum(-1)

    return _doctor("doctor_alpha", odds, disagreement, T, eps)


@component.row("DOCTOR (beta)")
def doctor_beta(T: float = 1.0, eps: float = 0.0) -> Component:
    """Odds of an error of the predicted label: S = -(1 - max_k p_k) / max_k p_k.

    It ranks as MSP does, but does not saturate. Arguments and errors are those of
    `doctor_alpha`, with a step along ∇_x (1 - max_k p_k).

    Returns:
      A score component, in [1 - K, 0].

    References:
      Granese, Romanelli, Gorla, Palamidessi, Piantanida, DOCTOR, NeurIPS 2021, the
      discriminator D_β.
    """

    def uncertainty(logits: jax.Array) -> jax.Array:
        return 1 - jax.nn.softmax(logits).max(-1)

    def odds(logits: jax.Array) -> jax.Array:
        log_p, log_rest = log_probabilities(logits)
        return jnp.exp((log_rest - log_p).min(-1))

    return _doctor("doctor_beta", odds, uncertainty, T, eps)


def _doctor(
    name: str,
    odds: Callable[[jax.Array], jax.Array],
    loss: Callable[[jax.Array], jax.Array],
    T: float,
    eps: float,
) -> Component:
    """Returns -odds(f(x') / T), x' moved against the gradient of the loss."""
    arguments.check_positive("T", T)
    arguments.check_at_least("eps", eps, 0)
    still = not isinstance(eps, jax.core.Tracer) and float(eps) == 0

    def score(acts: Activations) -> jax.Array:
        if not still:
            acts = input_perturbation.perturbed(
                acts, lambda record: loss(record.logits / T), eps
            )
        return -odds((acts.logits / T).astype(jnp.float32))

    spec = component.call_spec(name, T=T, eps=eps)
    return component.stateless(spec, "score", score, needs_network=not still)
