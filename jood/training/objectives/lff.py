"""LFF, local feature fine-tuning: background features of ID images become small.

Where the network before fine-tuning does not find the true class, an ID image shows
background, which is all that OOD images have. The loss shrinks its features' norms, so
that the network responds weakly to them wherever they appear.
"""

from typing import Literal, get_args

import chex
import jax
import jax.numpy as jnp
import optax

from jood._utils import arguments
from jood.core import component
from jood.training.forward import TrainingPass
from jood.training.objectives.cross_entropy import classification_loss
from jood.training.objectives.objective import Objective
from jood.training.objectives.objective import Part
from jood.training.objectives.patches import Patches
from jood.training.objectives.true_class_probability import probability

Reference = Literal["start", "current"]
REFERENCES: tuple[str, ...] = get_args(Reference)


def local_feature_loss(local: jax.Array, chosen: jax.Array, mu: float) -> Part:
    """Σ_S max(‖z_j‖₂ - μ, 0) and |S|: L_LFF of Eq. 6 is the one over the other.

    Args:
      local: z, float32 [B, HW, D].
      chosen: S, bool [B, HW].
      mu: Margin >= 0, in units of the map; norms up to it have gradient 0.
    """
    chex.assert_rank([local, chosen], [3, 2])
    # max(‖z‖, μ) - μ = max(‖z‖ - μ, 0), with a gradient that is finite at z = 0.
    excess = optax.safe_norm(local, mu, axis=-1) - mu  # [B, HW]
    return Part(jnp.where(chosen, excess, 0.0).sum(), chosen.sum(dtype=jnp.float32))


def lff(
    delta: float = 0.1,
    mu: float = 1.0,
    lam: float = 1.0,
    reference: Reference = "start",
) -> Objective:
    """L = L_CE + λ · 1/|S| Σ_S max(‖z_j‖₂ - μ, 0), S = {j : p_j(y) < δ}.

    S is taken over the whole batch (or each part of `accumulate`); if it is empty,
    L = L_CE. For fine-tuning: a network that has not learned the classes finds
    background everywhere. At first the term may be larger than L_CE; a high learning
    rate may then switch the network off: let it rise from 0.

    Args:
      delta: δ, a probability in (0, 1). The paper's: 0.1 for CIFAR-10, 0.01 for
        CIFAR-100 and ImageNet-100.
      mu: μ, margin of the norm, >= 0. The paper's: 1, 2 and 3 for these.
      lam: λ >= 0, weight of the term; the paper's is 1.
      reference: Network whose p_j decides what is background. 'start', the paper's:
        that which the run began with, in evaluation mode, for one more forward pass a
        step. 'current': the network as it is being trained, which feeds back: an
        image that becomes misclassified is all background, shrinks, and stays so.

    References:
      Ye et al., LFF (Local Background Features Matter in OOD Detection), Eq. 4-7,
      Sec. V-A and Fig. 6; "feature maps output by the pre-trained model": Sec. IV-A.
    """
    arguments.check_fraction("delta", delta)
    arguments.check_at_least("mu", mu, 0)
    arguments.check_at_least("lam", lam, 0)
    if reference not in REFERENCES:
        known = " or ".join(map(repr, REFERENCES))
        raise ValueError(f"reference must be {known}, got {reference!r}.")
    delta, mu, lam = float(delta), float(mu), float(lam)
    frozen = reference == "start"

    def sample(p: jax.Array) -> Patches:
        """S, Eq. 5: background alone, of the shape of p."""
        return Patches(inside=jnp.zeros(p.shape, bool), outside=p < delta)

    def loss(outputs: TrainingPass, _: jax.Array) -> tuple[jax.Array, dict[str, Part]]:
        local = outputs.locations()
        p = outputs.reference if frozen else probability(outputs)
        assert p is not None, "the state was made without the network at the start"
        chosen = sample(p).outside
        excess = local_feature_loss(local, chosen, mu)
        total = classification_loss(outputs) + lam * excess.mean
        wrong = (outputs.acts.prediction != outputs.labels)[:, None]  # [B, 1]
        in_wrong = (chosen & wrong).sum(dtype=jnp.float32)
        return total, {
            "background_excess": excess,
            "background_share": Part(excess.count, jnp.float32(chosen.size)),
            "background_misclassified": Part(in_wrong, excess.count),
        }

    spec = component.call_spec("lff", delta=delta, mu=mu, lam=lam, reference=reference)
    wanted = probability if frozen else None
    return Objective(spec, loss, reference=wanted, sample=sample)
