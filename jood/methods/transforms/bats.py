"""BATS: move each feature into its typical range; slot feature: `bats()|energy()`."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core import component
from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Component


@component.row("BATS", "bats(lam={bats})|energy()")
def bats(lam: float = 3.25) -> Component:
    """Clips to the typical range: h̄_d = clip(h_d, m_d - λ s_d, m_d + λ s_d).

    m_d and s_d are the mean and the standard deviation (divided by N - 1) of feature
    d over the training images.

    Args:
      lam: λ, the range's half-width in standard deviations, above 0; may be traced.
        The authors' code has 3.25 for CIFAR and 1.05 for a Vision Transformer.

    Returns:
      A component of slot 'feature'. It fits m and s, float32 [D] each, in one pass.

    Raises:
      ValueError: lam is not a finite number above 0.

    References:
      Zhu et al., BATS (Boosting OOD Detection with Typical Features), NeurIPS 2022,
      the typical set. (The paper takes m and s from the last normalisation layer; the
      authors' released code clips the pooled feature, as here.)
    """
    arguments.check_positive("lam", lam)
    moments = stats.moments(lambda acts: acts.penultimate)

    def finalize(state: Any) -> dict[str, np.ndarray]:
        state = moments.finalize(state)
        std = np.sqrt(state["m2"] / max(int(state["count"]) - 1, 1))
        return {"mean": state["mean"].astype(np.float32), "std": std.astype(np.float32)}

    def apply(fitted: tuple[Any, ...], acts: Activations) -> Activations:
        mean, half = fitted[0]["mean"], lam * fitted[0]["std"]  # [D]
        clipped = jnp.clip(acts.penultimate, (mean - half)[None], (mean + half)[None])
        return acts.with_penultimate(clipped)

    passes = (lambda _: moments._replace(finalize=finalize),)
    return component.build(
        component.call_spec("bats", lam=lam), "feature", apply, passes
    )
