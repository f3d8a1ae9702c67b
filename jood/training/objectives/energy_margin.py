"""Energy margin: the energies of ID images and of outliers are pushed apart."""

import math

import chex
import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import component
from jood.training.forward import TrainingPass
from jood.training.objectives import views
from jood.training.objectives.cross_entropy import softmax_cross_entropy
from jood.training.objectives.objective import Objective
from jood.training.objectives.objective import Part


def margin_loss(
    inside: jax.Array, outside: jax.Array, m_in: float, m_out: float
) -> tuple[jax.Array, jax.Array]:
    """Mean relu(E - m_in)² of ID images, and mean relu(m_out - E)² of outliers.

    E = -log Σ_k exp f_k; each mean is over its own set.

    Args:
      inside: f of ID images, float32 [B, K].
      outside: f of outliers, float32 [M, K].
      m_in: Above it the energy of an ID image costs.
      m_out: Below it the energy of an outlier costs.
    """
    chex.assert_rank([inside, outside], 2)
    energy_in, energy_out = (-jax.nn.logsumexp(f, axis=-1) for f in (inside, outside))
    too_high = jnp.square(jax.nn.relu(energy_in - m_in)).mean()
    return too_high, jnp.square(jax.nn.relu(m_out - energy_out)).mean()


def energy_margin(
    m_in: float = -23.0, m_out: float = -5.0, lam: float = 0.1
) -> Objective:
    """L = CE(f, y) + λ (mean relu(E - m_in)² + mean relu(m_out - E)²), E the energy.

    For fine-tuning a trained network with a low rate; scored with Energy.

    Args:
      m_in: Margin of ID images, in units of the logits. The authors': -23 for
        CIFAR-10, -27 for CIFAR-100.
      m_out: Margin of outliers, above m_in; -5 in both.
      lam: λ >= 0; 0.1 in the authors' code.

    References:
      Liu, Wang, Owens, Li, Energy-based OOD Detection, NeurIPS 2020, Eq. 7-8.
    """
    arguments.check_at_least("lam", lam, 0)
    for name, value in {"m_in": m_in, "m_out": m_out}.items():
        arguments.check_range(name, value, -math.inf, math.inf, "a finite number")
    m_in, m_out, lam = float(m_in), float(m_out), float(lam)
    if not m_in < m_out:
        raise ValueError(
            "m_in must be below m_out, since ID images have the lower energy, got "
            f"{m_in=}, {m_out=}."
        )

    def loss(outputs: TrainingPass, _: jax.Array) -> tuple[jax.Array, dict[str, Part]]:
        count, logits = len(outputs.labels), outputs.acts.logits  # [B + M, K]
        parts = margin_loss(logits[:count], logits[count:], m_in, m_out)
        plain = softmax_cross_entropy(logits[:count], outputs.labels)
        one = jnp.float32(1)
        return plain + lam * (parts[0] + parts[1]), {
            "energy_inside": Part(parts[0], one),
            "energy_outside": Part(parts[1], one),
        }

    return Objective(
        component.call_spec("energy_margin", m_in=m_in, m_out=m_out, lam=lam),
        loss,
        images=views.with_outliers,
        rows={"Energy": "energy()"},
        outliers="images that are not ID, whose energy is to be high",
    )
