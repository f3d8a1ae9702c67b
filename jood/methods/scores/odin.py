"""ODIN: temperature, and a small step of the image against the loss.

The gradient goes through the whole chain: `react(q=0.9)|odin()`, `ta(k=0.2)|odin()`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import component
from jood.core import input_perturbation
from jood.core.activations import Activations
from jood.core.component import Component


def max_probability(logits: jax.Array, T: Any) -> jax.Array:
    """Largest softmax(f / T) of logits [B, K]; float32 [B].

    At a high T all probabilities are nearly 1/K; what they differ by is summed on its
    own (expm1), so that only the last rounding, to float32, remains.
    """
    below = (logits - logits.max(-1, keepdims=True)) / T  # [B, K], <= 0
    return 1 / (logits.shape[-1] + jnp.expm1(below).sum(-1))


def moved(acts: Activations, T: Any, eps: Any) -> Activations:
    """Returns the record at x' = x - ε · s(∇_x CE(f(x) / T, c)) / std; see `odin`.

    Raises:
      MissingStageError: there is no network behind the record.
    """
    return input_perturbation.perturbed(acts, loss(acts, T), eps)


def loss(acts: Activations, T: Any) -> Callable[[Activations], jax.Array]:
    """CE(f / T, c) of a record, [B], for the classes c that `acts` predicts."""
    predicted = jnp.argmax(acts.logits, axis=-1)[:, None]  # integers: no gradient

    def of(record: Activations) -> jax.Array:
        logits = record.logits / T  # [B, K]
        chosen = jnp.take_along_axis(logits, predicted, axis=-1)[:, 0]
        return jax.nn.logsumexp(logits, axis=-1) - chosen

    return of


@component.row("ODIN", "odin(eps={eps})")
def odin(T: float = 1000.0, eps: float = 0.0014) -> Component:
    """ODIN: S = max softmax(f(x') / T), x' = x - ε · s(∇_x CE(f(x) / T, c)) / std.

    f are the logits as the chain before has rewritten them and c = argmax f(x): the
    step makes S larger. s is +1 where the gradient is >= 0 and -1 elsewhere; std is
    the preprocessing's, which a `jood.Detector` passes on (without one there is no
    division). Peers divide by other constants or not at all; their ε is then not
    comparable.

    Args:
      T: temperature above 0; may be traced.
      eps: step ε >= 0, in units of the normalised image times std; may be traced.
        0 is temperature scaling only, and runs the network once.

    Returns:
      A score component, in [1/K, 1]. It runs the network forwards, backwards and
      forwards again. At T = 1000 it is 1/K + O(1/(K T)), of which float32 keeps about
      four digits: do not read small differences in it.

    Raises:
      ValueError: T is not above 0, or eps is negative or not finite.
      MissingStageError: while scoring, if the record has no network behind it; it has
        one only inside the program that observed it with `component.edits`.

    References:
      Liang, Li, Srikant, ODIN, ICLR 2018, Eq. 1-2 (its released code for s and std).
    """
    arguments.check_positive("T", T)
    arguments.check_at_least("eps", eps, 0)
    spec = component.call_spec("odin", T=T, eps=eps)
    still = not isinstance(eps, jax.core.Tracer) and float(eps) == 0

    def score(acts: Activations) -> jax.Array:
        record = acts if still else moved(acts, T, eps)
        return max_probability(record.logits, T)

    return component.stateless(spec, "score", score, needs_network=not still)
