"""DICE: sparsify the classifier head to the weights that contribute.

Slot head: `dice(q=0.7)|energy()`; DICE+ReAct is `dice(q=0.1, clip=1.0)|energy()`.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core import component
from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Component


@component.row("DICE", "dice(q={dice})|energy()")
def dice(q: float = 0.7, clip: float | None = None) -> Component:
    """Keeps the head's weights with the largest contributions: f = h (W ⊙ M) + b.

    M marks the entries of V_dk = m_d W_dk (m the mean training feature) that lie
    above the q-quantile of the whole matrix V, strictly.

    Args:
      q: fraction in (0, 1) of the weights that is removed: 0.7 on ImageNet, 0.9 on
        CIFAR; with ReAct 0.1 and clip 1.0, or 0.15 and 1.5.
      clip: DICE+ReAct: the feature is clipped from above when scores are made, not
        for m, as in the authors' code. `react(clip=1.0)|dice(q=0.1)` takes the
        contributions of clipped features, which is another reading. None clips
        nothing.

    Returns:
      A component of slot 'head'. It fits M, bool [D, K], in one pass.

    Raises:
      ValueError: q is not a fraction in (0, 1), or clip no positive number.

    References:
      Sun, Li, DICE (Leveraging Sparsification for OOD Detection), ECCV 2022, Eq. 4-5.
    """
    arguments.check_fraction("q", q)
    if clip is not None:
        arguments.check_positive("clip", clip)
    means = stats.moments(lambda acts: acts.penultimate)

    def select(state: Any, kernel: np.ndarray, _: np.ndarray) -> np.ndarray:
        contribution = state["mean"][:, None] * kernel  # [D, K]
        return contribution > np.quantile(contribution, q)

    def sparsify(fitted: tuple[Any, ...], acts: Activations) -> Activations:
        if clip is not None:
            acts = acts.with_penultimate(jnp.minimum(acts.penultimate, clip))
        return acts.with_kernel(jnp.where(fitted[0], acts.kernel, 0.0))

    passes = (lambda _: stats.with_head(means, select),)
    return component.build(
        component.call_spec("dice", q=q, clip=clip), "head", sparsify, passes
    )
