"""NegLabel: an image is OOD if words far from every class describe it.

A CLIP that was converted with word lists holds, beside its head, the texts of its
classes and of negative words (`jood.methods.negative_mining`), as the collection
'neglabel_head': 'positive' [D, K] and 'negative' [D, M], columns of length 1.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core import component
from jood.core.activations import Activations
from jood.core.component import Component
from jood.methods.scores.mcm import cosines

HEAD = "neglabel_head"


@component.row("NegLabel")
def neglabel(T: float = 0.01, groups: int = 100, seed: int = 0) -> Component:
    """NegLabel: S = mean_g P_g, the share that the classes have beside group g.

        P_g = Σ_k exp(cos(h, t_k) / T) / (Σ_k exp(cos(h, t_k) / T)
                                          + Σ_{j in g} exp(cos(h, n_j) / T))

    t_k are the texts of the classes, n_j those of the negative words, which are dealt
    at random to G groups of equal size; the last M mod G words are left out.

    P_g is exactly 1 in float32 for an image that resembles no negative word, so the
    metrics of a table rank by -log mean_g (1 - P_g).

    Args:
      T: temperature above 0, 0.01 in the paper; may be traced.
      groups: G, from 1 to the number of negative words; 100 in the paper's code.
      seed: Seed of the dealing.

    Returns:
      A score component, in [0, 1]; it needs a CLIP that was converted with word lists.

    Raises:
      ValueError: T is not above 0, groups is below 1 or, when it scores, exceeds the
        number of negative words.

    References:
      Jiang, Liu, Fang, Chen, Liu, Zheng, Han, Negative Label Guided OOD Detection with
      Pretrained Vision-Language Models, ICLR 2024, Sec. 3: the sum-softmax score, with
      the grouping strategy.
    """
    arguments.check_positive("T", T)
    arguments.check_count("groups", groups)
    arguments.check_at_least("seed", seed, 0)
    spec = component.call_spec("neglabel", T=T, groups=groups, seed=seed)
    reads = ("feature", HEAD)

    def margins(acts: Activations) -> jax.Array:
        return group_margins(acts, T, groups, dealt(acts, groups, seed))

    def shares(acts: Activations) -> jax.Array:
        return jax.nn.sigmoid(margins(acts)).mean(-1)

    def fine(acts: Activations) -> jax.Array:
        others = jax.nn.log_sigmoid(-margins(acts))  # log(1 - P_g), [B, G]
        return jnp.log(groups) - jax.nn.logsumexp(others, axis=-1)

    score = component.score(spec, shares, reads)
    return score._replace(ranking=component.score(spec, fine, reads))


def dealt(acts: Activations, groups: int, seed: int) -> np.ndarray:
    """Returns which negative words are in which group, int [G, M // G]."""
    words = acts.head(HEAD)["negative"].shape[1]
    if groups > words:
        raise ValueError(
            f"neglabel deals the negative words to {groups} groups, but the network "
            f"has {words} of them. Choose groups <= {words}, or convert the network "
            "with longer word lists."
        )
    kept = words - words % groups
    order = np.random.default_rng(seed).permutation(kept)
    return order.reshape(groups, kept // groups)


def group_margins(
    acts: Activations, T: float, groups: int, words: np.ndarray
) -> jax.Array:
    """Returns the logit of P_g, float32 [B, G]; `words` is what `dealt` returns."""
    head = acts.head(HEAD)
    classes = cosines(acts.penultimate, head["positive"]) / T  # [B, K]
    negatives = cosines(acts.penultimate, head["negative"][:, words.reshape(-1)]) / T
    negatives = negatives.reshape(-1, groups, words.shape[1])  # [B, G, M / G]
    own = jax.nn.logsumexp(classes, axis=-1)
    return own[:, None] - jax.nn.logsumexp(negatives, axis=-1)
