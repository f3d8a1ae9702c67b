"""T2FNorm: the network learns from features of constant length.

Normalised only in training, the feature of an image keeps its length at test time,
which is small where the network recognises little (`jood.transforms.t2f_scale`).
"""

import jax
import optax

from jood._utils import arguments
from jood.core import activations
from jood.core import component
from jood.training.forward import TrainingPass
from jood.training.objectives.cross_entropy import softmax_cross_entropy
from jood.training.objectives.objective import Objective
from jood.training.objectives.objective import Part


def normalised_logits(
    features: jax.Array, kernel: jax.Array, bias: jax.Array, tau: float
) -> jax.Array:
    """(h / (‖h‖₂ τ)) W + b, float32 [B, K]: τ divides the feature, not the bias.

    Args:
      features: h, float32 [B, D].
      kernel: W, float32 [D, K].
      bias: b, float32 [K].
      tau: τ > 0.
    """
    length = optax.safe_norm(features, 1e-12, axis=-1, keepdims=True)  # [B, 1]
    return activations.linear(features / length / tau, kernel, bias)


def t2fnorm(tau: float = 0.1) -> Objective:
    """L = CE((h / (‖h‖₂ τ)) W + b, y), h the penultimate feature.

    Its score is `t2f_scale(tau=...)|msp()` with the same τ, without the norm.

    Args:
      tau: τ > 0; the paper's is 0.1.

    References:
      Regmi, Panthi, Dotel, Gyawali, Stoyanov, Bhattarai, T2FNorm, CVPR Workshops 2024.
    """
    arguments.check_positive("tau", tau)
    tau = float(tau)

    def loss(outputs: TrainingPass, _: jax.Array) -> tuple[jax.Array, dict[str, Part]]:
        acts = outputs.acts
        logits = normalised_logits(acts.penultimate, acts.kernel, acts.bias, tau)
        return softmax_cross_entropy(logits, outputs.labels), {}

    own = {"T2FNorm": f"t2f_scale(tau={tau})|msp()"}
    return Objective(component.call_spec("t2fnorm", tau=tau), loss, rows=own)
