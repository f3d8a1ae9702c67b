"""i-ODIN: ODIN that moves one entry of the image, that of the largest gradient."""

import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import component
from jood.core import input_perturbation
from jood.core.activations import Activations
from jood.core.component import Component
from jood.methods.scores.odin import loss
from jood.methods.scores.odin import max_probability


@component.row("i-ODIN", "iodin(eps={eps})")
def iodin(T: float = 1000.0, eps: float = 0.0014) -> Component:
    """ODIN with one pixel: S = max softmax(f(x') / T), x' moved at argmax_i |g_i|.

    g = ∇_x CE(f(x) / T, c) and x'_i = x_i - ε · s(g_i) / std at the entry i of H W C
    with the largest |g_i|; all others stay. c, s and std are those of `odin`.

    Args:
      T: temperature above 0; may be traced.
      eps: step ε > 0, in units of the normalised image times std; may be traced. One
        entry moves so little that the default, ODIN's, changes the score in its last
        digits only.

    Returns:
      A score component, in [1/K, 1]. It runs the network forwards, backwards and
      forwards again.

    Raises:
      ValueError: T or eps is not above 0.
      MissingStageError: while scoring, if the record has no network behind it.

    References:
      Zhang et al., OpenOOD v1.5, 2023, its post-processor IODIN, which names no paper.
    """
    arguments.check_positive("T", T)
    arguments.check_positive("eps", eps)

    def score(acts: Activations) -> jax.Array:
        gradient = input_perturbation.gradient(acts, loss(acts, T))
        flat = jnp.abs(gradient).reshape(gradient.shape[0], -1)  # [B, HWC]
        largest = jax.nn.one_hot(flat.argmax(-1), flat.shape[-1])
        step = input_perturbation.signs(gradient, acts.behind().std)
        step = -eps * step * largest.reshape(gradient.shape)
        return max_probability(input_perturbation.moved(acts, step).logits, T)

    spec = component.call_spec("iodin", T=T, eps=eps)
    return component.stateless(spec, "score", score, needs_network=True)
