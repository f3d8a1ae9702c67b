"""Scores of a network that was trained with SSOD: the OOD factor and the posterior.

SSOD (`jood.training.objectives.ssod`) trains an OOD head f_ood beside the classifier,
on patches of ID images; the head travels with the network's variables.
"""

from collections.abc import Callable

import jax

from jood.core import component
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.ood_head import COLLECTION as OOD_HEAD
from jood.methods.scores.logit import log_odds

_Score = Callable[[Activations], jax.Array]


@component.row("SSOD (OOD factor)")
def ood_factor() -> Component:
    """The OOD factor P(x in S_ID | x): S = sigmoid(f_ood(h)), h = GAP(z).

    The paper's head has two outputs; the softmax of two logits is the sigmoid of their
    difference, so one logit is the same family of functions. In float32 the score is
    exactly 1 for confident images, so metrics rank by f_ood(h).

    Returns:
      A score component, in (0, 1); it needs a network with an OOD head.

    References:
      Pei, Image Background Serves as Good Proxy for OOD Data, ICLR 2024, Eq. 15.
    """
    return _ranked(
        "ood_factor",
        lambda acts: jax.nn.sigmoid(acts.ood_logit()),
        lambda acts: acts.ood_logit(),
        reads=("feature", OOD_HEAD),
    )


@component.row("SSOD (posterior)")
def joint_posterior() -> Component:
    """The posterior of the likeliest ID class: S = max_i p_i · sigmoid(f_ood(h)).

    The first factor is P(w_i | x in S_ID, x), the softmax p of the logits; the second
    is the OOD factor. Metrics rank by the sum of their logarithms, which does not
    saturate.

    Returns:
      A score component, in (0, 1); it needs a network with an OOD head.

    References:
      Pei, Image Background Serves as Good Proxy for OOD Data, ICLR 2024, Eq. 7.
    """

    def posterior(acts: Activations) -> jax.Array:
        return jax.nn.softmax(acts.logits).max(-1) * jax.nn.sigmoid(acts.ood_logit())

    def logarithm(acts: Activations) -> jax.Array:
        largest = jax.nn.log_sigmoid(log_odds(acts.logits))
        return largest + jax.nn.log_sigmoid(acts.ood_logit())

    reads = ("feature", "logit", OOD_HEAD)
    return _ranked("joint_posterior", posterior, logarithm, reads)


def _ranked(
    name: str, function: _Score, ranking: _Score, reads: tuple[str, ...]
) -> Component:
    """Returns a score that saturates, with one of the same order that does not."""
    spec = component.call_spec(name)
    fine = component.score(spec, ranking, reads)
    return component.score(spec, function, reads)._replace(ranking=fine)
