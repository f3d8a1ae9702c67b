"""ActSub with GEN: the entropy of the decisive part in place of its energy."""

from typing import Any

import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import activations
from jood.core import component
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.stats import reservoir
from jood.methods.scores.actsub import decisive
from jood.methods.scores.actsub import insignificance
from jood.methods.scores.actsub import learned
from jood.methods.scores.gen import generalised_entropy

_LEAST = 1e-6  # of the kinship that divides


@component.row("ActSub (GEN)")
def actsub_gen(
    k: int | None = None,
    gamma: float = 0.1,
    M: int = 50,
    lam: float = 0.5,
    neighbours: int = 10,
    capacity: int = reservoir.CAPACITY,
) -> Component:
    """Entropy of the decisive part over the kinship of the rest: S = -G / i^λ.

    G = Σ_{j in top M} p_j^γ (1 - p_j)^γ, p = softmax(Wᵀ P h + b), with the decisive
    part P h and the kinship i of `actsub`. i is at least 1e-6, so that S is finite.

    Args:
      k: dimension of the decisive subspace, as for `actsub`; None fits it.
      gamma: exponent γ in (0, 1) of GEN; 0.1 in the authors' code. May be traced.
      M: number of largest probabilities that are summed, at least 1; 50 likewise.
      lam: exponent λ >= 0; 0.5 likewise. May be traced.
      neighbours: number of cosines that are averaged.
      capacity: number of training features that are kept, a uniform sample of all.

    Returns:
      A score component, <= 0. It fits what `actsub` fits, in three passes.

    Raises:
      ValueError: as for `actsub`, or gamma is not in (0, 1) or M below 1.

    References:
      Zongur, Hesse, Roth, ActSub (Activation Subspaces for Out-of-Distribution
      Detection), ICCV 2025; Liu, Lochman, Zach, GEN, CVPR 2023.
    """
    arguments.check_range("gamma", gamma, 0.0, 1.0, "an exponent in (0, 1)")
    arguments.check_count("M", M)
    arguments.check_at_least("lam", lam, 0)
    spec = component.call_spec(
        "actsub_gen",
        k=k,
        gamma=gamma,
        M=M,
        lam=lam,
        neighbours=neighbours,
        capacity=capacity,
    )

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        _, basis, bank = fitted
        part = decisive(basis, acts.penultimate)
        logits = activations.linear(part, acts.kernel, acts.bias)
        entropy = generalised_entropy(logits, gamma, int(M))
        kinship = insignificance(basis, bank, acts, neighbours)
        return -entropy / jnp.maximum(kinship, _LEAST) ** lam

    passes = learned(k, neighbours, capacity, spec)
    return component.build(spec, "score", apply, passes)
